//! The only reader of time.
//!
//! Durations come from a monotonic counter, wall time only at the edge: one pair of anchors, taken when the
//! clock is made, connects the two. A step of the system's wall clock therefore never bends a duration.
//!
//! The counter is read through quanta, which uses the processor's time stamp counter where it is invariant and the
//! operating system's clock elsewhere: the layer reads it twice a span.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A source of monotonic time and, derived from it, wall time. Cheap to clone and to read.
///
/// ```
/// use std::time::Duration;
/// let (clock, hand) = agentvitals::Clock::manual();
/// let start = clock.now_ns();
/// hand.advance(Duration::from_millis(5));
/// assert_eq!(clock.now_ns() - start, 5_000_000);
/// ```
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    /// Wall time at the origin of the monotonic time.
    origin: SystemTime,
}

#[derive(Debug, Clone)]
enum Source {
    System { clock: quanta::Clock, origin: u64 },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The operating system's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn system() -> Self {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        Self { source: Source::System { clock, origin }, origin: SystemTime::now() }
    }

    /// A clock that stands still until its hand is moved. Its wall time starts at 2026-01-01 00:00:00 UTC, so
    /// that what a test prints is the same on each run.
    pub fn manual() -> (Self, ManualClock) {
        let ns = Arc::new(AtomicU64::new(0));
        let origin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        (Self { source: Source::Manual(Arc::clone(&ns)), origin }, ManualClock { ns })
    }

    /// Nanoseconds since the clock was made. Never goes back; enough for 584 years.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        match &self.source {
            Source::System { clock, origin } => clock.delta_as_nanos(*origin, clock.raw()),
            Source::Manual(ns) => ns.load(Ordering::Acquire),
        }
    }

    /// Wall time: the wall time at which the clock was made plus [`now_ns`](Self::now_ns).
    pub fn wall(&self) -> SystemTime {
        self.wall_at(self.now_ns())
    }

    /// The wall time at a value of [`now_ns`](Self::now_ns).
    pub fn wall_at(&self, ns: u64) -> SystemTime {
        self.origin + Duration::from_nanos(ns)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// The hand of a manual clock; see [`Clock::manual`].
#[derive(Debug, Clone)]
pub struct ManualClock {
    ns: Arc<AtomicU64>,
}

impl ManualClock {
    /// Moves the clock forward. Its monotonic and its wall time move along.
    pub fn advance(&self, by: Duration) {
        self.ns.fetch_add(nanos(by), Ordering::AcqRel);
    }
}

#[inline]
fn nanos(duration: Duration) -> u64 {
    // Not `as_nanos`: 128-bit arithmetic is a measurable part of a 10 ns path.
    duration.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_moved_and_moves_both_times() {
        let (clock, hand) = Clock::manual();
        let (ns, wall) = (clock.now_ns(), clock.wall());
        assert_eq!((ns, wall), (clock.now_ns(), clock.wall()));
        hand.advance(Duration::from_millis(1500));
        assert_eq!(clock.now_ns() - ns, 1_500_000_000);
        assert_eq!(clock.wall(), wall + Duration::from_millis(1500));
        assert_eq!(clock.clone().now_ns(), clock.now_ns());
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = Clock::system();
        let times: Vec<u64> = (0..1000).map(|_| clock.now_ns()).collect();
        assert!(times.is_sorted());
    }
}
