//! What the SDK says of itself.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::health::Examiner;
use crate::export::{ExportStats, LossReason};
use crate::health::{Component, Status as HealthStatus};
use crate::instruments::Instruments;
use crate::layer::Shared;
use crate::operation::OperationKind;
use crate::semconv::{attr, health, metric, unit};

/// Registers the metrics about the SDK. They hold the parts weakly, so that they do not keep telemetry alive.
pub(super) fn register(
    meter: &Meter,
    stats: &Arc<ExportStats>,
    shared: &Arc<Shared>,
    instruments: &Arc<Instruments>,
    started: SystemTime,
) {
    register_presence(meter, Arc::downgrade(instruments), started);
    register_export(meter, stats);
    let layer = Arc::downgrade(shared);
    meter
        .u64_observable_counter(metric::SDK_OPERATIONS)
        .with_unit(unit::OPERATION)
        .with_description("Operations that the layer has seen start.")
        .with_callback(move |observer| {
            if let Some(layer) = layer.upgrade() {
                observer.observe(layer.counts().0, &[]);
            }
        })
        .build();
    let layer = Arc::downgrade(shared);
    meter
        .u64_observable_counter(metric::SDK_OPERATIONS_REFUSED)
        .with_unit(unit::OPERATION)
        .with_description("Operations that were not measured because too many were going on.")
        .with_callback(move |observer| {
            if let Some(layer) = layer.upgrade() {
                observer.observe(layer.counts().1, &[]);
            }
        })
        .build();
    let orphans = Arc::downgrade(instruments);
    meter
        .u64_observable_counter(metric::SDK_OPERATIONS_ORPHANED)
        .with_unit(unit::OPERATION)
        .with_description("Model and tool calls that no agent is known to have made.")
        .with_callback(move |observer| {
            if let Some(instruments) = orphans.upgrade() {
                observer.observe(instruments.orphans(), &[]);
            }
        })
        .build();
    let overflows = Arc::downgrade(instruments);
    meter
        .u64_observable_counter(metric::SDK_SERIES_OVERFLOW)
        .with_unit(unit::MEASUREMENT)
        .with_description("Measurements that went to the overflow series of an instrument with too many.")
        .with_callback(move |observer| {
            for (name, count) in
                overflows.upgrade().map(|instruments| instruments.overflows()).unwrap_or_default()
            {
                observer.observe(count, &[KeyValue::new(attr::METRIC_NAME, name)]);
            }
        })
        .build();
    register_open_failures(meter, Arc::downgrade(instruments));
    register_open_calls(meter, Arc::downgrade(shared));
}

/// That the process is there, since when, and how many agents are.
fn register_presence(meter: &Meter, instruments: Weak<Instruments>, started: SystemTime) {
    meter
        .u64_observable_gauge(metric::UP)
        .with_unit(unit::ONE)
        .with_description("1 while the telemetry of the process runs.")
        .with_callback(|observer| observer.observe(1, &[]))
        .build();
    let started = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    meter
        .f64_observable_gauge(metric::START_TIME)
        .with_unit(unit::SECONDS)
        .with_description("When the telemetry of the process started, since 1970.")
        .with_callback(move |observer| observer.observe(started, &[]))
        .build();
    meter
        .u64_observable_gauge(metric::AGENTS_SEEN)
        .with_unit(unit::AGENT)
        .with_description("Agents that run or did within the last five minutes.")
        .with_callback(move |observer| {
            if let Some(instruments) = instruments.upgrade() {
                observer.observe(instruments.agents_seen() as u64, &[]);
            }
        })
        .build();
}

fn register_export(meter: &Meter, stats: &Arc<ExportStats>) {
    let up = stats.clone();
    meter
        .u64_observable_gauge(metric::SDK_UP)
        .with_unit(unit::ONE)
        .with_description("1 while the exporter's thread works.")
        .with_callback(move |observer| observer.observe(u64::from(up.up()), &[]))
        .build();
    let exported = stats.clone();
    meter
        .u64_observable_counter(metric::SDK_SPANS_EXPORTED)
        .with_unit(unit::SPAN)
        .with_description("Spans that the destination took.")
        .with_callback(move |observer| observer.observe(exported.spans_exported(), &[]))
        .build();
    let lost = stats.clone();
    meter
        .u64_observable_counter(metric::SDK_SPANS_LOST)
        .with_unit(unit::SPAN)
        .with_description("Spans that were lost, by reason.")
        .with_callback(move |observer| {
            for reason in LossReason::ALL {
                observer.observe(lost.spans_lost(reason), &[KeyValue::new(attr::REASON, reason.as_str())]);
            }
        })
        .build();
    let truncated = stats.clone();
    meter
        .u64_observable_counter(metric::SDK_VALUES_TRUNCATED)
        .with_unit(unit::VALUE)
        .with_description("Attribute values that were cut to their limit.")
        .with_callback(move |observer| observer.observe(truncated.values_truncated(), &[]))
        .build();
}

