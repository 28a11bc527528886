//! The third version of the API over gRPC (`jaeger.api_v3.QueryService`), on the address of all other APIs.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;

use super::search::Search;
use super::{operations_of, service_names};
use crate::api::ApiState;
use crate::api::error::{ApiError, GrpcError};
use crate::api::grpc::{Sent, invalid, no_method, read, received, reply};
use crate::api::routes::answer;

#[derive(Clone, PartialEq, Message)]
struct GetTraceRequest {
    #[prost(string, tag = "1")]
    trace_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct FindTracesRequest {
    #[prost(message, optional, tag = "1")]
    query: Option<TraceQueryParameters>,
}

#[derive(Clone, PartialEq, Message)]
struct TraceQueryParameters {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(string, tag = "2")]
    operation_name: String,
    #[prost(map = "string, string", tag = "3")]
    attributes: HashMap<String, String>,
    #[prost(message, optional, tag = "4")]
    start_time_min: Option<Time>,
    #[prost(message, optional, tag = "5")]
    start_time_max: Option<Time>,
    #[prost(message, optional, tag = "6")]
    duration_min: Option<Time>,
    #[prost(message, optional, tag = "7")]
    duration_max: Option<Time>,
    #[prost(int32, tag = "8")]
    search_depth: i32,
}

/// `google.protobuf.Timestamp` and `Duration`, which are alike.
#[derive(Clone, Copy, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Time {
    fn nanos(self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(self.nanos.into())
    }
}

#[derive(Clone, PartialEq, Message)]
struct GetServicesResponse {
    #[prost(string, repeated, tag = "1")]
    services: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct GetOperationsRequest {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    span_kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct GetOperationsResponse {
    #[prost(message, repeated, tag = "1")]
    operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    span_kind: String,
}

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/jaeger.api_v3.QueryService/{method}", post(call))
}

async fn call(
    State(state): State<ApiState>,
    Path(method): Path<String>,
    body: Sent,
) -> Result<Response, GrpcError> {
    let body = received(body)?;
    let messages = match method.as_str() {
        "GetServices" => {
            let () = read(&body)?;
            vec![services(state).await?.encode_to_vec()]
        }
        "GetOperations" => vec![operations(state, read(&body)?).await?.encode_to_vec()],
        "GetTrace" => {
            let GetTraceRequest { trace_id } = read(&body)?;
            traces(
                answer(state, vec![trace_id], |answers, ids, control| answers.traces(ids, control)).await?,
            )?
        }
        "FindTraces" => traces(find(state, read(&body)?).await?)?,
        other => return Err(no_method("jaeger.api_v3.QueryService", other)),
    };
    Ok(reply(messages))
}

async fn services(state: ApiState) -> Result<GetServicesResponse, GrpcError> {
    let services = answer(state, (), |answers, (), control| service_names(answers, control)).await?;
    Ok(GetServicesResponse { services })
}

async fn operations(
    state: ApiState,
    asked: GetOperationsRequest,
) -> Result<GetOperationsResponse, GrpcError> {
    let found = answer(state, asked, |answers, asked, control| {
        operations_of(answers, &asked.service, &asked.span_kind, control)
    });
    let operations = found.await?.into_iter().map(|(name, span_kind)| Operation { name, span_kind });
    Ok(GetOperationsResponse { operations: operations.collect() })
}

type Traces = Vec<Vec<opentelemetry_proto::tonic::trace::v1::ResourceSpans>>;

async fn find(state: ApiState, asked: FindTracesRequest) -> Result<Traces, GrpcError> {
    let query = asked.query.ok_or_else(|| invalid("missing query"))?;
    let (Some(start), Some(end)) = (query.start_time_min, query.start_time_max) else {
        return Err(invalid("start time min and max are required parameters"));
    };
    let search = Search {
        service: query.service_name,
        operation: query.operation_name,
        tags: query.attributes.into_iter().collect(),
        start: Some(start.nanos()),
        end: Some(end.nanos()),
        at_least: query.duration_min.map(Time::nanos),
        at_most: query.duration_max.map(Time::nanos),
        limit: usize::try_from(query.search_depth).ok().filter(|limit| *limit > 0),
    };
    let request = search.request(crate::clock::unix_nanos());
    let found = answer(state, (search, request), |answers, (search, request), control| {
        search.find(answers, request, control)
    });
    Ok(found.await?)
}

/// A message for each trace; none at all is an error, as it is Jaeger's.
fn traces(found: Traces) -> Result<Vec<Vec<u8>>, GrpcError> {
    if found.is_empty() {
        return Err(GrpcError(ApiError::NothingFound));
    }
    Ok(found.into_iter().map(|resource_spans| TracesData { resource_spans }.encode_to_vec()).collect())
}
