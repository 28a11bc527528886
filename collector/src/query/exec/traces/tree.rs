//! The spans of a trace and how they are related.

use std::num::NonZeroU64;

use hashbrown::HashMap;

use crate::query::traceql::{Datum, SpansetOp};

/// The id of a span, which is never 0, as W3C Trace Context has it: so an optional one takes no more room.
pub(super) type SpanId = NonZeroU64;

/// A span, as far as a query looks at it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) start: i64,
    pub(super) duration: i64,
    /// Which filters of the query it fulfils.
    pub(super) fulfils: u64,
    /// The values of the fields that are read.
    pub(super) values: Box<[Datum<'static>]>,
}

impl Row {
    pub(super) const fn end(&self) -> i64 {
        self.start.saturating_add(self.duration)
    }
}

/// A trace, its spans by start.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) id: [u8; 16],
    pub(super) rows: Vec<Row>,
    /// The place of each span's parent; none of a root, and of one whose parent is not here.
    parents: Vec<Option<u32>>,
}

/// Where a span is in a walk down the tree, as the nested set model numbers it; all 0 for a span that no root leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Nested {
    pub(super) left: i64,
    pub(super) right: i64,
    /// The left of its parent, -1 of a root.
    pub(super) parent: i64,
}

/// Up to so many spans are looked for one by one, which is quicker than in a map.
const FEW: usize = 16;

/// Places of spans, in order.
pub(super) type Places = Vec<u32>;

