//! Which rows of a part are related to others above them, as far as the part tells.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};

use crate::query::engine::QueryError;
use crate::query::exec::bind;
use crate::query::exec::filter::Condition;
use crate::query::traceql::{Field, Filter, Pipeline, Spanset, SpansetOp, Stage};

/// What is known of a row: whether it is in a set. In order: of two that are both needed the lesser counts, of two of which one is enough the
/// greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    No,
    /// Other parts have to be asked.
    Perhaps,
    Yes,
}

impl Known {
    const fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }
}

/// The parent of a row. There are as many as rows in a part, so rows are told by 32 bits.
#[derive(Debug, Clone, Copy)]
enum Parent {
    /// It is a root.
    None,
    /// It is not in the part.
    Elsewhere,
    Row(u32),
}

/// Spans of which each is told by what it is and by those above it.
pub(super) enum Set {
    /// Those of the filter with this number.
    Filter(usize),
    Either(Box<Self>, Box<Self>),
    /// Those on the right with one on the left above them, or the others of these.
    Below {
        left: Box<Self>,
        right: Box<Self>,
        directly: bool,
        negated: bool,
    },
}

impl Set {
    /// The spans that a pipeline leaves, and the filters that tell them; nothing if more than what is above them has to be known.
    pub(super) fn of(pipeline: &Pipeline) -> Option<(Self, Vec<Filter>)> {
        let mut stages = pipeline.stages.iter().filter(|stage| !matches!(stage, Stage::Select(_)));
        let (Some(Stage::Spans(spans)), None) = (stages.next(), stages.next()) else { return None };
        let mut filters = Vec::new();
        let set = Self::of_spans(spans, &mut filters)?;
        Some((set, filters))
    }

    fn of_spans(spans: &Spanset, filters: &mut Vec<Filter>) -> Option<Self> {
        use SpansetOp as Op;
        Some(match spans {
            Spanset::Filter(filter) => {
                let filter = filter.with_roots();
                if !filter.fields().iter().all(Field::is_of_one_span) {
                    return None;
                }
                filters.push(filter);
                Self::Filter(filters.len() - 1)
            }
            Spanset::Related { op, left, right } => {
                let mut both = || {
                    let left = Box::new(Self::of_spans(left, filters)?);
                    Some((left, Box::new(Self::of_spans(right, filters)?)))
                };
                match op {
                    Op::Or => {
                        let (left, right) = both()?;
                        Self::Either(left, right)
                    }
                    Op::Child | Op::NotChild | Op::Descendant | Op::NotDescendant => {
                        let (left, right) = both()?;
                        let directly = matches!(op, Op::Child | Op::NotChild);
                        Self::Below { left, right, directly, negated: op.is_negated() }
                    }
                    _ => return None,
                }
            }
            Spanset::Pipeline(_) => return None,
        })
    }

    /// Of each row, whether it is in the set.
    pub(super) fn known(&self, rows: &Rows) -> Vec<Known> {
        match self {
            Self::Filter(filter) => rows.fulfilled[*filter].clone(),
            Self::Either(left, right) => {
                let (left, right) = (left.known(rows), right.known(rows));
                left.into_iter().zip(right).map(|(left, right)| left.max(right)).collect()
            }
            Self::Below { left, right, directly, negated } => {
                let (left, mut right) = (left.known(rows), right.known(rows));
                let mut above = Above::new(&rows.parents, &left, *directly);
                for (row, known) in right.iter_mut().enumerate().filter(|(_, known)| **known != Known::No) {
                    let holds = above.of(row);
                    *known = (*known).min(if *negated { holds.negated() } else { holds });
                }
                right
            }
        }
    }
}

/// All rows of a part.
#[derive(Default)]
pub(super) struct Rows {
    /// Of each filter, the rows that fulfil it.
    fulfilled: Vec<Vec<Known>>,
    parents: Vec<Parent>,
}

impl Rows {
    /// Nothing if the part does not tell where parents are.
    pub(super) fn of(batches: &[RecordBatch], conditions: &[Condition]) -> Result<Option<Self>, QueryError> {
        let len = batches.iter().map(RecordBatch::num_rows).sum();
        let mut rows = Self {
            fulfilled: vec![vec![Known::No; len]; conditions.len()],
            parents: Vec::with_capacity(len),
        };
        for batch in batches {
            let first = rows.parents.len();
            for (condition, fulfilled) in conditions.iter().zip(&mut rows.fulfilled) {
                let mut kept: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
                condition.keep(&bind::Bound::new(condition.fields(), batch)?, &mut kept);
                kept.into_iter().for_each(|row| fulfilled[first + row as usize] = Known::Yes);
            }
            let Some(offsets) = batch
                .column_by_name("parent_offset")
                .and_then(|column| column.as_primitive_opt::<Int32Type>())
            else {
                return Ok(None);
            };
            let offset = |(row, offset): (usize, &i32)| parent(first + row, *offset, len);
            rows.parents.extend(offsets.values().iter().enumerate().map(offset));
            if let Some(nulls) = offsets.nulls() {
                let roots = nulls.iter().enumerate().filter(|(_, has_parent)| !has_parent);
                roots.for_each(|(row, _)| rows.parents[first + row] = Parent::None);
            }
        }
        Ok(Some(rows))
    }
}

/// Where the parent of a row is: the part may have given some of its rows only.
fn parent(row: usize, offset: i32, rows: usize) -> Parent {
    let place = isize::try_from(offset).ok().and_then(|offset| row.checked_add_signed(offset));
    let place = place.filter(|place| offset != 0 && *place < rows);
    place.and_then(|place| u32::try_from(place).ok()).map_or(Parent::Elsewhere, Parent::Row)
}

/// Whether rows have one of some others above them.
struct Above<'a> {
    parents: &'a [Parent],
    others: &'a [Known],
    /// What was found out.
    known: Vec<Option<Known>>,
    directly: bool,
    path: Vec<usize>,
}

impl<'a> Above<'a> {
    fn new(parents: &'a [Parent], others: &'a [Known], directly: bool) -> Self {
        let known = if directly { Vec::new() } else { vec![None; parents.len()] };
        Self { parents, others, known, directly, path: Vec::new() }
    }

    fn of(&mut self, row: usize) -> Known {
        if self.directly {
            return match self.parents[row] {
                Parent::None => Known::No,
                Parent::Elsewhere => Known::Perhaps,
                Parent::Row(parent) => self.others[parent as usize],
            };
        }
        let mut here = row;
        while self.known[here].is_none() {
            let known = match self.parents[here] {
                Parent::None => Known::No,
                Parent::Elsewhere => Known::Perhaps,
                Parent::Row(parent) if self.others[parent as usize] == Known::Yes => Known::Yes,
                Parent::Row(parent) => {
                    // A ring of parents comes back here: what that is, a look at the whole trace tells.
                    self.known[here] = Some(Known::Perhaps);
                    self.path.push(here);
                    here = parent as usize;
                    continue;
                }
            };
            self.known[here] = Some(known);
        }
        let mut known = self.known[here].unwrap_or(Known::Perhaps);
        while let Some(below) = self.path.pop() {
            known = known.max(self.others[here]);
            self.known[below] = Some(known);
            here = below;
        }
        known
    }
}
