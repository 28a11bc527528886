//! Ids that follow from a seed, so that whoever knows it can tell what must be there.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
pub(super) const fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The id of the trace with this number.
pub fn trace_id(seed: u64, trace: u64) -> [u8; 16] {
    let high = mix(mix(seed) ^ trace);
    // The number is in it as it is, so that no two are equal.
    let low = mix(seed ^ 0x7261_6365).wrapping_add(trace) | 1 << 63;
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// The id of a trace's span with this place.
pub fn span_id(seed: u64, trace: u64, span: u64) -> [u8; 8] {
    (mix(mix(seed ^ 0x7370_616e).wrapping_add(trace.wrapping_mul(64).wrapping_add(span))) | 1).to_be_bytes()
}

/// A number that only this trace has, for texts that nothing else has.
pub(super) fn unique(seed: u64, trace: u64, place: u64) -> u64 {
    mix(mix(seed ^ 0x756e_6971).wrapping_add(trace.wrapping_mul(64).wrapping_add(place)))
}
