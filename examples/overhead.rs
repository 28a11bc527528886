//! What agentvitals costs the traced thread, beside what a bare tracing-opentelemetry layer costs.
//!
//! ```text
//! cargo run --release --example overhead              # a table
//! cargo run --release --example overhead -- --json    # one line
//! cargo run --release --example overhead -- --variant layer --tasks 2000   # one variant alone, for a profiler
//! ```
//!
//! Measured is the CPU time of the thread that makes the spans, in rounds that take the variants in turn, so that a
//! machine that changes its speed changes it for all. Queues have room for a whole round and are emptied between rounds,
//! so that nobody is quick because it drops spans. Figures are medians of the rounds; the ratio is that of each round.

#[path = "../benches/workload/variants.rs"]
mod variants;
#[path = "../benches/workload/mod.rs"]
mod workload;

use std::error::Error;

use rustix::time::{ClockId, clock_gettime};

use variants::Variant;
use workload::{Inputs, SPANS_PER_TASK, task};

const ROUNDS: usize = 61;
const TASKS: usize = 1_000;
const TASKS_PER_FLUSH: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    if let Some(name) = value("--variant") {
        return run_one(name, value("--tasks").unwrap_or("2000").parse()?);
    }
    let json = arguments.iter().any(|argument| argument == "--json");
    let variants: Vec<Variant> = variants::NAMES.iter().filter_map(|name| variants::by_name(name)).collect();
    let inputs = Inputs::default();
    let times = measure(&variants, &inputs);
    let figures = Figures { variants: &variants, times: &times };
    let out = &mut std::io::stdout().lock();
    if json {
        figures.write_json(out, &inputs)?;
    } else {
        figures.write_table(out, &inputs)?;
    }
    Ok(())
}

/// Nanoseconds of CPU a span, by variant and round.
fn measure(variants: &[Variant], inputs: &Inputs) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::with_capacity(ROUNDS); variants.len()];
    for round in 0..ROUNDS + 2 {
        for (variant, times) in variants.iter().zip(&mut times) {
            let nanoseconds = tracing::dispatcher::with_default(&variant.dispatch, || {
                let start = thread_cpu();
                (0..TASKS).for_each(|i| task(inputs, i));
                thread_cpu() - start
            });
            variant.flush();
            // The first rounds fill caches and bind instruments.
            if round >= 2 {
                times.push(nanoseconds as f64 / (TASKS * SPANS_PER_TASK) as f64);
            }
        }
    }
    times
}

fn thread_cpu() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Allocations a span on the traced thread, in the steady state.
fn allocations(variant: &Variant, inputs: &Inputs) -> f64 {
    let count = tracing::dispatcher::with_default(&variant.dispatch, || {
        (0..200).for_each(|i| task(inputs, i));
        allocation_counter::measure(|| (0..TASKS).for_each(|i| task(inputs, i))).count_total
    });
    variant.flush();
    count as f64 / (TASKS * SPANS_PER_TASK) as f64
}

struct Figures<'a> {
    variants: &'a [Variant],
    times: &'a [Vec<f64>],
}

impl Figures<'_> {
    fn at(&self, name: &str) -> usize {
        self.variants.iter().position(|variant| variant.name == name).unwrap_or_default()
    }

    fn times(&self, name: &str) -> &[f64] {
        &self.times[self.at(name)]
    }

    fn ratio(&self, name: &str) -> f64 {
        median(self.times(name).iter().zip(self.times("otel")).map(|(ours, bare)| ours / bare).collect())
    }

    fn above_registry(&self, name: &str) -> f64 {
        median(self.times(name).iter().zip(self.times("registry")).map(|(ours, bare)| ours - bare).collect())
    }

    fn write_json(&self, out: &mut impl std::io::Write, inputs: &Inputs) -> std::io::Result<()> {
        let allocations = |name| allocations(&self.variants[self.at(name)], inputs);
        writeln!(
            out,
            "{{\"ratio_layer\":{:.3},\"ratio_agent_layer\":{:.3},\"ratio_sampled_out\":{:.3},\"agent_layer_ns\":{:.0},\
             \"layer_allocations_per_span\":{:.2},\"agent_layer_allocations_per_span\":{:.2}}}",
            self.ratio("layer"),
            self.ratio("agent_layer"),
            self.ratio("layer_sampled_out"),
            self.above_registry("agent_layer"),
            allocations("layer"),
            allocations("agent_layer"),
        )
    }

    fn write_table(&self, out: &mut impl std::io::Write, inputs: &Inputs) -> std::io::Result<()> {
        writeln!(
            out,
            "{:20} {:>9} {:>9} {:>10} {:>12}",
            "", "ns/span", "of bare", "- registry", "allocs/span"
        )?;
        for variant in self.variants {
            writeln!(
                out,
                "{:20} {:>9.0} {:>9.3} {:>10.0} {:>12.2}",
                variant.name,
                median(self.times(variant.name).to_vec()),
                self.ratio(variant.name),
                self.above_registry(variant.name),
                allocations(variant, inputs),
            )?;
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs one variant alone, for instruction counts and profilers.
fn run_one(name: &str, tasks: usize) -> Result<(), Box<dyn Error>> {
    let known = variants::NAMES.iter().find(|known| **known == name);
    let variant = known
        .and_then(|name| variants::by_name(name))
        .ok_or_else(|| format!("unknown variant {name:?}, expected one of {}", variants::NAMES.join(", ")))?;
    let inputs = Inputs::default();
    // A profiler may keep the SDK's threads from running: the queues must not fill up.
    for start in (0..tasks).step_by(TASKS_PER_FLUSH) {
        let tasks = start..tasks.min(start + TASKS_PER_FLUSH);
        tracing::dispatcher::with_default(&variant.dispatch, || {
            tasks.into_iter().for_each(|i| task(&inputs, i))
        });
        variant.flush();
    }
    Ok(())
}
