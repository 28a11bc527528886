//! One request to an OTLP endpoint, and what became of it.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Compression, Direct, Options, Protocol};
use crate::Error;
use crate::codec::{RETRY_INFO, Raw, RetryInfo, RpcStatus};
use crate::ingest::{Refusal, Signal};

const EXPORT: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before the next attempt when the endpoint does not say.
const RETRY: Duration = Duration::from_millis(200);

/// What became of a request.
pub(super) enum Outcome {
    /// It was taken, but for so many spans.
    Taken { rejected: u64 },
    /// The endpoint asks for another attempt after this time.
    Later(&'static str, Duration),
    /// It was refused, or there was no answer.
    Refused(String),
}

/// A connection.
#[derive(Clone)]
pub(super) enum Sender {
    Grpc {
        client: tonic::client::Grpc<Channel>,
        token: Option<MetadataValue<Ascii>>,
    },
    Http {
        client: reqwest::Client,
        url: String,
        token: Option<String>,
        compression: Compression,
    },
    /// No connection at all.
    Direct(Direct),
}

impl Sender {
    /// One for each connection.
    pub(super) async fn all(options: &Options) -> Result<Vec<Self>, Error> {
        if let Some(direct) = &options.direct {
            return Ok(vec![Self::Direct(direct.clone()); options.connections]);
        }
        let mut senders = Vec::new();
        for _ in 0..options.connections {
            senders.push(Self::connect(options).await?);
        }
        Ok(senders)
    }

    async fn connect(options: &Options) -> Result<Self, Error> {
        let endpoint = options.endpoint.trim_end_matches('/');
        let unreachable = |error: &dyn std::error::Error| {
            let mut why = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                why = format!("{why}: {error}");
                source = error.source();
            }
            Error::failed(format!("nothing takes OTLP at {endpoint}: {why}; is `agentvitals serve` running?"))
        };
        let header = options.token.header();
        match options.protocol {
            Protocol::Grpc => {
                let channel = Channel::from_shared(endpoint.to_owned())
                    .map_err(|error| Error::input(format!("--endpoint {endpoint:?}: {error}")))?;
                let channel =
                    channel.tcp_nodelay(true).timeout(TIMEOUT).connect_timeout(Duration::from_secs(5));
                let channel = channel.connect().await.map_err(|error| unreachable(&error))?;
                let client = tonic::client::Grpc::new(channel);
                let client = match options.compression {
                    Compression::None => client,
                    Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
                    Compression::Zstd => client.send_compressed(CompressionEncoding::Zstd),
                };
                let token = header.map(|header| header.parse()).transpose();
                let token = token.map_err(|_| Error::input("the token cannot be in a header"))?;
                Ok(Self::Grpc { client, token })
            }
            Protocol::Http => {
                let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
                let client = client.map_err(|error| unreachable(&error))?;
                let url = format!("{endpoint}/v1/traces");
                let asked = client.post(&url).header("content-type", "application/x-protobuf").body("");
                asked.send().await.map_err(|error| unreachable(&error))?;
                Ok(Self::Http { client, url, token: header, compression: options.compression })
            }
        }
    }

    pub(super) async fn send(&mut self, body: Bytes) -> Outcome {
        match self {
            Self::Grpc { client, token } => grpc(client, token.clone(), body).await,
            Self::Http { client, url, token, compression } => {
                http(client, url, token.as_deref(), *compression, body).await
            }
            Self::Direct(Direct(direct)) => match direct.ingest(Signal::Traces, body).await {
                Ok(accepted) => Outcome::Taken { rejected: accepted.rejected },
                Err(Refusal::Overloaded { retry_after }) => Outcome::Later("overloaded", retry_after),
                Err(Refusal::DiskFull { retry_after, .. }) => Outcome::Later("full", retry_after),
                Err(refusal) => Outcome::Refused(refusal.to_string()),
            },
        }
    }
}

fn taken(response: &[u8]) -> Outcome {
    let partial = ExportTraceServiceResponse::decode(response).ok().and_then(|answer| answer.partial_success);
    let rejected = partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0));
    Outcome::Taken { rejected }
}

async fn grpc(
    client: &mut tonic::client::Grpc<Channel>,
    token: Option<MetadataValue<Ascii>>,
    body: Bytes,
) -> Outcome {
    if let Err(error) = client.ready().await {
        return Outcome::Refused(format!("no connection: {error}"));
    }
    let mut request = tonic::Request::new(body);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token);
    }
    match client.unary(request, EXPORT, Raw::default()).await {
        Ok(response) => taken(response.get_ref()),
        Err(status) => match (status.code(), delay(&status)) {
            (Code::Unavailable, Some(after)) => Outcome::Later("UNAVAILABLE", after),
            (Code::ResourceExhausted, Some(after)) => Outcome::Later("RESOURCE_EXHAUSTED", after),
            (code, _) => Outcome::Refused(format!("{code:?}: {}", status.message())),
        },
    }
}

/// The delay that a status asks for, by `google.rpc.RetryInfo`.
fn delay(status: &Status) -> Option<Duration> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let info = details.iter().find(|detail| detail.type_url == RETRY_INFO)?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    Some(Duration::new(seconds.min(60), u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999)))
}

async fn http(
    client: &reqwest::Client,
    url: &str,
    token: Option<&str>,
    compression: Compression,
    body: Bytes,
) -> Outcome {
    let (body, encoding) = match compression {
        Compression::None => (Ok(body.to_vec()), None),
        Compression::Gzip => {
            let mut out = Vec::new();
            let mut encoder = flate2::read::GzEncoder::new(body.as_ref(), flate2::Compression::fast());
            (std::io::Read::read_to_end(&mut encoder, &mut out).map(|_| out), Some("gzip"))
        }
        Compression::Zstd => (zstd::encode_all(body.as_ref(), 1), Some("zstd")),
    };
    let body = match body {
        Ok(body) => body,
        Err(error) => return Outcome::Refused(format!("it cannot be compressed: {error}")),
    };
    let mut request = client.post(url).header("content-type", "application/x-protobuf").body(body);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Outcome::Refused(format!("no answer: {}", error.without_url())),
    };
    let (status, after) = (response.status().as_u16(), response.headers().get("retry-after").cloned());
    let after = after
        .and_then(|after| after.to_str().ok()?.parse().ok())
        .map(|s: u64| Duration::from_secs(s.min(60)));
    match (status, response.bytes().await) {
        (200, Ok(body)) => taken(&body),
        (429, _) => Outcome::Later("429", after.unwrap_or(RETRY)),
        (503, _) => Outcome::Later("503", after.unwrap_or(RETRY)),
        (200, Err(error)) => Outcome::Refused(format!("no answer: {}", error.without_url())),
        (status, body) => {
            let status_message = body.ok().and_then(|body| RpcStatus::decode(body).ok());
            Outcome::Refused(format!("{status}: {}", status_message.unwrap_or_default().message))
        }
    }
}
