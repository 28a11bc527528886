//! One agent's task (five spans of ten attributes) under each subscriber, on one thread and on two.
//!
//! ```text
//! cargo bench --bench layer
//! ```
//!
//! Wall time, for a look at the whole distribution; the figures of the README come from the example `overhead`, which
//! measures the CPU time of the traced thread in interleaved rounds.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

#[path = "workload/variants.rs"]
mod variants;
#[path = "workload/mod.rs"]
mod workload;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use variants::{NAMES, Variant, by_name};
use workload::{Inputs, SPANS_PER_TASK, task};

/// Tasks after which the queues are emptied, outside of the measured time.
const TASKS_PER_FLUSH: u64 = 1_000;

fn benchmark(criterion: &mut Criterion) {
    let inputs = Inputs::default();
    for threads in [1_usize, 2] {
        let mut group = criterion.benchmark_group(format!("task_on_{threads}_threads"));
        group.throughput(Throughput::Elements((SPANS_PER_TASK * threads) as u64));
        group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
        for variant in NAMES.iter().filter_map(|name| by_name(name)) {
            group.bench_function(variant.name, |bencher| {
                bencher.iter_custom(|iterations| timed(&variant, &inputs, iterations, threads));
            });
        }
        group.finish();
    }
}

fn timed(variant: &Variant, inputs: &Inputs, iterations: u64, threads: usize) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let tasks = left.min(TASKS_PER_FLUSH);
        total += round(variant, inputs, tasks as usize, threads);
        variant.flush();
        left -= tasks;
    }
    total
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn round(variant: &Variant, inputs: &Inputs, tasks: usize, threads: usize) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let dispatch = variant.dispatch.clone();
            scope.spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || (0..tasks).for_each(|i| task(inputs, i)));
            });
        }
        tracing::dispatcher::with_default(&variant.dispatch, || (0..tasks).for_each(|i| task(inputs, i)));
    });
    start.elapsed()
}

criterion_group!(layer, benchmark);
criterion_main!(layer);
