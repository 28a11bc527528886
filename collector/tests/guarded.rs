//! Who may listen in, and what is removed: TLS, retention, the data of a service.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;

use self::common::{Server, ask, post};

/// A certificate for loopback and its key, in files.
fn certificate(dir: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned())
}

/// Feature: M3
#[test]
fn under_tls_all_addresses_speak_to_those_who_know_the_certificate() {
    let dir = tempdir().unwrap();
    let (certificate, key) = certificate(dir.path());
    let server =
        Server::start_with(&dir.path().join("data"), &["--tls-cert", &certificate, "--tls-key", &key]);
    let address = |name: &str| server.ready[name].as_str().unwrap();
    // The SDK is a sender of its own: over gRPC and over HTTP.
    for (name, protocol) in [("otlp_grpc", "grpc"), ("otlp_http", "http/protobuf")] {
        let ended = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
            .args(["demo", "--speed", "max", "--json", "--endpoint", &format!("https://{}", address(name))])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://{}", address(name)))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", &certificate)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        let document: Value = serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{error}"));
        assert_eq!((&document["exported"], &document["lost"]), (&49.into(), &0.into()), "{name}: {document}");
    }
    let api = format!("https://{}", address("api"));
    let (code, out, error) = ask(&api, &["count", "--json", "--tls-ca", &certificate]);
    assert!(code == 0 && out.contains("\"count\":98"), "{out}{error}");
    let (code, _, error) = ask(&api, &["count"]);
    assert!(code == 1 && error.contains("certificate"), "{error}");
    let (code, _, error) = ask(address("api"), &["count"]);
    assert!(code == 1 && error.contains("no server answers"), "in the clear: {error}");
    // Connections that say nothing, or nonsense, harm no other.
    let silent: Vec<_> =
        (0..300).map(|_| std::net::TcpStream::connect(address("otlp_grpc")).unwrap()).collect();
    std::io::Write::write_all(&mut &silent[0], b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(ask(&api, &["count", "--tls-ca", &certificate]).0, 0);
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let dir = tempdir().unwrap();
    let (certificate_file, _) = certificate(dir.path());
    let other = tempdir().unwrap();
    let (_, other_key) = certificate(other.path());
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let empty = empty.to_str().unwrap();
    for (arguments, word) in [
        (["--tls-cert", empty, "--tls-key", &other_key], "empty.pem: it has no certificate"),
        (["--tls-cert", &certificate_file, "--tls-key", empty], "empty.pem: "),
        (["--tls-cert", &certificate_file, "--tls-key", &other_key], "it is not the key of"),
        (["--tls-cert", "/nowhere", "--tls-key", &other_key], "/nowhere: "),
        (["--keep-for", "30", "--keep-bytes", "1GB"], "--keep-for: "),
        (["--keep-for", "30d", "--keep-bytes", "some"], "such as 500MB or 50GB"),
        (
            ["--downsample-metrics-after", "7d", "--downsample-metrics-step", "0s"],
            "--downsample-metrics-step: 0 is no step",
        ),
        (["--downsample-metrics-after", "7", "--keep-for", "30d"], "--downsample-metrics-after: "),
        (["--downsample-metrics-step", "1m", "--keep-for", "30d"], "--downsample-metrics-after <DURATION>"),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
            .args(["serve", "--data-dir"])
            .arg(dir.path().join("data"))
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(2) && error.contains(word), "{arguments:?}: {error}");
    }
}

fn spans(service: &str, id: u8) -> Vec<u8> {
    let text = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},
        "scopeSpans":[{{"spans":[{{"traceId":"000000000000000000000000000000{id:02x}","spanId":"00000000000000{id:02x}",
        "name":"x","startTimeUnixNano":"1790000000000000030","endTimeUnixNano":"1790000000000000031"}}]}}]}}]}}"#
    );
    text.into_bytes()
}

#[tokio::test]
async fn a_services_data_is_deleted_by_its_name() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    for (service, id) in [("a b", 1), ("a b", 2), ("c", 3)] {
        assert_eq!(post(&server.http, "application/json", None, spans(service, id)).await.0, 200);
    }
    let api = server.ready["api"].as_str().unwrap().to_owned();
    tokio::task::spawn_blocking(move || {
        let (code, out, _) = ask(&api, &["delete", "--service", "a b"]);
        assert_eq!((code, out.as_str()), (0, "2 spans, 0 log records and 0 data points are deleted\n"));
        let (_, out, _) = ask(&api, &["delete", "--service", "a b", "--json"]);
        assert_eq!(out, "{\"spans\":0,\"logs\":0,\"metrics\":0}\n");
        let (_, out, _) = ask(&api, &["count", "--json"]);
        assert!(out.starts_with("{\"count\":1,"), "{out}");
        assert_eq!(ask(&api, &["delete", "--service", ""]).0, 2);
    })
    .await
    .unwrap();
}
