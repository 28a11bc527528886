//! Destinations from the variables of vendors.
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]
#![cfg(feature = "otlp-http")]

use std::collections::BTreeMap;
use std::time::Duration;

use agentvitals::testing::OtlpReceiver;
use agentvitals::{Config, Error, ExporterKind, Protocol, Signal, agent_span};
use tracing_subscriber::layer::SubscriberExt as _;

type Vars = &'static [(&'static str, &'static str)];

fn config(vars: &[(&str, &str)]) -> Result<Config, Error> {
    Config::from_vars(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn ok(vars: &[(&str, &str)]) -> Config {
    config(vars).unwrap_or_else(|error| panic!("{vars:?}: {error}"))
}

#[track_caller]
fn refused(vars: &[(&str, &str)]) -> String {
    let error = config(vars).unwrap_err();
    assert!(error.is_config(), "{error}");
    error.to_string()
}

/// URL and headers of a signal.
fn destination(config: &Config, signal: Signal) -> (String, BTreeMap<String, String>) {
    let destination = config.destination(signal).unwrap();
    let headers = destination.headers.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    (destination.url, headers)
}

/// Variables, the vendor, where its traces go, with which headers.
struct Row(Vars, &'static str, &'static str, Vars);

/// `pk:sk` in base64.
const BASIC: Vars = &[("authorization", "Basic cGs6c2s=")];

const VENDORS: &[Row] = &[
    Row(
        &[("LOGFIRE_TOKEN", "t")],
        "Logfire",
        "https://logfire-us.pydantic.dev/v1/traces",
        &[("authorization", "t")],
    ),
    Row(
        &[("LOGFIRE_WRITE_TOKEN", "pylf_v1_eu_x")],
        "Logfire",
        "https://logfire-eu.pydantic.dev/v1/traces",
        &[("authorization", "pylf_v1_eu_x")],
    ),
    Row(
        &[("LOGFIRE_TOKEN", "pylf_v1_us_x"), ("LOGFIRE_BASE_URL", "https://logfire.example.com/")],
        "Logfire",
        "https://logfire.example.com/v1/traces",
        &[("authorization", "pylf_v1_us_x")],
    ),
    Row(
        &[("LANGFUSE_PUBLIC_KEY", "pk"), ("LANGFUSE_SECRET_KEY", "sk")],
        "Langfuse",
        "https://cloud.langfuse.com/api/public/otel/v1/traces",
        BASIC,
    ),
    Row(
        &[
            ("LANGFUSE_PUBLIC_KEY", "pk"),
            ("LANGFUSE_SECRET_KEY", "sk"),
            ("LANGFUSE_HOST", "http://localhost:3000"),
        ],
        "Langfuse",
        "http://localhost:3000/api/public/otel/v1/traces",
        BASIC,
    ),
    Row(
        &[
            ("LANGFUSE_PUBLIC_KEY", "pk"),
            ("LANGFUSE_SECRET_KEY", "sk"),
            ("LANGFUSE_HOST", "http://localhost:3000"),
            ("LANGFUSE_BASE_URL", "https://us.cloud.langfuse.com"),
        ],
        "Langfuse",
        "https://us.cloud.langfuse.com/api/public/otel/v1/traces",
        BASIC,
    ),
    Row(
        &[("PHOENIX_COLLECTOR_ENDPOINT", "http://localhost:6006")],
        "Phoenix",
        "http://localhost:6006/v1/traces",
        &[],
    ),
    Row(
        &[
            ("PHOENIX_COLLECTOR_ENDPOINT", "https://app.phoenix.arize.com/s/me/v1/traces"),
            ("PHOENIX_API_KEY", "k"),
        ],
        "Phoenix",
        "https://app.phoenix.arize.com/s/me/v1/traces",
        &[("authorization", "Bearer k")],
    ),
    Row(
        &[("HONEYCOMB_API_KEY", "k")],
        "Honeycomb",
        "https://api.honeycomb.io/v1/traces",
        &[("x-honeycomb-team", "k")],
    ),
    Row(
        &[
            ("HONEYCOMB_API_KEY", "k"),
            ("HONEYCOMB_API_ENDPOINT", "https://api.eu1.honeycomb.io"),
            ("HONEYCOMB_DATASET", "agents"),
        ],
        "Honeycomb",
        "https://api.eu1.honeycomb.io/v1/traces",
        &[("x-honeycomb-dataset", "agents"), ("x-honeycomb-team", "k")],
    ),
];

/// Feature: K7
#[test]
fn the_variables_of_a_vendor_are_a_destination() {
    for Row(vars, vendor, traces, headers) in VENDORS {
        let config = ok(vars);
        let expected: BTreeMap<String, String> =
            headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(
            destination(&config, Signal::Traces),
            ((*traces).to_owned(), expected.clone()),
            "{vars:?}"
        );
        assert_eq!(config.destination(Signal::Traces).unwrap().protocol, Protocol::HttpProtobuf);
        let preset = config.preset().unwrap();
        assert_eq!(preset.vendor, *vendor);
        if preset.traces_only {
            assert_eq!(config.metrics_exporter, ExporterKind::None, "{vars:?}");
            assert!(
                config.warnings.iter().any(|w| w.contains(vendor) && w.contains("traces only")),
                "{vars:?}"
            );
        } else {
            let metrics = traces.replace("/v1/traces", "/v1/metrics");
            assert_eq!(destination(&config, Signal::Metrics), (metrics, expected), "{vars:?}");
            assert_eq!(config.warnings, [""; 0]);
        }
        let debug = format!("{config:?}");
        assert!(headers.iter().all(|(_, value)| !debug.contains(&format!("{value:?}"))), "{debug}");
    }
    let phoenix = ok(&[("PHOENIX_COLLECTOR_ENDPOINT", "http://localhost:4317")]);
    let destination = phoenix.destination(Signal::Traces).unwrap();
    assert_eq!((destination.protocol, destination.url.as_str()), (Protocol::Grpc, "http://localhost:4317"));
    assert_eq!(ok(&[("PHOENIX_API_KEY", "k")]).preset(), None, "a key alone is no destination");
}

/// Feature: K7
#[test]
fn two_vendors_or_half_of_one_are_refused_with_the_remedy() {
    for (vars, parts) in [
        (
            &[("HONEYCOMB_API_KEY", "sesame"), ("LOGFIRE_TOKEN", "sesame")][..],
            &["HONEYCOMB_API_KEY", "LOGFIRE_TOKEN", "unset one", "OTEL_EXPORTER_OTLP_ENDPOINT"][..],
        ),
        (
            &[("LANGFUSE_PUBLIC_KEY", "sesame")],
            &["LANGFUSE_PUBLIC_KEY", "without LANGFUSE_SECRET_KEY", "set both"],
        ),
        (
            &[("LANGFUSE_SECRET_KEY", "sesame")],
            &["LANGFUSE_SECRET_KEY", "without LANGFUSE_PUBLIC_KEY", "set both"],
        ),
        (
            &[("LOGFIRE_TOKEN", "sesame"), ("LOGFIRE_WRITE_TOKEN", "2")],
            &["LOGFIRE_TOKEN", "LOGFIRE_WRITE_TOKEN"],
        ),
        (&[("HONEYCOMB_API_KEY", "sesame\nx: y")], &["HONEYCOMB_API_KEY", "characters"]),
        (&[("PHOENIX_COLLECTOR_ENDPOINT", "localhost:6006")], &["PHOENIX_COLLECTOR_ENDPOINT", "scheme"]),
        (&[("LOGFIRE_TOKEN", "sesame"), ("LOGFIRE_BASE_URL", "ftp://x")], &["LOGFIRE_BASE_URL", "ftp://x"]),
        (
            &[("LOGFIRE_TOKEN", "sesame"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &["Logfire", "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL"],
        ),
        (
            &[("PHOENIX_COLLECTOR_ENDPOINT", "http://localhost:6006"), ("OTEL_METRICS_EXPORTER", "otlp")],
            &["OTEL_METRICS_EXPORTER", "Phoenix", "traces only", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"],
        ),
    ] {
        let message = refused(vars);
        for part in parts {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
        assert!(!message.contains("sesame"), "shows a secret: {message}");
    }
}

/// Feature: K7
#[test]
fn an_endpoint_of_otlp_goes_before_any_vendor() {
    let vendors =
        [("HONEYCOMB_API_KEY", "sesame"), ("LOGFIRE_TOKEN", "sesame"), ("LANGFUSE_PUBLIC_KEY", "sesame")];
    let with = |more: &[(&'static str, &'static str)]| [&vendors[..], more].concat();
    let general = ok(&with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")]));
    assert_eq!(general.preset(), None);
    for signal in [Signal::Traces, Signal::Metrics] {
        let (url, headers) = destination(&general, signal);
        assert_eq!(url, format!("http://collector:4318{}", signal.path()));
        assert!(headers.is_empty(), "no vendor's key goes elsewhere");
    }
    assert!(
        ok(&with(&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "console")]))
            .preset()
            .is_none()
    );

    // Each signal for itself.
    let langfuse = &[("LANGFUSE_PUBLIC_KEY", "pk"), ("LANGFUSE_SECRET_KEY", "sk")][..];
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://collector:4318/v1/metrics");
    let both = ok(&[langfuse, &[metrics]].concat());
    assert_eq!((both.metrics_exporter, both.warnings.len()), (ExporterKind::Otlp, 0));
    assert_eq!(destination(&both, Signal::Metrics), (metrics.1.to_owned(), BTreeMap::new()));
    assert!(destination(&both, Signal::Traces).0.starts_with("https://cloud.langfuse.com/"));
}

/// Feature: K7
#[test]
fn an_endpoint_in_code_goes_before_a_vendor_and_gets_nothing_of_it() {
    let langfuse = &[("LANGFUSE_PUBLIC_KEY", "pk"), ("LANGFUSE_SECRET_KEY", "sk")][..];
    let config = ok(langfuse).with_endpoint("http://collector:4318");
    assert_eq!((config.preset(), config.metrics_exporter), (None, ExporterKind::Otlp));
    assert_eq!(config.warnings, [""; 0]);
    for signal in [Signal::Traces, Signal::Metrics] {
        let expected = (format!("http://collector:4318{}", signal.path()), BTreeMap::new());
        assert_eq!(destination(&config, signal), expected);
    }
    // What code says of the exporters stays said.
    let quiet =
        ok(langfuse).with_exporters(ExporterKind::Otlp, ExporterKind::None).with_endpoint("http://c:4318");
    assert_eq!(quiet.metrics_exporter, ExporterKind::None);
    // A header is added to the vendor's, or replaces it.
    let more = ok(langfuse).with_header("x-team", "a").with_header("Authorization", "mine");
    let (_, headers) = destination(&more, Signal::Traces);
    assert_eq!(
        headers,
        [("Authorization", "mine"), ("x-team", "a")].map(|(k, v)| (k.into(), v.into())).into()
    );
}

/// Feature: K7
#[test]
fn spans_arrive_where_the_variables_of_a_vendor_say() {
    let receiver = OtlpReceiver::start().unwrap();
    let endpoint = receiver.endpoint();
    let config = ok(&[("PHOENIX_COLLECTOR_ENDPOINT", &endpoint), ("PHOENIX_API_KEY", "sesame")]);
    let vitals = agentvitals::builder().config(config).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(vitals.layer());
    tracing::subscriber::with_default(subscriber, || agent_span!("planner").in_scope(|| {}));
    let report = vitals.shutdown_blocking(Duration::from_secs(20)).unwrap();
    assert_eq!((report.spans_exported, report.lost(), report.metric_exports), (1, 0, 0), "{report}");
    assert_eq!(receiver.spans()[0].name, "invoke_agent planner");
    receiver.with(|received| {
        let headers = received.last_headers();
        assert_eq!(headers["authorization"], "Bearer sesame");
        assert_eq!(headers["content-type"], "application/x-protobuf", "over HTTP");
        assert_eq!((received.trace_requests(), received.metric_requests()), (1, 0));
    });
}
