//! The figures of one group.

use serde_json::Value as Json;

use crate::query::request::{Durations, Group};

/// Durations that are kept one by one before buckets are made of them.
const FEW: usize = 256;
/// Traces that are kept of a group.
const TRACES: usize = 5;

/// Figures of the spans of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) count: u64,
    pub(super) errors: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cost: Option<f64>,
    /// The same in billionths of a US dollar: whole numbers have the same sum in whatever order they come.
    pub(super) cost_nano: u64,
    /// Model calls without a cost that have not failed: what is refused is not billed.
    pub(super) unpriced: u64,
    /// When and where, if that was asked for.
    pub(super) seen: Option<Box<Seen>>,
    min: i64,
    max: i64,
    sum: i128,
    durations: Histogram,
}

/// When spans of a group started, and in which traces.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) first: i64,
    pub(super) last: i64,
    /// The newest ones, by their start.
    pub(super) traces: Vec<(i64, [u8; 16])>,
}

impl Seen {
    fn add(&mut self, start: i64, trace: Option<[u8; 16]>) {
        (self.first, self.last) = (self.first.min(start), self.last.max(start));
        let Some(trace) = trace else { return };
        if let Some(known) = self.traces.iter_mut().find(|(_, known)| *known == trace) {
            known.0 = known.0.max(start);
        } else if self.traces.len() < TRACES {
            self.traces.push((start, trace));
        } else if let Some(oldest) = self.traces.iter_mut().min_by_key(|(at, _)| *at)
            && oldest.0 < start
        {
            *oldest = (start, trace);
        }
    }
}

/// How many durations each bucket has.
#[derive(Debug, Clone)]
enum Histogram {
    /// The bucket of each.
    Few(Vec<u16>),
    /// Counts from this bucket on.
    Many(u16, Vec<u64>),
}

impl Default for Histogram {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

/// The bucket of a duration: 128 of them for each doubling, so that its middle is within 0.4 %.
pub(super) fn bucket(nanos: i64) -> u16 {
    let nanos = nanos.max(0).cast_unsigned();
    if nanos < 256 {
        return u16::try_from(nanos).unwrap_or(0);
    }
    let exponent = 63 - nanos.leading_zeros();
    let part = (nanos >> (exponent - 7)) & 127;
    u16::try_from(u64::from(exponent - 6) * 128 + part).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
#[expect(clippy::cast_precision_loss, reason = "a bucket is wider than what is lost")]
pub(super) fn middle(bucket: u16) -> f64 {
    if bucket < 256 {
        return f64::from(bucket);
    }
    let (exponent, part) = (u32::from(bucket / 128) + 6, u64::from(bucket % 128));
    let low = (128 + part) << (exponent - 7);
    low as f64 + (1_u64 << (exponent - 7)) as f64 / 2.0
}

impl Histogram {
    /// Adds so many durations of a bucket. Returns how many bytes more it takes.
    fn add(&mut self, bucket: u16, count: u64) -> usize {
        let before = self.size();
        match self {
            Self::Few(few) if count == 1 && few.len() < FEW => {
                few.push(bucket);
                return self.size() - before;
            }
            Self::Few(few) => {
                let few = std::mem::take(few);
                let low = few.iter().copied().min().unwrap_or(bucket).min(bucket);
                *self = Self::Many(low, Vec::new());
                for bucket in few {
                    self.add(bucket, 1);
                }
            }
            Self::Many(..) => {}
        }
        if let Self::Many(low, counts) = self {
            Self::widen(low, counts, bucket, 1);
            counts[usize::from(bucket - *low)] += count;
        }
        self.size().saturating_sub(before)
    }

    /// Makes room for so many buckets from this one on.
    fn widen(low: &mut u16, counts: &mut Vec<u64>, from: u16, buckets: usize) {
        if from < *low {
            counts.splice(..0, std::iter::repeat_n(0, usize::from(*low - from)));
            *low = from;
        }
        let end = usize::from(from - *low) + buckets;
        if end > counts.len() {
            counts.resize(end, 0);
        }
    }

    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (this, Self::Few(few)) => few.iter().for_each(|&bucket| _ = this.add(bucket, 1)),
            (Self::Many(low, counts), Self::Many(from, more)) => {
                Self::widen(low, counts, *from, more.len());
                let counts = &mut counts[usize::from(*from - *low)..];
                counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            }
            (this @ Self::Few(_), Self::Many(from, more)) => {
                let few = std::mem::replace(this, Self::Many(*from, more.clone()));
                this.merge(&few);
            }
        }
    }

