//! Which rows of a part are related to others, as far as the part tells.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};

use crate::query::engine::QueryError;
use crate::query::exec::bind;
use crate::query::exec::filter::Condition;
use crate::query::traceql::{Filter, Pipeline, Spanset, SpansetOp, Stage};

/// So many parents up the highest one is looked for: rings have none.
const MOST_UP: usize = 64;

/// What is known of a row: whether it is in a set. In order: of two that are both needed the lesser counts, of two of which one is enough the
/// greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::query::exec) enum Known {
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

/// Spans of which each is told by what it is and by how it is related to others.
pub(in crate::query::exec) enum Set {
    /// Those of the filter with this number.
    Filter(usize),
    /// Some of these: a part does not tell which.
    Some(Box<Self>),
    Either(Box<Self>, Box<Self>),
    /// Those on the right with one on the left above them, or the others of these.
    Below {
        left: Box<Self>,
        right: Box<Self>,
        directly: bool,
        negated: bool,
    },
    /// Those on the right with another one on the left that has the same parent, and those on the left that may be such ones.
    Beside(Box<Self>, Box<Self>),
}

impl Set {
    /// The spans that a pipeline leaves, and the filters that tell them; nothing if more than what is above them has to be known.
    pub(in crate::query::exec) fn of(pipeline: &Pipeline) -> Option<(Self, Vec<Filter>)> {
        let mut stages = pipeline.stages.iter().filter(|stage| !matches!(stage, Stage::Select(_)));
        let (Some(Stage::Spans(spans)), None) = (stages.next(), stages.next()) else { return None };
        let mut filters = Vec::new();
        let set = Self::among(spans, &mut filters);
        set.is_told().then_some((set, filters))
    }

    /// Spans of which every trace that a pipeline finds has one, and the filters that tell them; nothing if how spans are related
    /// tells no more than filters do.
    pub(in crate::query::exec) fn witness(pipeline: &Pipeline) -> Option<(Self, Vec<Filter>)> {
        let first = pipeline.stages.iter().find(|stage| !matches!(stage, Stage::Select(_)))?;
        let Stage::Spans(spans) = first else { return None };
        let mut filters = Vec::new();
        let set = Self::witness_of(spans, &mut filters);
        set.is_related().then_some((set, filters))
    }

    fn witness_of(spans: &Spanset, filters: &mut Vec<Filter>) -> Self {
        use SpansetOp as Op;
        let Spanset::Related { op, left, right } = spans else { return Self::among(spans, filters) };
        match op {
            Op::Or => {
                let left = Self::witness_of(left, filters);
                Self::Either(Box::new(left), Box::new(Self::witness_of(right, filters)))
            }
            // Either side is enough.
            Op::And => {
                let before = filters.len();
                let witness = Self::witness_of(left, filters);
                if witness.is_related() {
                    return witness;
                }
                filters.truncate(before);
                Self::witness_of(right, filters)
            }
            // If a span is above another one, then the other one is below it.
            Op::Child | Op::UnionChild => Self::below(left, right, true, filters),
            Op::Parent | Op::UnionParent => Self::below(right, left, true, filters),
            Op::Descendant | Op::UnionDescendant => Self::below(left, right, false, filters),
            Op::Ancestor | Op::UnionAncestor => Self::below(right, left, false, filters),
            Op::Sibling | Op::UnionSibling => {
                let left = Self::among(left, filters);
                Self::Beside(Box::new(left), Box::new(Self::among(right, filters)))
            }
            Op::NotChild | Op::NotDescendant | Op::NotParent | Op::NotAncestor | Op::NotSibling => {
                Self::among(spans, filters)
            }
        }
    }

    fn below(left: &Spanset, right: &Spanset, directly: bool, filters: &mut Vec<Filter>) -> Self {
        let left = Box::new(Self::among(left, filters));
        Self::Below { left, right: Box::new(Self::among(right, filters)), directly, negated: false }
    }

    /// Spans among which all of these are, as exactly as a part can tell them.
    fn among(spans: &Spanset, filters: &mut Vec<Filter>) -> Self {
        use SpansetOp as Op;
        match spans {
            Spanset::Filter(filter) => {
                let (known, is_all) = filter.with_roots().of_one_span();
                filters.push(known);
                let set = Self::Filter(filters.len() - 1);
                if is_all { set } else { Self::Some(Box::new(set)) }
            }
            Spanset::Pipeline(pipeline) => {
                let first = pipeline.stages.iter().find(|stage| !matches!(stage, Stage::Select(_)));
                let all = Spanset::Filter(Filter { expr: None });
                let spans = if let Some(Stage::Spans(spans)) = first { spans } else { &all };
                Self::Some(Box::new(Self::among(spans, filters)))
            }
            Spanset::Related { op, left, right } => match op {
                Op::Child | Op::Descendant => Self::below(left, right, *op == Op::Child, filters),
                Op::NotChild | Op::NotDescendant => {
                    let left = Box::new(Self::among(left, filters));
                    let right = Box::new(Self::among(right, filters));
                    Self::Below { left, right, directly: *op == Op::NotChild, negated: true }
                }
                Op::Parent
                | Op::NotParent
                | Op::Ancestor
                | Op::NotAncestor
                | Op::Sibling
                | Op::NotSibling => Self::Some(Box::new(Self::among(right, filters))),
                op => {
                    let left = Box::new(Self::among(left, filters));
                    let either = Self::Either(left, Box::new(Self::among(right, filters)));
                    if *op == Op::Or { either } else { Self::Some(Box::new(either)) }
                }
            },
        }
    }

