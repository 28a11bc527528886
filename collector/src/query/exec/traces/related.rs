//! Which traces may be in an answer, by how their spans are related: parts tell where parents are.

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};

use super::ancestry::{Known, Rows};
use super::plan::Witness;
use super::read::{CANDIDATE_BYTES, Candidates, Reader, Seen, TraceId, note};
use crate::query::engine::{Flow, Part, QueryError, SpanColumn, TimeRange};
use crate::query::exec::steps::InSteps;
use crate::query::exec::{bind, parallel, render};

/// Bytes of the trace and start of a row.
const KEY_BYTES: usize = size_of::<TraceId>() + size_of::<i64>();

impl Reader<'_> {
    /// The candidates of a time, as each thread found them, and how many spans were looked at.
    pub(super) fn witnessed(
        &self,
        witness: &Witness,
        time: TimeRange,
    ) -> Result<(Vec<Candidates>, u64), QueryError> {
        let mut telling = vec![SpanColumn::Fixed("parent_offset")];
        for condition in &witness.conditions {
            telling.extend(bind::columns(condition.fields())?);
        }
        // Ids take as long to read as all else, and are needed where some spans are found.
        let ids = ["trace_id", "start"].map(SpanColumn::Fixed).to_vec();
        let parts = InSteps::new(self.queries, time, [telling, ids])?;
        parallel::by_part(parts.all(), |seen: &mut Candidates, part| {
            let [telling, ids] = parts.steps(part);
            self.add_related(seen, witness, telling, ids)
        })
    }

    /// Adds those of a part: of each trace with a span of which the part does not tell that it is no witness.
    fn add_related(
        &self,
        seen: &mut Candidates,
        witness: &Witness,
        telling: &dyn Part,
        ids: &dyn Part,
    ) -> Result<u64, QueryError> {
        // What is in one step is read once.
        let at_once = std::ptr::eq(telling, ids);
        let (mut rows, mut keys) = (Rows::new(witness.conditions.len()), Keys::default());
        let read = telling.read(self.control, &mut |batch| {
            self.control.check()?;
            // Where it is not told where parents are, they may be anywhere.
            rows.add(batch, &witness.conditions)?;
            if at_once {
                keys.add(batch)?;
            }
            Ok(Flow::Continue)
        })?;
        rows.end();
        let bytes = rows.bytes() + rows.len() * KEY_BYTES;
        self.control.take_memory(bytes)?;
        let known = witness.set.known(&rows);
        if known.iter().any(|known| *known != Known::No) {
            if !at_once {
                ids.read(self.control, &mut |batch| {
                    keys.add(batch)?;
                    Ok(Flow::Continue)
                })?;
            }
            let before = seen.len();
            let all = known.iter().zip(&keys.traces).enumerate();
            for (row, (_, trace)) in all.filter(|(_, (known, _))| **known != Known::No) {
                // The nearer this is to when the trace began, the fewer have to be looked at to know which are the latest.
                let start = |row: usize| keys.starts.get(row).copied().unwrap_or(i64::MAX);
                let earliest = start(row).min(start(rows.top(row)));
                // Which other filters spans of it fulfil is not known.
                note(seen, *trace, Seen { fulfilled: u64::MAX, earliest });
            }
            self.control.take_memory((seen.len() - before) * CANDIDATE_BYTES)?;
        }
        self.control.give_memory(bytes);
        Ok(read)
    }
}

/// The traces and starts of all rows of a part.
#[derive(Default)]
struct Keys {
    traces: Vec<TraceId>,
    starts: Vec<i64>,
}

impl Keys {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let of = render::Rows::new(batch);
        let traces = of.column("trace_id")?.as_fixed_size_binary();
        let id = |row| -> TraceId { traces.value(row).try_into().unwrap_or_default() };
        self.traces.extend((0..traces.len()).map(id));
        let starts = of.column("start")?.as_primitive::<TimestampNanosecondType>();
        self.starts.extend_from_slice(starts.values());
        Ok(())
    }
}