    const fn size(&self) -> usize {
        match self {
            Self::Few(few) => few.capacity() * size_of::<u16>(),
            Self::Many(_, counts) => counts.capacity() * size_of::<u64>(),
        }
    }

    /// Each bucket that has durations, in order, with how many.
    fn buckets(&self) -> Vec<(u16, u64)> {
        match self {
            Self::Few(few) => {
                let mut few = few.clone();
                few.sort_unstable();
                few.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect()
            }
            Self::Many(low, counts) => {
                (*low..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
            }
        }
    }
}

/// A cost in US dollars as whole billionths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not below 0, and saturates"
)]
pub(super) fn nanodollars(cost: f64) -> u64 {
    (cost * 1e9).round().max(0.0) as u64
}

impl Figures {
    /// Each bucket that has durations, by its number and in order, with how many.
    pub(super) fn buckets(&self) -> Vec<(u16, u64)> {
        self.durations.buckets()
    }

    /// Bytes of its durations.
    pub(super) const fn bytes(&self) -> usize {
        self.durations.size()
    }

    /// Adds what a model call used.
    pub(super) fn add_call(&mut self, input: u64, output: u64, cost: Option<(f64, u64)>, failed: bool) {
        self.input_tokens = self.input_tokens.saturating_add(input);
        self.output_tokens = self.output_tokens.saturating_add(output);
        if let Some((cost, nano)) = cost {
            self.cost = Some(self.cost.unwrap_or(0.0) + cost);
            self.cost_nano = self.cost_nano.saturating_add(nano);
        } else {
            self.unpriced += u64::from(!failed);
        }
    }

    /// A span started then, and is in this trace.
    pub(super) fn seen_in(&mut self, start: i64, trace: Option<[u8; 16]>) {
        let seen =
            self.seen.get_or_insert_with(|| Box::new(Seen { first: start, last: start, traces: Vec::new() }));
        seen.add(start, trace);
    }

    /// Only when spans of the group started stays known.
    pub(super) fn forget_traces(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.traces = Vec::new();
        }
    }

    /// Adds a span. Returns how many bytes more the figures take.
    pub(super) fn add(&mut self, duration: i64) -> usize {
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.count += 1;
        self.sum += i128::from(duration);
        let bucket = bucket(duration);
        if let Histogram::Many(low, counts) = &mut self.durations
            && let Some(count) =
                usize::from(bucket).checked_sub(usize::from(*low)).and_then(|at| counts.get_mut(at))
        {
            *count += 1;
            return 0;
        }
        self.durations.add(bucket, 1)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.errors += other.errors;
        self.sum += other.sum;
        self.durations.merge(&other.durations);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost_nano = self.cost_nano.saturating_add(other.cost_nano);
        self.unpriced += other.unpriced;
        if let Some(seen) = &other.seen {
            self.seen_in(seen.first, None);
            self.seen_in(seen.last, None);
            seen.traces.iter().for_each(|(start, trace)| self.seen_in(*start, Some(*trace)));
        }
        self.cost = match (self.cost, other.cost) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks and bounds of quantiles"
    )]
    pub(super) fn group(&self, by: Vec<Json>, step: Option<i64>, seconds: Option<f64>) -> Group {
        let buckets = self.durations.buckets();
        let quantile = |q: f64| {
            let rank = ((self.count as f64 * q).ceil() as u64).max(1);
            let mut seen = 0;
            let at = buckets.iter().find(|(_, count)| {
                seen += count;
                seen >= rank
            });
            // Never outside of what was measured.
            at.map_or(0.0, |(bucket, _)| middle(*bucket).clamp(self.min as f64, self.max as f64))
        };
        Group {
            by,
            step,
            count: self.count,
            errors: self.errors,
            rate: seconds.map(|seconds| self.count as f64 / seconds),
            duration_ns: Durations {
                min: self.min,
                max: self.max,
                avg: self.sum as f64 / self.count.max(1) as f64,
                p50: quantile(0.5),
                p95: quantile(0.95),
                p99: quantile(0.99),
            },
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cost: self.cost,
        }
    }
}
