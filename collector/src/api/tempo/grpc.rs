//! The same answers over gRPC (`tempopb.StreamingQuerier`), as Grafana asks for them when streaming is on. There is one message of
//! each: an answer is complete at once.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use prost::Message;

use super::{Asked, metrics, search, tags};
use crate::api::ApiState;
use crate::api::error::{GrpcError, TempoError};
use crate::api::grpc::{Sent, no_method, read, received, reply};

const SERVICE: &str = "tempopb.StreamingQuerier";

#[derive(Clone, PartialEq, Message)]
struct SearchRequest {
    #[prost(map = "string, string", tag = "1")]
    tags: HashMap<String, String>,
    #[prost(uint32, tag = "2")]
    min_duration_ms: u32,
    #[prost(uint32, tag = "3")]
    max_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    limit: u32,
    #[prost(uint32, tag = "5")]
    start: u32,
    #[prost(uint32, tag = "6")]
    end: u32,
    #[prost(string, tag = "8")]
    query: String,
    #[prost(uint32, tag = "9")]
    spans_per_span_set: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SearchTagsRequest {
    #[prost(string, tag = "1")]
    scope: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "3")]
    start: u32,
    #[prost(uint32, tag = "4")]
    end: u32,
    #[prost(uint32, tag = "5")]
    max_tags_per_scope: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SearchTagValuesRequest {
    #[prost(string, tag = "1")]
    tag_name: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "4")]
    start: u32,
    #[prost(uint32, tag = "5")]
    end: u32,
    #[prost(uint32, tag = "6")]
    max_tag_values: u32,
}

/// `QueryRangeRequest`, and `QueryInstantRequest`, which begins with the same. Times and the step are nanoseconds.
#[derive(Clone, PartialEq, Message)]
struct QueryRangeRequest {
    #[prost(string, tag = "1")]
    query: String,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
    #[prost(uint64, tag = "4")]
    step: u64,
    #[prost(uint32, tag = "16")]
    exemplars: u32,
}

/// As the parameters of the other form of the API; numbers that are 0 are not told.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn new(query: String) -> Self {
        Self(vec![("q".to_owned(), query)])
    }

    fn with(mut self, name: &str, text: String) -> Self {
        self.0.push((name.to_owned(), text));
        self
    }

    fn number(self, name: &str, number: impl Into<u64>, unit: &str) -> Self {
        match number.into() {
            0 => self,
            number => self.with(name, format!("{number}{unit}")),
        }
    }

    fn range(self, start: impl Into<u64>, end: impl Into<u64>) -> Self {
        self.number("start", start, "").number("end", end, "")
    }

    fn asked(self) -> Asked {
        Asked(self.0)
    }
}

impl From<SearchRequest> for Asked {
    fn from(request: SearchRequest) -> Self {
        let mut tags: Vec<String> = request
            .tags
            .iter()
            .map(|(key, value)| format!("{key}={}", serde_json::Value::from(value.as_str())))
            .collect();
        tags.sort();
        Parameters::new(request.query)
            .with("tags", tags.join(" "))
            .number("minDuration", request.min_duration_ms, "ms")
            .number("maxDuration", request.max_duration_ms, "ms")
            .number("limit", request.limit, "")
            .number("spss", request.spans_per_span_set, "")
            .range(request.start, request.end)
            .asked()
    }
}

impl From<SearchTagsRequest> for Asked {
    fn from(request: SearchTagsRequest) -> Self {
        Parameters::new(request.query)
            .with("scope", request.scope)
            .number("limit", request.max_tags_per_scope, "")
            .range(request.start, request.end)
            .asked()
    }
}

impl From<QueryRangeRequest> for Asked {
    fn from(request: QueryRangeRequest) -> Self {
        Parameters::new(request.query)
            .number("step", request.step, "ns")
            .number("exemplars", request.exemplars, "")
            .range(request.start, request.end)
            .asked()
    }
}

/// The tag, and the other parameters.
fn of_tag(request: SearchTagValuesRequest) -> (String, Asked) {
    let asked = Parameters::new(request.query)
        .number("limit", request.max_tag_values, "")
        .range(request.start, request.end)
        .asked();
    (request.tag_name, asked)
}

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/tempopb.StreamingQuerier/{method}", post(call))
}

async fn call(
    State(state): State<ApiState>,
    Path(method): Path<String>,
    body: Sent,
) -> Result<Response, GrpcError> {
    let body = received(body)?;
    let message = match method.as_str() {
        "Search" => {
            let asked = read::<SearchRequest>(&body)?.into();
            search::found(state, &asked).await.map(|of| of.encode_to_vec())
        }
        "SearchTags" => {
            let asked = read::<SearchTagsRequest>(&body)?.into();
            tags::all_names(state, &asked).await.map(|of| of.encode_to_vec())
        }
        "SearchTagsV2" => {
            let asked = read::<SearchTagsRequest>(&body)?.into();
            tags::names_by_scope(state, &asked).await.map(|of| of.encode_to_vec())
        }
        "SearchTagValues" => {
            let (tag, asked) = of_tag(read(&body)?);
            tags::texts_of(state, &asked, &tag).await.map(|of| of.encode_to_vec())
        }
        "SearchTagValuesV2" => {
            let (tag, asked) = of_tag(read(&body)?);
            tags::values_of(state, &asked, &tag).await.map(|of| of.encode_to_vec())
        }
        "MetricsQueryRange" => {
            let asked = read::<QueryRangeRequest>(&body)?.into();
            metrics::over_range(state, &asked).await.map(|of| of.encode_to_vec())
        }
        "MetricsQueryInstant" => {
            let asked = read::<QueryRangeRequest>(&body)?.into();
            metrics::over_all(state, &asked).await.map(|of| of.encode_to_vec())
        }
        other => return Err(no_method(SERVICE, other)),
    };
    let message = message.map_err(|TempoError(error)| GrpcError(error))?;
    Ok(reply(vec![message]))
}
