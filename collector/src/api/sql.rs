//! SQL: rows as JSON, CSV or Parquet.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::ApiState;
use super::error::ApiError;
use super::routes::{self, Json, Parameters};
use crate::query::sql::{SqlAnswer, SqlRequest};
use crate::query::{Control, QueryError};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
    Parquet,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Parquet];

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The first that is accepted.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut kinds = accepted
            .flat_map(|value| value.split(','))
            .map(|kind| kind.split(';').next().unwrap_or(kind).trim());
        kinds.find_map(|kind| Self::ALL.into_iter().find(|format| format.media_type() == kind))
    }
}

/// What is asked by parameters or as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    q: String,
    limit: Option<usize>,
    /// Of the answer; else as the header `Accept` wants it, else JSON.
    format: Option<Format>,
}

pub(super) async fn by_parameters(
    State(state): State<ApiState>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    answer(state, &headers, routes::by_parameters(parameters)?).await
}

pub(super) async fn by_json(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Json,
) -> Result<Response, ApiError> {
    answer(state, &headers, routes::by_json(body)?).await
}

async fn answer(state: ApiState, headers: &HeaderMap, asked: Asked) -> Result<Response, ApiError> {
    let format = asked.format.or_else(|| Format::accepted(headers)).unwrap_or(Format::Json);
    let request = SqlRequest { q: asked.q, limit: asked.limit };
    let body = routes::answer(state, request, move |answers, request, control| {
        written(&answers.sql(request, control)?, format, control)
    });
    Ok(([(header::CONTENT_TYPE, format.media_type())], body.await?).into_response())
}

#[cfg(not(feature = "sql"))]
fn written(_: &SqlAnswer, _: Format, _: &Control) -> Result<Vec<u8>, QueryError> {
    Err(QueryError::Unsupported { message: crate::query::sql::WITHOUT.to_owned(), at: None })
}

#[cfg(feature = "sql")]
fn written(answer: &SqlAnswer, format: Format, control: &Control) -> Result<Vec<u8>, QueryError> {
    use datafusion::arrow::csv;
    use parquet::arrow::ArrowWriter;

    if answer.more && format != Format::Json {
        // A file has no place to say that it is not all.
        return Err(QueryError::invalid(
            "there are more rows than `limit` allows; raise it, or end the query with LIMIT",
        ));
    }
    let failed =
        |error: &dyn std::fmt::Display| QueryError::Failed(format!("the rows cannot be written: {error}"));
    let mut out = Vec::new();
    match format {
        Format::Json => json(answer, control, &mut out)?,
        Format::Csv => {
            let mut writer = csv::WriterBuilder::new().with_header(true).build(&mut out);
            let empty = arrow_array::RecordBatch::new_empty(answer.schema.clone());
            // The header stands there even if there is no row.
            for batch in answer.batches.iter().chain(answer.batches.is_empty().then_some(&empty)) {
                control.check()?;
                writer.write(batch).map_err(|error| failed(&error))?;
            }
        }
        Format::Parquet => {
            let mut writer = ArrowWriter::try_new(&mut out, answer.schema.clone(), None)
                .map_err(|error| failed(&error))?;
            for batch in &answer.batches {
                control.check()?;
                writer.write(batch).map_err(|error| failed(&error))?;
            }
            writer.close().map_err(|error| failed(&error))?;
        }
    }
    Ok(out)
}

/// `{"columns":[{"name","type"}],"rows":[{..}],"more":false,"scanned":0}`: rows are objects, their members in the order
/// of the columns.
#[cfg(feature = "sql")]
fn json(answer: &SqlAnswer, control: &Control, out: &mut Vec<u8>) -> Result<(), QueryError> {
    use datafusion::arrow::json::WriterBuilder;
    use datafusion::arrow::json::writer::JsonArray;
    use serde_json::json;

    let failed =
        |error: &dyn std::fmt::Display| QueryError::Failed(format!("the rows cannot be written: {error}"));
    let column = |field: &std::sync::Arc<arrow_schema::Field>| json!({"name": field.name(), "type": kind(field.data_type())});
    let columns: Vec<_> = answer.schema.fields().iter().map(column).collect();
    out.extend_from_slice(format!("{{\"columns\":{},\"rows\":", json!(columns)).as_bytes());
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut *out);
    for batch in &answer.batches {
        control.check()?;
        writer.write(batch).map_err(|error| failed(&error))?;
    }
    writer.finish().map_err(|error| failed(&error))?;
    drop(writer);
    out.extend_from_slice(format!(",\"more\":{},\"scanned\":{}}}", answer.more, answer.scanned).as_bytes());
    Ok(())
}

/// A type by PostgreSQL's name for it; that of Arrow where PostgreSQL has none.
#[cfg(feature = "sql")]
fn kind(kind: &arrow_schema::DataType) -> String {
    use arrow_schema::DataType as Type;
    let name = match kind {
        Type::Utf8 | Type::LargeUtf8 | Type::Utf8View => "text",
        Type::Boolean => "boolean",
        Type::Int8 | Type::Int16 => "smallint",
        Type::Int32 => "integer",
        Type::Int64 => "bigint",
        Type::Float32 => "real",
        Type::Float64 => "double precision",
        Type::Timestamp(_, Some(_)) => "timestamp with time zone",
        Type::Timestamp(_, None) => "timestamp",
        Type::Date32 | Type::Date64 => "date",
        Type::Interval(_) => "interval",
        other => return other.to_string(),
    };
    name.to_owned()
}