fn register_open_calls(meter: &Meter, shared: Weak<Shared>) {
    meter
        .f64_observable_gauge(health::metric::OPEN_CALL_AGE)
        .with_unit(unit::SECONDS)
        .with_description("Time since the oldest model or tool call started that is still going on.")
        .with_callback(move |observer| {
            for (call, age) in shared.upgrade().map(|shared| shared.open_calls()).unwrap_or_default() {
                let subject =
                    if call.kind == OperationKind::Tool { attr::TOOL_NAME } else { attr::REQUEST_MODEL };
                let attributes = [
                    (attr::OPERATION_NAME, call.operation),
                    (subject, call.subject),
                    (attr::AGENT_NAME, call.agent),
                ];
                let attributes: Vec<KeyValue> = attributes
                    .into_iter()
                    .filter_map(|(key, name)| Some(KeyValue::new(key, name.as_str_if_some()?)))
                    .collect();
                observer.observe(age, &attributes);
            }
        })
        .build();
}

fn register_open_failures(meter: &Meter, instruments: Weak<Instruments>) {
    meter
        .u64_observable_gauge(metric::OPEN_FAILURES)
        .with_unit(unit::FAILURE)
        .with_description("1 for each agent and tool whose newest call failed.")
        .with_callback(move |observer| {
            let Some(instruments) = instruments.upgrade() else { return };
            for (kind, name) in instruments.open_failures() {
                let key = if kind == OperationKind::Tool { attr::TOOL_NAME } else { attr::AGENT_NAME };
                observer.observe(1, &[KeyValue::new(key, name.as_str())]);
            }
        })
        .build();
}

/// Health, as it was looked at last. Weakly held: see [`register`].
pub(super) fn register_health(meter: &Meter, examiner: &Arc<Examiner>) {
    let subject = |component: &Component| {
        let mut attributes = vec![KeyValue::new(health::attr::SUBJECT_KIND, component.subject.kind.as_str())];
        if !component.subject.name.is_empty() {
            attributes.push(KeyValue::new(health::attr::SUBJECT_NAME, component.subject.name.to_string()));
        }
        attributes
    };
    let scores = Arc::downgrade(examiner);
    meter
        .f64_observable_gauge(health::metric::SCORE)
        .with_unit(unit::ONE)
        .with_description("Health from 0 to 100, of each agent, model, tool and workflow, and of the whole.")
        .with_callback(move |observer| {
            let Some(report) = scores.upgrade().and_then(|examiner| examiner.newest()) else { return };
            if let Some(score) = report.score {
                observer.observe(score, &[KeyValue::new(health::attr::SUBJECT_KIND, "system")]);
            }
            for component in &report.components {
                if let Some(score) = component.score {
                    observer.observe(score, &subject(component));
                }
            }
        })
        .build();
    let statuses = Arc::downgrade(examiner);
    meter
        .u64_observable_gauge(health::metric::STATUS)
        .with_unit(unit::ONE)
        .with_description("1 for the status that something has, 0 for the others.")
        .with_callback(move |observer| {
            let Some(report) = statuses.upgrade().and_then(|examiner| examiner.newest()) else { return };
            let of_whole = vec![KeyValue::new(health::attr::SUBJECT_KIND, "system")];
            let all = report.components.iter().map(|one| (one.status, subject(one)));
            for (has, mut attributes) in all.chain([(report.status, of_whole)]) {
                for status in HealthStatus::ALL {
                    attributes.push(KeyValue::new(health::attr::STATE, status.as_str()));
                    observer.observe(u64::from(status == has), &attributes);
                    attributes.pop();
                }
            }
        })
        .build();
}
