//! TLS with certificates of one's own, over both protocols.
#![cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod export_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentvitals::export::{Pipeline, PipelineParts};
use agentvitals::{Config, ExporterKind, Protocol};
use export_support::{Receiver, config, end_spans, start};
use opentelemetry_sdk::Resource;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A folder of PEM files that goes away with the value.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("agentvitals-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A server that wants client certificates of this authority, if `mutual`.
    fn server(&self, mutual: bool) -> Receiver {
        let (chain, key) = self.issue("127.0.0.1");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider)
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Receiver::tls(config)
    }
}

fn trusting(receiver: &Receiver, protocol: Protocol, certificate: &Path) -> Config {
    let mut config = config(&receiver.url).with_protocol(protocol);
    config.otlp.certificate = Some(certificate.to_owned());
    config
}

/// Feature: K7
#[test]
fn an_own_authority_and_a_client_certificate_are_honoured_over_both_protocols() {
    let files = Files::new("mutual");
    let authority = Authority::new();
    let ca = files.write("ca.pem", &authority.0.pem());
    let (chain, key) = authority.issue("client");
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let receiver = authority.server(true);
        let mut config = trusting(&receiver, protocol, &ca);
        config.otlp.client_certificate = Some(files.write("client.pem", &chain));
        config.otlp.client_key = Some(files.write("client.key", &key));
        let (pipeline, _provider, tracer) = start(&config, PipelineParts::new());
        end_spans(&tracer, 3);
        let report = pipeline.shutdown_blocking(Duration::from_secs(10)).unwrap();
        assert_eq!((report.spans_exported, receiver.spans().len()), (3, 3), "{protocol:?}: {report}");

        let without = trusting(&receiver, protocol, &ca);
        let (pipeline, _provider, tracer) = start(&without, PipelineParts::new());
        end_spans(&tracer, 1);
        let report = pipeline.shutdown_blocking(Duration::from_millis(800)).unwrap();
        assert_eq!((report.spans_exported, report.lost()), (0, 1), "{protocol:?}: {report}");
    }
}

/// Feature: K7
#[test]
fn a_server_of_another_authority_is_not_trusted() {
    let files = Files::new("other");
    let other = files.write("other.pem", &Authority::new().0.pem());
    let receiver = Authority::new().server(false);
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let (pipeline, _provider, tracer) =
            start(&trusting(&receiver, protocol, &other), PipelineParts::new());
        end_spans(&tracer, 2);
        let report = pipeline.shutdown_blocking(Duration::from_millis(800)).unwrap();
        assert_eq!((report.spans_exported, report.lost()), (0, 2), "{protocol:?}: {report}");
        let error = report.last_error.unwrap();
        assert!(error.contains("certificate") || error.contains("UnknownIssuer"), "{protocol:?}: {error}");
        assert!(receiver.spans().is_empty());
    }
}

/// Feature: K7
#[test]
fn a_certificate_file_that_cannot_be_used_is_refused_at_the_start_by_name() {
    let files = Files::new("bad");
    let garbage = files.write("garbage.pem", "no certificate at all");
    let missing = files.0.join("missing.pem");
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        for path in [&missing, &garbage] {
            let mut config = Config::default()
                .with_endpoint("https://127.0.0.1:1")
                .with_protocol(protocol)
                .with_exporters(ExporterKind::Otlp, ExporterKind::None);
            config.otlp.certificate = Some(path.clone());
            let started = Pipeline::start(&config, Resource::builder_empty().build(), PipelineParts::new());
            let error = started.err().unwrap_or_else(|| panic!("{protocol:?} starts with {path:?}"));
            assert!(error.is_config(), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("OTEL_EXPORTER_OTLP_CERTIFICATE") && text.contains(".pem"),
                "{protocol:?}: {text}"
            );
        }
    }
}
