//! From points to what was counted between them.

use super::Distribution;

/// What a point is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl Kind {
    /// The kind of this name in the column `type`.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "sum" => Self::Sum,
            "histogram" => Self::Histogram,
            "exponential_histogram" => Self::ExponentialHistogram,
            "summary" => Self::Summary,
            _ => Self::Gauge,
        }
    }

    /// Its name in the column `type`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::ExponentialHistogram => "exponential_histogram",
            Self::Summary => "summary",
        }
    }
}

/// What a point counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temporality {
    /// It is a state, not a count.
    None,
    /// From the point before.
    Delta,
    /// From the start of its process.
    Cumulative,
}

/// What a point says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    Number(f64),
    Values(Distribution),
}

/// A point of a series.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    /// Tells its series, and the start of its process, from others.
    pub(crate) series: u64,
    /// What it is grouped by.
    pub(crate) group: usize,
    pub(crate) kind: Kind,
    pub(crate) temporality: Temporality,
    /// Whether what it counts never goes down.
    pub(crate) monotonic: bool,
    pub(crate) time: i64,
    /// Since when it counts, if the sender told.
    pub(crate) start: Option<i64>,
    pub(crate) reading: Reading,
}

/// How points of a series are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counting {
    /// Each tells a state, of which the last one counts.
    State,
    /// Each tells what was counted since the one before.
    Delta,
    /// Each tells what was counted since the start: it is compared with the one before.
    Cumulative,
}

impl Point {
    /// How it is put together with others of its series.
    pub(crate) fn counting(&self) -> Counting {
        let state = self.kind == Kind::Gauge
            || self.kind == Kind::Summary
            || (!self.monotonic && self.temporality != Temporality::Delta)
            || self.temporality == Temporality::None;
        match self.temporality {
            _ if state => Counting::State,
            Temporality::Delta => Counting::Delta,
            Temporality::None | Temporality::Cumulative => Counting::Cumulative,
        }
    }
}

/// What one point adds to what is known.
#[derive(Debug, Clone)]
pub(crate) struct Increase {
    pub(crate) group: usize,
    pub(crate) series: u64,
    pub(crate) kind: Kind,
    pub(crate) time: i64,
    /// Whether it is a state, of which the last one counts, and not an increase.
    pub(crate) state: bool,
    pub(crate) reading: Reading,
}

/// What each point adds. Points of cumulative series are compared with the point before; a value that went down is
/// that of a process that started again. The first point of a series counts whole if its sender told since when it
/// counts, else it is only what the next one is compared with.
pub(crate) fn increases(mut points: Vec<Point>) -> Vec<Increase> {
    points.sort_by_key(|point| (point.series, point.time));
    let mut out = Vec::with_capacity(points.len());
    let mut before: Option<(u64, Reading)> = None;
    for point in points {
        let counting = point.counting();
        let reading = if counting == Counting::Cumulative {
            let earlier = before.take().filter(|(series, _)| *series == point.series);
            let increase = match &earlier {
                Some((_, earlier)) => Some(since(&point.reading, earlier)),
                None => point.start.map(|_| point.reading.clone()),
            };
            before = Some((point.series, point.reading));
            increase
        } else {
            Some(point.reading)
        };
        let (group, series, kind, time) = (point.group, point.series, point.kind, point.time);
        let state = counting == Counting::State;
        out.extend(reading.map(|reading| Increase { group, series, kind, time, state, reading }));
    }
    out
}

/// What was counted after an earlier reading; all of it, if it is no later state of that one.
pub(super) fn since(now: &Reading, earlier: &Reading) -> Reading {
    match (now, earlier) {
        (Reading::Number(now), Reading::Number(earlier)) if now >= earlier => Reading::Number(now - earlier),
        (Reading::Values(now), Reading::Values(earlier)) => {
            Reading::Values(now.since(earlier).unwrap_or_else(|| now.clone()))
        }
        _ => now.clone(),
    }
}
