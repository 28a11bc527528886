//! OTLP over gRPC.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use super::read_pem;
use super::retry::Attempt;
use crate::Error;
use crate::config::{Compression, Destination, Signal};

pub(super) struct Grpc {
    client: Client<Channel>,
    path: PathAndQuery,
    headers: MetadataMap,
    timeout: Duration,
}

impl Grpc {
    pub(super) fn new(destination: &Destination, signal: Signal) -> Result<Self, Error> {
        let url = &destination.url;
        let refuse =
            |error: &dyn fmt::Display| Error::config(format!("endpoint {url:?} cannot be used: {error}"));
        let mut endpoint = Endpoint::from_shared(url.clone())
            .and_then(|endpoint| endpoint.user_agent(concat!("agentvitals/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| refuse(&error))?
            .connect_timeout(destination.timeout)
            // A dead peer behind a silent network is noticed while idle, not at the next export's timeout.
            .http2_keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(10));
        if destination.tls {
            endpoint = endpoint.tls_config(tls(destination)?).map_err(|error| {
                refuse(&format!(
                    "TLS: {}",
                    error.source().map_or_else(|| error.to_string(), ToString::to_string)
                ))
            })?;
        }
        let mut client = Client::new(endpoint.connect_lazy()).max_decoding_message_size(4 << 20);
        if destination.compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        let mut headers = http::HeaderMap::new();
        for (name, value) in destination.headers.iter() {
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|error| refuse(&error))?;
            let mut value = http::HeaderValue::from_str(value).map_err(|error| refuse(&error))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let path = PathAndQuery::from_static(match signal {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        });
        Ok(Self { client, path, headers: MetadataMap::from_headers(headers), timeout: destination.timeout })
    }

    pub(super) async fn send(&mut self, body: Bytes) -> Result<Bytes, Attempt> {
        let attempt = tokio::time::timeout(self.timeout, self.attempt(body)).await;
        match attempt {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(status)) => Err(classify(&status)),
            Err(_) => {
                Err(Attempt::Retry { after: None, message: format!("no answer within {:?}", self.timeout) })
            }
        }
    }

    async fn attempt(&mut self, body: Bytes) -> Result<Bytes, Status> {
        self.client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.headers.clone();
        let response = self.client.unary(request, self.path.clone(), RawCodec).await?;
        Ok(response.into_inner())
    }
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc").field("path", &self.path).finish_non_exhaustive()
    }
}

fn tls(destination: &Destination) -> Result<ClientTlsConfig, Error> {
    let mut tls = ClientTlsConfig::new().assume_http2(true);
    tls = match &destination.certificate {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read_pem(
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            path,
            "CERTIFICATE",
        )?)),
        None => tls.with_native_roots(),
    };
    if let Some((key, chain)) = &destination.client_identity {
        let key = read_pem("OTEL_EXPORTER_OTLP_CLIENT_KEY", key, "PRIVATE KEY")?;
        let chain = read_pem("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", chain, "CERTIFICATE")?;
        tls = tls.identity(Identity::from_pem(chain, key));
    }
    Ok(tls)
}

/// What the OTLP specification says about each status.
fn classify(status: &Status) -> Attempt {
    let mut message = format!("{:?}", status.code());
    if !status.message().is_empty() {
        message = format!("{message}: {}", status.message());
    }
    let mut source = status.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    let after = retry_delay(status.details());
    // Receivers tell of a message over their limit by several codes, some of which otherwise mean "try again".
    let text = status.message();
    if matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange)
        && after.is_none()
        && (text.contains("larger than max") || text.contains("too large"))
    {
        return Attempt::TooLarge(message);
    }
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Attempt::Retry { after, message },
        Code::ResourceExhausted if after.is_some() => Attempt::Retry { after, message },
        _ => Attempt::Refused(message),
    }
}

/// `google.rpc.RetryInfo` in the details of a status.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    #[derive(Message)]
    struct RpcStatus {
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    #[derive(Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    #[derive(Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        delay: Option<ProtoDuration>,
    }
    #[derive(Message)]
    struct ProtoDuration {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

/// Passes encoded messages through, so that a request is encoded once for all its attempts.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
