//! Forecasts on series whose future is known, because it was drawn by the same rule: intervals hold what they say, and no
//! limit is passed by noise.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use agentvitals::forecast::{Direction, Forecast, Method, Options, Series, forecast};

const MINUTE: Duration = Duration::from_secs(60);

/// SplitMix64 (Steele, Lea and Flood 2014): a seed makes the same numbers on each run.
struct Draw(u64);

impl Draw {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// By Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// How the values of a simulated series come about.
#[derive(Debug, Clone, Copy)]
enum Process {
    /// The same distribution at all times.
    Noise,
    /// Noise with a long right tail, as latencies have.
    Skewed,
    /// Each value is like the one before: `x = share * x' + noise`.
    Alike(f64),
    /// Steps from the value before.
    Walk,
    /// A straight line with noise.
    Line,
    /// A season of 24 steps with noise.
    Season,
}

impl Process {
    fn values(self, draw: &mut Draw, count: usize) -> Vec<f64> {
        let mut state = 0.0;
        // What was before the first value is forgotten by then.
        for _ in 0..200 {
            if let Self::Alike(share) = self {
                state = share * state + draw.normal();
            }
        }
        (0..count)
            .map(|at| {
                let noise = draw.normal();
                match self {
                    Self::Noise => 10.0 + noise,
                    Self::Skewed => (0.5 * noise).exp(),
                    Self::Alike(share) => {
                        state = share * state + noise;
                        state
                    }
                    Self::Walk => {
                        state += noise;
                        state
                    }
                    Self::Line => 0.1 * at as f64 + noise,
                    Self::Season => 5.0 * (std::f64::consts::TAU * at as f64 / 24.0).sin() + noise,
                }
            })
            .collect()
    }
}

/// A forecast from simulated history, and what came then.
fn simulate(
    process: Process,
    draw: &mut Draw,
    history: usize,
    horizon: usize,
    level: f64,
) -> (Forecast, Vec<f64>) {
    let values = process.values(draw, history + horizon);
    let series = Series::evenly(MINUTE, values[..history].iter().copied()).unwrap();
    let options = match process {
        Process::Season => Options::new().season(24 * MINUTE),
        _ => Options::new(),
    };
    let found = forecast(&series, MINUTE * horizon as u32, &options.level(level)).unwrap();
    (found, values)
}

/// The share of `rounds` series whose value at the horizon is in the interval.
fn coverage(process: Process, history: usize, horizon: usize, level: f64, rounds: usize) -> f64 {
    let mut draw = Draw(history as u64 * 1_000 + horizon as u64);
    let inside = (0..rounds)
        .filter(|_| {
            let (found, values) = simulate(process, &mut draw, history, horizon, level);
            (found.low..=found.high).contains(values.last().unwrap())
        })
        .count();
    inside as f64 / rounds as f64
}

/// An interval holds about the share that it says, whatever the process, also for values with a long tail, for such that are
/// like those before, and for walks. Where the history is not many times the horizon it may hold more, hardly less.
///
/// Feature: I7
#[test]
fn intervals_hold_the_share_that_they_say() {
    const ROUNDS: usize = 150;
    let mut wrong = Vec::new();
    for (process, history, horizon) in [
        (Process::Noise, 60, 1),
        (Process::Noise, 240, 30),
        (Process::Skewed, 240, 30),
        (Process::Alike(0.5), 120, 10),
        (Process::Alike(0.9), 240, 30),
        (Process::Walk, 240, 30),
        (Process::Line, 240, 30),
        (Process::Season, 240, 30),
    ] {
        // Three standard errors of a share of so many rounds, below; above, caution may hold more.
        for (level, least, most) in [(0.80, 0.70, 0.93), (0.95, 0.90, 1.0)] {
            let share = coverage(process, history, horizon, level, ROUNDS);
            if !(least..=most).contains(&share) {
                wrong.push(format!("{process:?}, {horizon} after {history}: {share} instead of {level}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Feature: I7, H13
#[test]
fn noise_below_a_limit_does_not_pass_it() {
    const ROUNDS: usize = 200;
    for (process, limit) in [
        (Process::Noise, 12.0),
        (Process::Skewed, 3.0),
        (Process::Alike(0.5), 2.3),
        // What is like the value before for so long looks like a trend to the eye.
        (Process::Alike(0.95), 6.4),
    ] {
        let mut draw = Draw(11);
        let (mut told, mut below) = (0, 0);
        for _ in 0..ROUNDS {
            let (found, values) = simulate(process, &mut draw, 90, 60, 0.95);
            if values[89] < limit {
                below += 1;
                told += u32::from(found.passes(limit, Direction::Above).is_some());
            }
        }
        // The level leaves 2.5 % on this side.
        assert!(f64::from(told) <= 0.025 * f64::from(below), "{process:?}: {told} of {below}");
        assert!(below > 150, "{process:?}: {below}");
    }
}

/// The other side: what does pass is told, before it happens, and the time is in the interval.
///
/// Feature: I7, H13
#[test]
fn a_trend_with_noise_is_told_before_it_passes() {
    const ROUNDS: usize = 100;
    let mut draw = Draw(3);
    let (mut told, mut right) = (0, 0);
    for _ in 0..ROUNDS {
        // It is at 18 now, with noise of 1, rises by 0.1 a minute and passes 22 in 41 minutes.
        let (found, _) = simulate(Process::Line, &mut draw, 180, 90, 0.95);
        if let Some(crossing) = found.passes(22.0, Direction::Above) {
            told += 1;
            assert!(crossing.earliest <= crossing.eta && crossing.eta <= crossing.latest, "{crossing}");
            right += u32::from((crossing.earliest..=crossing.latest).contains(&(41 * MINUTE)));
        }
    }
    assert!(told >= 90, "told {told} of {ROUNDS}");
    assert!(f64::from(right) >= 0.95 * f64::from(told), "right {right} of {told}");
}

/// The choice: each process has the method that its rule asks for, nearly always, or one that is as good.
///
/// Feature: I7
#[test]
fn the_method_that_fits_is_chosen() {
    let chosen = |process: Process, fits: fn(&Method) -> bool| {
        let mut draw = Draw(21);
        (0..40).filter(|_| fits(&simulate(process, &mut draw, 240, 24, 0.95).0.method)).count()
    };
    let season = chosen(Process::Season, |method| matches!(method, Method::HoltWinters(_)));
    let line = chosen(Process::Line, |method| {
        matches!(method, Method::LinearTrend(_) | Method::TheilSen(_) | Method::Holt(_))
    });
    let noise = chosen(Process::Noise, |method| {
        matches!(
            method,
            Method::MovingAverage(_)
                | Method::ExponentialSmoothing(_)
                | Method::Holt(_)
                | Method::TheilSen(_)
                | Method::LinearTrend(_)
        )
    });
    // Of a walk nobody knows more than where it is.
    let walk = chosen(Process::Walk, |method| matches!(method, Method::Naive));
    assert!(season >= 38 && line >= 38 && noise == 40 && walk >= 24, "{season} {line} {noise} {walk}");
}
