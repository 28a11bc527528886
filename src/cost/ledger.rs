//! The books: what every model call cost, by model and agent and by run.
//!
//! Finding a price takes microseconds and allocates: the ledger is for the SDK's own thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Counter, Histogram, Meter};

use super::budget::Budgets;
use super::{CostReport, CostRow, ModelCall, Nanodollars, Price, Pricing};
use crate::clock::Clock;
use crate::names::Name;
use crate::operation::{Operation, Usage};
use crate::semconv::{attr, metric, unit};

/// Runs of which costs are being added up.
const MAX_RUNS: usize = 65_536;
/// The keys of the report.
const REPORT_KEYS: [&str; 4] =
    [attr::PROVIDER_NAME, attr::REQUEST_MODEL, attr::RESPONSE_MODEL, attr::AGENT_NAME];

/// Adds up the cost of model calls.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    pricing: Arc<dyn Pricing>,
    clock: Clock,
    cost: Counter<u64>,
    unpriced: Counter<u64>,
    run_cost: Histogram<f64>,
    max_rows: usize,
    budgets: Option<Budgets>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct RowKey {
    operation: Name,
    provider: Name,
    request_model: Name,
    response_model: Name,
    agent: Name,
}

#[derive(Debug)]
struct Books {
    rows: HashMap<RowKey, Row>,
    runs: HashMap<u64, Run>,
    /// Runs that have ended, with their agent: the newest, and those before.
    ended: [Vec<(u64, Name)>; 2],
}

/// The calls of one model by one agent, with the counters bound to them.
#[derive(Debug, Default)]
struct Row {
    sums: CostRow,
    cost: Option<BoundCounter<u64>>,
    unpriced: Option<BoundCounter<u64>>,
}

/// What a run has cost so far.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    calls: u64,
    unpriced: u64,
    cost: Nanodollars,
}

impl Ledger {
    pub(crate) fn new(
        meter: &Meter,
        pricing: Arc<dyn Pricing>,
        clock: Clock,
        series_limit: usize,
        budgets: Option<Budgets>,
    ) -> Arc<Self> {
        Arc::new(Self {
            books: Mutex::new(Books {
                rows: HashMap::new(),
                runs: HashMap::new(),
                ended: [Vec::new(), Vec::new()],
            }),
            pricing,
            clock,
            budgets,
            cost: meter
                .u64_counter(metric::COST)
                .with_unit(unit::NANO_USD)
                .with_description("Cost of model calls, in billionths of a US dollar.")
                .build(),
            unpriced: meter
                .u64_counter(metric::COST_UNPRICED)
                .with_unit(unit::CALL)
                .with_description("Model calls whose price is unknown: the cost leaves them out.")
                .build(),
            run_cost: meter
                .f64_histogram(metric::RUN_COST)
                .with_unit(unit::USD)
                .with_description("Cost of an agent run.")
                .build(),
            // The row for all that are too many counts too.
            max_rows: series_limit.saturating_sub(1).max(1),
        })
    }

    /// Enters a model call.
    pub(crate) fn enter(&self, operation: &Operation) {
        let key = RowKey {
            operation: operation.operation,
            provider: operation.provider,
            request_model: operation.request_model,
            response_model: operation.response_model,
            agent: operation.agent,
        };
        let usage = operation.usage();
        // What a provider refuses it does not bill: such a call misses in no sum.
        let refused = usage.is_empty() && operation.failed();
        let price = match operation.cost_nano.get() {
            Some(told) => Price::Known(Nanodollars::new(told)),
            None if refused => Price::Known(Nanodollars::ZERO),
            None => self.price(&key, usage, operation.ended_ns),
        };
        if let Some(budgets) = &self.budgets {
            let tokens = usage.input_tokens.unwrap_or(0).saturating_add(usage.output_tokens.unwrap_or(0));
            budgets.record_call(operation.agent.as_str_if_some(), price.known(), tokens);
        }
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let full = books.rows.len() >= self.max_rows && !books.rows.contains_key(&key);
        // One row and one series stand for all that are too many.
        let key = if full { RowKey::default() } else { key };
        let row = books.rows.entry(key).or_default();
        row.sums.add(&CostRow::of_call(&usage, price));
        let attributes =
            || if full { vec![KeyValue::new(attr::METRIC_OVERFLOW, true)] } else { attributes_of(&key) };
        match price.known() {
            Some(cost) => row.cost.get_or_insert_with(|| self.cost.bind(&attributes())).add(cost.get()),
            None => row.unpriced.get_or_insert_with(|| self.unpriced.bind(&attributes())).add(1),
        }
        let run = operation.run;
        if run != 0 && (books.runs.len() < MAX_RUNS || books.runs.contains_key(&run)) {
            let run = books.runs.entry(run).or_default();
            run.calls += 1;
            match price.known() {
                Some(cost) => run.cost += cost,
                None => run.unpriced += 1,
            }
        }
    }

    fn price(&self, key: &RowKey, usage: Usage, ended_ns: u64) -> Price {
        let call = ModelCall::new(usage, self.clock.wall_at(ended_ns))
            .provider(key.provider.as_str_if_some())
            .request_model(key.request_model.as_str_if_some())
            .response_model(key.response_model.as_str_if_some());
        self.pricing.price(&call)
    }

    /// Notes that an agent's run is over.
    pub(crate) fn end_run(&self, operation: &Operation) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.ended[0].len() < MAX_RUNS {
            books.ended[0].push((operation.run, operation.agent));
        }
    }

    /// Measures the runs that had ended before the last call of this. A run and its calls come through different
    /// queues: one round later its calls are surely there.
    pub(crate) fn close_runs(&self) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let books = &mut *books;
        for (run, agent) in books.ended[1].drain(..) {
            if let Some(run) = books.runs.remove(&run) {
                self.measure_run(&run, agent);
            }
        }
        books.ended.swap(0, 1);
    }

    fn measure_run(&self, run: &Run, agent: Name) {
        // A run of which no call has a price has no known cost.
        if run.unpriced == run.calls {
            return;
        }
        let mut attributes = Vec::with_capacity(2);
        if let Some(agent) = agent.as_str_if_some() {
            attributes.push(KeyValue::new(attr::AGENT_NAME, agent));
        }
        if run.unpriced > 0 {
            attributes.push(KeyValue::new(attr::COST_PARTIAL, true));
        }
        self.run_cost.record(run.cost.usd(), &attributes);
    }

    /// What model calls have cost so far, by [`REPORT_KEYS`].
    pub(crate) fn report(&self) -> CostReport {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = CostReport::by(REPORT_KEYS);
        for (key, row) in &books.rows {
            let values = [key.provider, key.request_model, key.response_model, key.agent];
            report.add_row(values.map(|name| name.as_str().to_owned()).into(), &row.sums);
        }
        report
    }
}

fn attributes_of(key: &RowKey) -> Vec<KeyValue> {
    [
        (attr::OPERATION_NAME, key.operation),
        (attr::PROVIDER_NAME, key.provider),
        (attr::REQUEST_MODEL, key.request_model),
        (attr::RESPONSE_MODEL, key.response_model),
        (attr::AGENT_NAME, key.agent),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(KeyValue::new(name, value.as_str_if_some()?)))
    .collect()
}
