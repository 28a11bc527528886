//! Which series a point belongs to, and what it says of them.

use super::reading::Reading;
use super::sketch::Sketch;
use super::subject::{Subject, SubjectKind};
use super::tally::Tally;
use crate::operation::OperationKind;
use crate::semconv::{attr, error_type, health, host, metric, outcome};

/// What a point adds to its series, since the point before.
#[derive(Debug, Clone)]
pub(super) enum Fresh {
    Sum(f64),
    Values(Sketch),
}

impl Fresh {
    fn number(&self) -> u64 {
        match self {
            Self::Sum(value) => value.round().max(0.0) as u64,
            Self::Values(sketch) => sketch.count(),
        }
    }
}

/// The subjects of a point: the model or tool (or agent ...) as it is named, and the agent that used it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) kind: SubjectKind,
    pub(super) name: &'a str,
    pub(super) agent: &'a str,
}

impl<'a> Route<'a> {
    /// `None` for what health has no use for.
    pub(super) fn of(reading: &'a Reading<'_>) -> Option<Self> {
        let (kind, name) = match reading.metric {
            metric::OPERATION_DURATION => {
                match OperationKind::from_name(reading.attribute(attr::OPERATION_NAME)) {
                    kind if kind.counts_usage() => {
                        (SubjectKind::Model, reading.attribute(attr::REQUEST_MODEL))
                    }
                    _ => (SubjectKind::Operation, reading.attribute(attr::OPERATION_NAME)),
                }
            }
            metric::TOKEN_USAGE
            | metric::TOKEN_DETAILS
            | metric::COST
            | metric::COST_UNPRICED
            | health::metric::EMPTY_RESPONSES => (SubjectKind::Model, reading.attribute(attr::REQUEST_MODEL)),
            metric::EXECUTE_TOOL_DURATION | health::metric::LOOPS => {
                (SubjectKind::Tool, reading.attribute(attr::TOOL_NAME))
            }
            health::metric::OPEN_CALL_AGE | metric::RETRIES => match reading.attribute(attr::TOOL_NAME) {
                "" => (SubjectKind::Model, reading.attribute(attr::REQUEST_MODEL)),
                tool => (SubjectKind::Tool, tool),
            },
            metric::INVOKE_AGENT_DURATION | metric::TASKS => {
                (SubjectKind::Agent, reading.attribute(attr::AGENT_NAME))
            }
            metric::INVOKE_WORKFLOW_DURATION => {
                (SubjectKind::Workflow, reading.attribute(attr::WORKFLOW_NAME))
            }
            metric::OPERATION_OWN_DURATION => match reading.attribute(attr::OPERATION) {
                "" => (SubjectKind::Operation, reading.attribute(attr::OPERATION_NAME)),
                own => (SubjectKind::Operation, own),
            },
            name if is_of_the_system(name) => {
                return Some(Self { kind: SubjectKind::System, name: "", agent: "" });
            }
            _ => return None,
        };
        // Without a name: the overflow series, or operations that have none.
        (!name.is_empty()).then(|| Self { kind, name, agent: reading.attribute(attr::AGENT_NAME) })
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::new(self.kind, self.name)
    }
}

fn is_of_the_system(name: &str) -> bool {
    matches!(
        name,
        metric::SDK_SPANS_LOST
            | metric::SDK_SERIES_OVERFLOW
            | metric::SDK_OPERATIONS_REFUSED
            | host::metric::CACHE_HITS
            | host::metric::CACHE_MISSES
            | host::metric::CACHE_ERRORS
            | host::metric::PROCESS_CPU_UTILIZATION
            | host::metric::SYSTEM_CPU_UTILIZATION
            | host::metric::SYSTEM_MEMORY_UTILIZATION
            | host::metric::DB_CONNECTIONS
            | host::metric::DB_CONNECTIONS_MAX
    )
}

/// What a point says of the subject that it names.
pub(super) fn tally_of(reading: &Reading<'_>, fresh: Fresh) -> Tally {
    let mut tally = Tally::default();
    let number = fresh.number();
    match (reading.metric, fresh) {
        (
            metric::OPERATION_DURATION
            | metric::EXECUTE_TOOL_DURATION
            | metric::INVOKE_AGENT_DURATION
            | metric::INVOKE_WORKFLOW_DURATION
            | metric::OPERATION_OWN_DURATION,
            Fresh::Values(values),
        ) => {
            tally.count = number;
            match reading.attribute(attr::ERROR_TYPE) {
                "" => tally.durations = values,
                error => {
                    tally.errors.insert(error.into(), number);
                    tally.failed_durations = values;
                }
            }
        }
        (metric::TOKEN_USAGE, Fresh::Values(values)) => match reading.attribute(attr::TOKEN_TYPE) {
            "input" => tally.input = values,
            _ => tally.output_tokens = values.sum() as u64,
        },
        (metric::TOKEN_DETAILS, _) if reading.attribute(attr::TOKEN_DETAIL) == "cache_read" => {
            tally.cache_read_tokens = number;
        }
        (metric::COST, _) => tally.cost_nano = number,
        (metric::COST_UNPRICED, _) => tally.unpriced = number,
        (health::metric::LOOPS, _) => tally.loops = number,
        (health::metric::EMPTY_RESPONSES, _) => match reading.attribute(attr::REASON) {
            health::reason::REFUSED => tally.refused = number,
            _ => tally.empty = number,
        },
        (metric::RETRIES, _) => tally.retries = number,
        (metric::TASKS, _) => match reading.attribute(attr::OUTCOME) {
            outcome::SUCCESS => tally.succeeded = number,
            outcome::FAILURE => tally.missed = number,
            _ => {}
        },
        (metric::SDK_SPANS_LOST, _) => tally.spans_lost = number,
        (name, Fresh::Sum(value)) if is_of_the_system(name) && value > 0.0 => {
            tally.counters.insert(name.into(), value);
        }
        _ => {}
    }
    tally
}

/// What a point of a model or tool says of the agent that used it: all but what is the callee's own.
pub(super) fn share_of_agent(kind: SubjectKind, tally: &Tally) -> Tally {
    let failed: u64 =
        tally.errors.iter().filter(|(class, _)| &***class != error_type::CANCELLED).map(|(_, n)| n).sum();
    let mut share = Tally {
        failed_calls: failed,
        input: tally.input.clone(),
        output_tokens: tally.output_tokens,
        cache_read_tokens: tally.cache_read_tokens,
        cost_nano: tally.cost_nano,
        unpriced: tally.unpriced,
        loops: tally.loops,
        empty: tally.empty,
        refused: tally.refused,
        retries: tally.retries,
        ..Tally::default()
    };
    match kind {
        SubjectKind::Model => share.model_calls = tally.count,
        _ => share.tool_calls = tally.count,
    }
    share
}