    /// Whether it has just the spans that it is about, but for those of which other parts have to be asked.
    fn is_told(&self) -> bool {
        match self {
            Self::Filter(_) => true,
            Self::Some(_) | Self::Beside(..) => false,
            Self::Either(left, right) | Self::Below { left, right, .. } => left.is_told() && right.is_told(),
        }
    }

    fn is_related(&self) -> bool {
        match self {
            Self::Filter(_) | Self::Some(_) => false,
            Self::Either(left, right) => left.is_related() && right.is_related(),
            Self::Below { .. } | Self::Beside(..) => true,
        }
    }

    /// Of each row, whether it is in the set.
    pub(in crate::query::exec) fn known(&self, rows: &Rows) -> Vec<Known> {
        match self {
            Self::Filter(filter) => rows.fulfilled[*filter].clone(),
            Self::Some(set) => set.known(rows).into_iter().map(|known| known.min(Known::Perhaps)).collect(),
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
            Self::Beside(left, right) => beside(&rows.parents, &left.known(rows), right.known(rows)),
        }
    }
}

/// Of each row whether it is in the second set, and another one of the first has the same parent; of those in the first whose
/// parent is elsewhere, perhaps.
fn beside(parents: &[Parent], left: &[Known], mut right: Vec<Known>) -> Vec<Known> {
    // How many of the first set each row is the parent of: surely, and perhaps.
    let mut children = vec![[0_u32; 2]; parents.len()];
    let place = |known: Known| usize::from(known == Known::Perhaps);
    for (parent, known) in parents.iter().zip(left).filter(|(_, known)| **known != Known::No) {
        if let Parent::Row(parent) = parent {
            children[*parent as usize][place(*known)] += 1;
        }
    }
    for ((parent, left), known) in parents.iter().zip(left).zip(&mut right) {
        *known = match parent {
            // Roots have the same: none. Which of them are of one trace a part does not tell.
            Parent::None => (*known).min(Known::Perhaps),
            Parent::Elsewhere => (*known).max(*left).min(Known::Perhaps),
            Parent::Row(parent) => {
                let mut others = children[*parent as usize];
                if *left != Known::No {
                    others[place(*left)] -= 1;
                }
                let holds = match others {
                    [0, 0] => Known::No,
                    [0, _] => Known::Perhaps,
                    _ => Known::Yes,
                };
                (*known).min(holds)
            }
        };
    }
    right
}

/// All rows of a part.
pub(in crate::query::exec) struct Rows {
    /// Of each filter, the rows that fulfil it.
    fulfilled: Vec<Vec<Known>>,
    parents: Vec<Parent>,
}

impl Rows {
    /// None yet, of so many filters.
    pub(in crate::query::exec) fn new(filters: usize) -> Self {
        Self { fulfilled: vec![Vec::new(); filters], parents: Vec::new() }
    }

    /// Adds the next ones. Returns whether they tell where their parents are; if not, these are elsewhere.
    pub(in crate::query::exec) fn add(
        &mut self,
        batch: &RecordBatch,
        conditions: &[Condition],
    ) -> Result<bool, QueryError> {
        let (first, count) = (self.parents.len(), batch.num_rows());
        for (condition, fulfilled) in conditions.iter().zip(&mut self.fulfilled) {
            fulfilled.resize(first + count, Known::No);
            let mut kept: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
            condition.keep(&bind::Bound::new(condition.fields(), batch)?, &mut kept);
            kept.into_iter().for_each(|row| fulfilled[first + row as usize] = Known::Yes);
        }
        let offsets = batch.column_by_name("parent_offset");
        let Some(offsets) = offsets.and_then(|column| column.as_primitive_opt::<Int32Type>()) else {
            self.parents.resize(first + count, Parent::Elsewhere);
            return Ok(false);
        };
        self.parents.extend((first..).zip(offsets.values()).map(|(row, offset)| parent(row, *offset)));
        if let Some(nulls) = offsets.nulls() {
            let roots = nulls.iter().enumerate().filter(|(_, has_parent)| !has_parent);
            roots.for_each(|(row, _)| self.parents[first + row] = Parent::None);
        }
        Ok(true)
    }

    /// There are no more: the part may have given some of its rows only.
    pub(in crate::query::exec) fn end(&mut self) {
        let rows = self.parents.len();
        for parent in &mut self.parents {
            if matches!(parent, Parent::Row(row) if *row as usize >= rows) {
                *parent = Parent::Elsewhere;
            }
        }
    }

    pub(in crate::query::exec) const fn len(&self) -> usize {
        self.parents.len()
    }

    /// The one above a row that is highest in this part, or high in it: itself if there is none.
    pub(in crate::query::exec) fn top(&self, row: usize) -> usize {
        let mut top = row;
        for _ in 0..MOST_UP {
            match self.parents[top] {
                Parent::Row(parent) => top = parent as usize,
                Parent::None | Parent::Elsewhere => break,
            }
        }
        top
    }

    /// The bytes that they take, and about what it takes to tell which of them are in a set.
    pub(in crate::query::exec) const fn bytes(&self) -> usize {
        let of_one = size_of::<Parent>() + self.fulfilled.len() * size_of::<Known>();
        self.parents.len() * (of_one + size_of::<[u32; 2]>())
    }
}

fn parent(row: usize, offset: i32) -> Parent {
    let place = isize::try_from(offset).ok().and_then(|offset| row.checked_add_signed(offset));
    let place = place.filter(|_| offset != 0);
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
