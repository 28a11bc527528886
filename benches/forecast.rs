//! Forecasts of short and of the longest series: all methods, back-test, interval.
//!
//! ```text
//! cargo bench --bench forecast
//! ```
#![allow(missing_docs, reason = "the macros of criterion make public items")]

use std::hint::black_box;
use std::time::Duration;

use agentvitals::forecast::{LinearTrend, Options, Series, forecast};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const MINUTE: Duration = Duration::from_secs(60);

fn series(points: u32) -> Option<Series> {
    let day = |minute: u32| (std::f64::consts::TAU * f64::from(minute) / 288.0).sin();
    let noise = |minute: u32| f64::from(minute * 7_919 % 1_009) / 1_009.0;
    Series::evenly(MINUTE, (0..points).map(|minute| 2.0 + day(minute) + noise(minute))).ok()
}

fn benchmark(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forecast");
    let line = Options::new().method(LinearTrend::of_all());
    let season = Options::new().season(288 * MINUTE);
    for points in [60, 288, 2_000] {
        let Some(series) = series(points) else { continue };
        let horizon = MINUTE * (points / 4).min(60);
        for (name, options) in
            [("chosen", Options::new()), ("linear", line.clone()), ("season", season.clone())]
        {
            group.bench_with_input(BenchmarkId::new(name, points), &series, |bencher, series| {
                bencher.iter(|| forecast(black_box(series), horizon, &options));
            });
        }
    }
    group.finish();
}

criterion_group!(forecasts, benchmark);
criterion_main!(forecasts);
