//! The bytes of a log file: two copies of a header, then records. All numbers are little endian.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The largest payload in bytes. It bounds what reading needs, also of a file that is damaged.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;

/// The bytes from one copy of the header to what comes next. The copies are in blocks of their own, so that a bad
/// block does not take both: without a header no record can be checked.
pub(super) const HEADER_BLOCK: u64 = 4096;

/// Where the first record is.
pub(super) const FIRST_RECORD: u64 = 2 * HEADER_BLOCK;

/// The bytes of a header that mean something; the rest of its block is zero.
pub(super) const HEADER: usize = 56;

/// The bytes of a record before its payload.
pub(super) const HEAD: usize = 36;

const MAGIC: &[u8; 8] = b"AGVITWAL";
const VERSION: u32 = 1;

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The generation, as in the name.
    pub(super) generation: u64,
    /// The number of the first record.
    pub(super) first_sequence: u64,
    /// Every record with a lower number was durable in an earlier generation, or elsewhere.
    pub(super) durable_before: u64,
    /// Random: it is in the checksums of all records, so that no other file's bytes, and nothing in a request, can
    /// look like a record of this one.
    pub(super) id: u64,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// They are not what was written.
    Damaged,
    /// It is intact, and of this newer version.
    Newer(u32),
}

impl Header {
    /// The two blocks at the start of a file.
    pub(super) fn blocks(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(2 * HEADER_BLOCK as usize);
        block.extend_from_slice(MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&[0; 4]);
        for number in [self.generation, self.first_sequence, self.durable_before, self.id] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&xxh3_64(&block).to_le_bytes());
        block.resize(HEADER_BLOCK as usize, 0);
        block.extend_from_within(..);
        block
    }

    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Self, NoHeader> {
        if !bytes.starts_with(MAGIC) || u64_at(bytes, 48) != xxh3_64(&bytes[..48]) {
            return Err(NoHeader::Damaged);
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Self {
                generation: u64_at(bytes, 16),
                first_sequence: u64_at(bytes, 24),
                durable_before: u64_at(bytes, 32),
                id: u64_at(bytes, 40),
            }),
            version => Err(NoHeader::Newer(version)),
        }
    }

    /// What every record of the file starts with; looking for it makes scanning quick.
    pub(super) fn marker(&self) -> [u8; 4] {
        let hash = xxh3_64(&self.id.to_le_bytes()).to_le_bytes();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The payload's bytes.
    pub(super) length: usize,
    /// What the payload is.
    pub(super) kind: u8,
    /// The record's number.
    pub(super) sequence: u64,
    /// Every record with a lower number was durable when this one was written.
    pub(super) durable_before: u64,
    /// Over all of the above, the marker, the payload and, as its seed, the file's id.
    checksum: u64,
}

impl Head {
    /// The bytes before this payload.
    pub(super) fn bytes(
        header: &Header,
        kind: u8,
        sequence: u64,
        durable_before: u64,
        payload: &[u8],
    ) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&header.marker());
        // It is at most MAX_PAYLOAD.
        head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[8] = kind;
        head[12..20].copy_from_slice(&sequence.to_le_bytes());
        head[20..28].copy_from_slice(&durable_before.to_le_bytes());
        let checksum = checksum(header, &head, payload);
        head[28..].copy_from_slice(&checksum.to_le_bytes());
        head
    }

    /// Takes bytes apart that may be anything.
    pub(super) fn parse(header: &Header, bytes: &[u8; HEAD]) -> Option<Self> {
        let length = u32_at(bytes, 4) as usize;
        let possible = bytes.starts_with(&header.marker()) && length <= MAX_PAYLOAD;
        possible.then(|| Self {
            length,
            kind: bytes[8],
            sequence: u64_at(bytes, 12),
            durable_before: u64_at(bytes, 20),
            checksum: u64_at(bytes, 28),
        })
    }

    /// Whether the record is as it was written.
    pub(super) fn holds(&self, header: &Header, bytes: &[u8; HEAD], payload: &[u8]) -> bool {
        self.checksum == checksum(header, bytes, payload)
    }
}

fn checksum(header: &Header, head: &[u8; HEAD], payload: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(header.id);
    hash.update(&head[..28]);
    hash.update(payload);
    hash.digest()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