fn place(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Trace {
    pub(super) fn new(id: [u8; 16], mut rows: Vec<Row>) -> Self {
        rows.sort_by_key(|row| (row.start, row.id));
        let mut by_id: HashMap<SpanId, u32> = HashMap::new();
        if rows.len() > FEW {
            by_id.reserve(rows.len());
            for (at, row) in rows.iter().enumerate() {
                by_id.entry(row.id).or_insert_with(|| place(at));
            }
        }
        let of_id = |id: SpanId| {
            if rows.len() > FEW {
                by_id.get(&id).copied()
            } else {
                rows.iter().position(|row| row.id == id).map(place)
            }
        };
        let parents = rows.iter().enumerate().map(|(at, row)| {
            let parent = row.parent.and_then(of_id);
            parent.filter(|parent| *parent != place(at))
        });
        let parents = parents.collect();
        Self { id, rows, parents }
    }

    pub(super) fn all(&self) -> Places {
        (0..place(self.rows.len())).collect()
    }

    pub(super) fn row(&self, at: u32) -> &Row {
        &self.rows[at as usize]
    }

    pub(super) fn parent(&self, at: u32) -> Option<u32> {
        self.parents[at as usize]
    }

    /// The root: the first span without a parent; none if it has not arrived.
    pub(super) fn root(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.parent.is_none())
    }

    /// From the first start to the last end, nanoseconds.
    pub(super) fn duration(&self) -> i64 {
        let end = self.rows.iter().map(Row::end).max().unwrap_or(0);
        end.saturating_sub(self.start())
    }

    pub(super) fn start(&self) -> i64 {
        self.rows.first().map_or(0, |row| row.start)
    }

    /// How many children each span has.
    pub(super) fn child_counts(&self) -> Vec<i64> {
        let mut counts = vec![0; self.rows.len()];
        for parent in self.parents.iter().flatten() {
            counts[*parent as usize] += 1;
        }
        counts
    }

    /// The numbers of the nested set model.
    pub(super) fn nested(&self) -> Vec<Nested> {
        let mut children: Vec<Places> = vec![Vec::new(); self.rows.len()];
        for (at, parent) in self.parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent as usize].push(place(at));
            }
        }
        let mut all = vec![Nested::default(); self.rows.len()];
        let mut bound = 1;
        for root in self.all().into_iter().filter(|at| self.row(*at).parent.is_none()) {
            all[root as usize] = Nested { left: bound, right: 0, parent: -1 };
            bound += 1;
            let mut path = vec![(root, 0)];
            while let Some((at, next)) = path.last_mut() {
                let at = *at as usize;
                if let Some(&child) = children[at].get(*next) {
                    *next += 1;
                    all[child as usize] = Nested { left: bound, right: 0, parent: all[at].left };
                    path.push((child, 0));
                } else {
                    all[at].right = bound;
                    path.pop();
                }
                bound += 1;
            }
        }
        all
    }

    fn marks(&self, places: &[u32]) -> Vec<bool> {
        let mut marks = vec![false; self.rows.len()];
        places.iter().for_each(|at| marks[*at as usize] = true);
        marks
    }

    /// Of each span, whether one of its ancestors is marked.
    fn below(&self, marked: &[bool]) -> Vec<bool> {
        let mut known: Vec<Option<bool>> = vec![None; self.rows.len()];
        let mut path = Vec::new();
        for at in 0..self.rows.len() {
            let mut here = at;
            // A ring of parents has no end. It is gone round twice, so that each span of it is told of all others: the first time
            // nothing is known where it began.
            while known[here].is_none() && path.len() <= 2 * self.rows.len() {
                path.push(here);
                match self.parents[here] {
                    Some(parent) => here = parent as usize,
                    None => {
                        known[here] = Some(false);
                        break;
                    }
                }
            }
            while let Some(here) = path.pop() {
                let below = self.parents[here]
                    .is_some_and(|parent| marked[parent as usize] || known[parent as usize].unwrap_or(false));
                known[here] = Some(below);
            }
        }
        known.into_iter().map(|below| below.unwrap_or(false)).collect()
    }

    /// Of each span, whether one below it is marked.
    fn above(&self, marked: &[bool]) -> Vec<bool> {
        let mut above = vec![false; self.rows.len()];
        for (at, _) in marked.iter().enumerate().filter(|(_, marked)| **marked) {
            let mut here = self.parents[at];
            while let Some(parent) = here.filter(|parent| !above[*parent as usize]) {
                above[parent as usize] = true;
                here = self.parents[parent as usize];
            }
        }
        above
    }

    /// Of each span, whether a child of it is marked.
    fn over(&self, marked: &[bool]) -> Vec<bool> {
        let mut over = vec![false; self.rows.len()];
        for (at, _) in marked.iter().enumerate().filter(|(_, marked)| **marked) {
            if let Some(parent) = self.parents[at] {
                over[parent as usize] = true;
            }
        }
        over
    }

    /// Of each span, whether its parent is marked.
    fn under(&self, marked: &[bool]) -> Vec<bool> {
        self.parents.iter().map(|parent| parent.is_some_and(|parent| marked[parent as usize])).collect()
    }

    /// Of each span, whether another one with the same parent is marked. Roots have the same: none.
    fn beside(&self, marked: &[bool]) -> Vec<bool> {
        let mut counts: HashMap<Option<SpanId>, u32> = HashMap::new();
        for (row, _) in self.rows.iter().zip(marked).filter(|(_, marked)| **marked) {
            *counts.entry(row.parent).or_default() += 1;
        }
        let others =
            |(row, marked): (&Row, &bool)| counts.get(&row.parent).copied().unwrap_or(0) > u32::from(*marked);
        self.rows.iter().zip(marked).map(others).collect()
    }

    /// The spans of two sets that are related so: those of the second one, but for unions.
    pub(super) fn related(&self, op: SpansetOp, left: &[u32], right: &[u32]) -> Places {
        use SpansetOp as Op;
        let (lefts, rights) = (self.marks(left), self.marks(right));
        // What a span on the right must have on the left, and the reverse of it.
        type Relation = fn(&Trace, &[bool]) -> Vec<bool>;
        let (of_right, of_left): (Relation, Relation) = match op {
            Op::And | Op::Or => {
                return self
                    .all()
                    .into_iter()
                    .filter(|at| lefts[*at as usize] || rights[*at as usize])
                    .collect();
            }
            Op::Child | Op::NotChild | Op::UnionChild => (Self::under, Self::over),
            Op::Parent | Op::NotParent | Op::UnionParent => (Self::over, Self::under),
            Op::Descendant | Op::NotDescendant | Op::UnionDescendant => (Self::below, Self::above),
            Op::Ancestor | Op::NotAncestor | Op::UnionAncestor => (Self::above, Self::below),
            Op::Sibling | Op::NotSibling | Op::UnionSibling => (Self::beside, Self::beside),
        };
        let holds = of_right(self, &lefts);
        let kept = |at: &u32| holds[*at as usize] != op.is_negated();
        let mut found: Places = right.iter().copied().filter(kept).collect();
        if op.is_union() {
            let holds = of_left(self, &rights);
            found.extend(left.iter().copied().filter(|at| holds[*at as usize]));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Spans in order of their starts; parents by place, which may make rings, be missing or be the span itself.
    fn trace(parents: &[Option<u8>]) -> Trace {
        let id = |place: u8| SpanId::MIN.saturating_add(place.into());
        let rows = parents.iter().zip(0..).map(|(parent, place)| Row {
            id: id(place),
            parent: parent.map(id),
            start: i64::from(place),
            duration: 1,
            fulfils: 0,
            values: Box::default(),
        });
        Trace::new([1; 16], rows.collect())
    }

    /// Whether a relation holds between the span `a` on the left and `b` on the right, by its definition.
    fn holds(trace: &Trace, op: SpansetOp, a: u32, b: u32) -> bool {
        use SpansetOp as Op;
        let ancestors = |of: u32| {
            let mut above = Vec::new();
            let mut here = trace.parent(of);
            while let Some(parent) = here.filter(|parent| !above.contains(parent)) {
                above.push(parent);
                here = trace.parent(parent);
            }
            above
        };
        match op {
            Op::Child | Op::NotChild | Op::UnionChild => trace.parent(b) == Some(a),
            Op::Parent | Op::NotParent | Op::UnionParent => trace.parent(a) == Some(b),
            Op::Descendant | Op::NotDescendant | Op::UnionDescendant => ancestors(b).contains(&a),
            Op::Ancestor | Op::NotAncestor | Op::UnionAncestor => ancestors(a).contains(&b),
            _ => a != b && trace.row(a).parent == trace.row(b).parent,
        }
    }

    const RELATIONS: [SpansetOp; 15] = {
        use SpansetOp as Op;
        [
            Op::Child,
            Op::Parent,
            Op::Descendant,
            Op::Ancestor,
            Op::Sibling,
            Op::NotChild,
            Op::NotParent,
            Op::NotDescendant,
            Op::NotAncestor,
            Op::NotSibling,
            Op::UnionChild,
            Op::UnionParent,
            Op::UnionDescendant,
            Op::UnionAncestor,
            Op::UnionSibling,
        ]
    };

    #[test]
    fn in_a_ring_of_parents_every_span_is_below_every_other_and_itself() {
        // A ring of eight, and one span aside.
        let parents = [Some(8), Some(0), Some(1), Some(2), Some(7), Some(3), None, Some(5), Some(4)];
        let trace = trace(&parents);
        let ring: Places = trace.all().into_iter().filter(|at| trace.parent(*at).is_some()).collect();
        assert_eq!(ring.len(), 8);
        for &at in &ring {
            assert_eq!(trace.related(SpansetOp::Descendant, &[at], &trace.all()), ring, "{at}");
            assert_eq!(trace.related(SpansetOp::Ancestor, &[at], &trace.all()), ring, "{at}");
        }
    }

    proptest! {
        #[test]
        fn relations_are_as_they_are_defined(
            parents in proptest::collection::vec(proptest::option::weighted(0.8, 0_u8..10), 1..10),
            left in any::<u16>(),
            right in any::<u16>(),
        ) {
            let trace = trace(&parents);
            let of = |mask: u16| -> Places {
                trace.all().into_iter().filter(|at| mask >> at & 1 == 1).collect()
            };
            let (left, right) = (of(left), of(right));
            for op in RELATIONS {
                let to_left = |b: &u32| left.iter().any(|&a| holds(&trace, op, a, *b));
                let to_right = |a: &u32| right.iter().any(|&b| holds(&trace, op, *a, b));
                let wanted: Places = trace.all().into_iter().filter(|at| {
                    right.contains(at) && to_left(at) != op.is_negated()
                        || op.is_union() && left.contains(at) && to_right(at)
                }).collect();
                prop_assert_eq!(trace.related(op, &left, &right), wanted, "{}", op.text());
            }
        }
    }
}
