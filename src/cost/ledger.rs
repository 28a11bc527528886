//! The books: what every model call cost, by model and agent and by run.
//!
//! Finding a price takes microseconds and allocates: the ledger is for the SDK's own thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::{CostReport, CostRow, ModelCall, Nanodollars, Price, Pricing};
use crate::clock::Clock;
use crate::names::Name;
use crate::operation::{Operation, Usage};
use crate::semconv::{attr, metric, unit};

/// Runs of which costs are being added up.
const MAX_RUNS: usize = 65_536;
/// Rows of the report; further combinations of model and agent share one row.
const MAX_ROWS: usize = 2_000;

/// Adds up the cost of model calls.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    pricing: Arc<dyn Pricing>,
    clock: Clock,
    cost: Counter<u64>,
    unpriced: Counter<u64>,
    run_cost: Histogram<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct RowKey {
    operation: Name,
    provider: Name,
    request_model: Name,
    response_model: Name,
    agent: Name,
}

#[derive(Debug, Default)]
struct Books {
    rows: HashMap<RowKey, Row>,
    runs: HashMap<u64, Row>,
    /// Runs that have ended, with their agent: the newest, and those before.
    ended: [Vec<(u64, Name)>; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    calls: u64,
    unpriced: u64,
    usage: Usage,
    cost: Nanodollars,
}

impl Row {
    fn add(&mut self, usage: &Usage, price: Option<Nanodollars>) {
        self.calls += 1;
        match price {
            Some(cost) => self.cost = self.cost.saturating_add(cost),
            None => self.unpriced += 1,
        }
        let sum = |total: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *total = Some(total.unwrap_or(0).saturating_add(more));
            }
        };
        sum(&mut self.usage.input_tokens, usage.input_tokens);
        sum(&mut self.usage.output_tokens, usage.output_tokens);
        sum(&mut self.usage.cache_read_tokens, usage.cache_read_tokens);
        sum(&mut self.usage.cache_write_tokens, usage.cache_write_tokens);
        sum(&mut self.usage.reasoning_tokens, usage.reasoning_tokens);
    }
}

impl Ledger {
    pub(crate) fn new(meter: &Meter, pricing: Arc<dyn Pricing>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            books: Mutex::default(),
            pricing,
            clock,
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
        let price = self.price(&key, usage, operation.ended_ns);
        let attributes = attributes_of(&key);
        match price {
            Some(cost) => self.cost.add(cost.get(), &attributes),
            None => self.unpriced.add(1, &attributes),
        }
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let full = books.rows.len() >= MAX_ROWS && !books.rows.contains_key(&key);
        let key = if full { RowKey { request_model: Name::OTHER, ..RowKey::default() } } else { key };
        books.rows.entry(key).or_default().add(&usage, price);
        let run = operation.run;
        if run != 0 && (books.runs.len() < MAX_RUNS || books.runs.contains_key(&run)) {
            books.runs.entry(run).or_default().add(&usage, price);
        }
    }

    fn price(&self, key: &RowKey, usage: Usage, ended_ns: u64) -> Option<Nanodollars> {
        let call = ModelCall::new(
            key.provider.as_str_if_some(),
            key.request_model.as_str_if_some(),
            key.response_model.as_str_if_some(),
            usage,
            self.clock.wall_at(ended_ns),
        );
        match self.pricing.price(&call) {
            Price::Known(cost) => Some(cost),
            Price::Unknown(_) => None,
        }
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
            if let Some(row) = books.runs.remove(&run) {
                self.measure_run(&row, agent);
            }
        }
        books.ended.swap(0, 1);
    }

    fn measure_run(&self, row: &Row, agent: Name) {
        // A run of which no call has a price has no known cost.
        if row.unpriced == row.calls {
            return;
        }
        let mut attributes = Vec::with_capacity(2);
        if let Some(agent) = agent.as_str_if_some() {
            attributes.push(KeyValue::new(attr::AGENT_NAME, agent));
        }
        if row.unpriced > 0 {
            attributes.push(KeyValue::new(attr::COST_PARTIAL, true));
        }
        self.run_cost.record(row.cost.usd(), &attributes);
    }

    /// What model calls have cost so far, by provider, model and agent.
    pub(crate) fn report(&self) -> CostReport {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = CostReport::default();
        for (key, row) in &books.rows {
            report.push(CostRow::new(
                &[
                    (attr::PROVIDER_NAME, key.provider),
                    (attr::REQUEST_MODEL, key.request_model),
                    (attr::RESPONSE_MODEL, key.response_model),
                    (attr::AGENT_NAME, key.agent),
                ]
                .map(|(name, value)| (name, value.as_str())),
                row.calls,
                row.unpriced,
                row.usage,
                row.cost,
            ));
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
