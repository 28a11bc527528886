//! SQL over the tables of an engine, by DataFusion.

mod columns;
mod filters;
mod group;
mod grouped;
mod json;
mod leaf;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures_util::StreamExt as _;

use super::Queries;
use crate::query::engine::{Control, QueryError, Table};
use crate::query::sql::{SqlAnswer, SqlRequest};

/// Rows of an answer unless told otherwise.
const DEFAULT_ROWS: usize = 10_000;
/// Rows of an answer at most.
const MAX_ROWS: usize = 1_000_000;
/// How often a question is asked whether it may go on while it computes.
const BETWEEN_CHECKS: Duration = Duration::from_millis(20);

pub(super) fn answer(
    queries: &Queries,
    request: &SqlRequest,
    control: &Control,
) -> Result<SqlAnswer, QueryError> {
    let limit = super::bounded("limit", request.limit, DEFAULT_ROWS, MAX_ROWS)?;
    // Threads of its own: those of the server have requests to take meanwhile.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("agentvitals-sql")
        .enable_time()
        .build();
    let runtime = runtime.map_err(|error| QueryError::Failed(format!("no thread for the query: {error}")))?;
    // Readers outlive this function for as long as a batch takes; they are told by a control of their own.
    let reading = table::Reading {
        engine: Arc::clone(&queries.engine),
        control: Arc::new(queries.control()),
        scanned: Arc::new(AtomicU64::new(0)),
    };
    let answered = runtime.block_on(async {
        let work = run(queries, &request.q, limit, &reading, control);
        let watch = async {
            loop {
                tokio::time::sleep(BETWEEN_CHECKS).await;
                if let Err(error) = control.check() {
                    return error;
                }
            }
        };
        tokio::select! {
            answer = work => answer,
            error = watch => Err(error),
        }
    });
    reading.control.cancel();
    runtime.shutdown_background();
    answered
}

async fn run(
    queries: &Queries,
    query: &str,
    limit: usize,
    reading: &table::Reading,
    control: &Control,
) -> Result<SqlAnswer, QueryError> {
    let context = context(queries, reading).map_err(|error| explained(&error, query))?;
    let rows = async {
        // Reading only.
        let options =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let mut rows = context.sql_with_options(query, options).await?.execute_stream().await?;
        let (schema, mut batches, mut found) = (rows.schema(), Vec::new(), 0);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let kept = kept(&batch.slice(0, batch.num_rows().min(limit - found)));
            control
                .take_memory(kept.get_array_memory_size())
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            let more = batch.num_rows() > kept.num_rows();
            found += kept.num_rows();
            if kept.num_rows() > 0 {
                batches.push(kept);
            }
            if more {
                return Ok((schema, batches, true));
            }
        }
        Ok((schema, batches, false))
    };
    let (schema, batches, more): (SchemaRef, Vec<RecordBatch>, bool) =
        rows.await.map_err(|error: DataFusionError| explained(&error, query))?;
    Ok(SqlAnswer { schema, batches, more, scanned: reading.scanned.load(Ordering::Relaxed) })
}

/// A session with the tables, and nothing else to read or write.
fn context(queries: &Queries, reading: &table::Reading) -> Result<SessionContext, DataFusionError> {
    let mut config = SessionConfig::new().with_information_schema(true);
    // The dialect's name is one of DataFusion's own.
    config.options_mut().set("datafusion.sql_parser.dialect", "postgresql")?;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(queries.limits.memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?;
    let operators = Arc::new(json::Operators::new());
    let mut state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_optimizer_rule(Arc::new(leaf::ReadMembers))
        .with_optimizer_rule(Arc::new(group::CountWhereRead))
        .build();
    state.register_expr_planner(Arc::clone(&operators) as _)?;
    for function in operators.functions() {
        state.register_udf(function)?;
    }
    let context = SessionContext::new_with_state(state);
    for table in Table::ALL {
        context.register_table(table.name(), Arc::new(table::SqlTable::new(table, reading.clone())))?;
    }
    Ok(context)
}

/// A batch that holds no more than its rows need: views keep all texts of the batches that they are of.
fn kept(batch: &RecordBatch) -> RecordBatch {
    let own = |column: &ArrayRef| match column.as_string_view_opt() {
        Some(texts) if texts.len() > 0 => Arc::new(texts.gc()) as ArrayRef,
        _ => Arc::clone(column),
    };
    let columns = batch.columns().iter().map(own).collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap_or_else(|_| batch.clone())
}

/// What is wrong, in our words where there are some.
fn explained(error: &DataFusionError, query: &str) -> QueryError {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
            Some(ours) => ours.clone(),
            None => QueryError::Failed(inner.to_string()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => explained(inner, query),
        DataFusionError::Shared(inner) => explained(inner, query),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => explained(first, query),
            None => QueryError::Failed(error.to_string()),
        },
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            datafusion::arrow::error::ArrowError::ExternalError(inner) => {
                let ours = inner.downcast_ref::<QueryError>().cloned();
                let theirs = inner.downcast_ref::<DataFusionError>().map(|inner| explained(inner, query));
                ours.or(theirs).unwrap_or_else(|| QueryError::Failed(inner.to_string()))
            }
            other => QueryError::invalid(other.to_string()),
        },
        DataFusionError::SQL(inner, _) => {
            let message = inner.to_string();
            let at = place(&message, query);
            let told = message.strip_prefix("sql parser error: ").unwrap_or(&message);
            let told = told.split_once(" at Line: ").map_or(told, |(told, _)| told);
            QueryError::Invalid { at, message: first_line(told) }
        }
        DataFusionError::ResourcesExhausted(_) => QueryError::Failed(
            "the query needs more memory than it may; group by less, or ask for a shorter time range"
                .to_owned(),
        ),
        DataFusionError::NotImplemented(message) => {
            QueryError::Unsupported { message: first_line(message), at: None }
        }
        DataFusionError::Plan(message) if message.starts_with("table '") => {
            let told = first_line(message).replace("datafusion.public.", "");
            QueryError::invalid(format!("{told}; there are spans, logs and metrics"))
        }
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => {
            QueryError::invalid(first_line(message))
        }
        DataFusionError::SchemaError(inner, _) => QueryError::invalid(inner.to_string()),
        other => QueryError::Failed(first_line(&other.strip_backtrace())),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or(message).to_owned()
}

/// The byte of the query that `.. at Line: 1, Column: 8` means.
fn place(message: &str, query: &str) -> Option<usize> {
    if message.ends_with("found: EOF") {
        return Some(query.len());
    }
    let rest = message.rsplit_once("Line: ")?.1;
    let (line, column) = rest.split_once(", Column: ")?;
    let (line, column) = (line.trim().parse::<usize>().ok()?, column.trim().parse::<usize>().ok()?);
    let before: usize = query.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let within = query.get(before..)?.char_indices().nth(column.checked_sub(1)?);
    Some(within.map_or(query.len(), |(at, _)| before + at))
}
