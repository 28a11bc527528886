//! Every variable is honoured, refused by name, or told to have no effect; none is ignored in silence.
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use agentvitals::{
    Compression, Config, ContentCapture, Error, ExporterKind, Histograms, Propagators, Protocol,
    SamplerConfig, Signal, TemporalityPreference,
};

fn config(vars: &[(&str, &str)]) -> Result<Config, Error> {
    let vars: HashMap<String, String> =
        vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::from_vars(|name| vars.get(name).cloned())
}

fn ok(vars: &[(&str, &str)]) -> Config {
    config(vars).unwrap_or_else(|error| panic!("{vars:?}: {error}"))
}

/// What one variable does.
enum Does {
    /// This value is honoured; the check sees it.
    Honour(&'static str, fn(&Config) -> bool),
    /// This value is refused, by name.
    Refuse(&'static str),
    /// This value is accepted with a warning that names the variable.
    Warn(&'static str),
}
use Does::{Honour, Refuse, Warn};

type Row = (&'static str, Vec<Does>);

fn traces(config: &Config) -> agentvitals::Destination {
    config.destination(Signal::Traces).unwrap()
}

fn metrics(config: &Config) -> agentvitals::Destination {
    config.destination(Signal::Metrics).unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn header(config: &agentvitals::Destination, name: &str) -> Option<String> {
    config.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_owned())
}

fn general_rows() -> Vec<Row> {
    vec![
        (
            "OTEL_SDK_DISABLED",
            vec![Honour("True", |c| c.disabled), Honour("false", |c| !c.disabled), Refuse("maybe")],
        ),
        ("OTEL_SERVICE_NAME", vec![Honour("bot", |c| c.service_name.as_deref() == Some("bot"))]),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            vec![
                Honour("a=1,b=x%20y%2Cz, service.name=bot", |c| {
                    c.service_name.as_deref() == Some("bot")
                        && c.resource_attributes == [("a".into(), "1".into()), ("b".into(), "x y,z".into())]
                }),
                Refuse("novalue"),
                Refuse("=x"),
                Refuse("a=%FF"),
            ],
        ),
        (
            "OTEL_TRACES_EXPORTER",
            vec![
                Honour("otlp", |c| c.traces_exporter == ExporterKind::Otlp),
                Honour("console", |c| c.traces_exporter == ExporterKind::Console),
                Honour("none", |c| c.traces_exporter == ExporterKind::None),
                Refuse("zipkin"),
                Refuse("otlp,console"),
                Refuse(","),
            ],
        ),
        (
            "OTEL_METRICS_EXPORTER",
            vec![
                Honour("none", |c| c.metrics_exporter == ExporterKind::None),
                Honour("console", |c| c.metrics_exporter == ExporterKind::Console),
                Refuse("prometheus"),
            ],
        ),
        (
            "OTEL_LOGS_EXPORTER",
            vec![Honour("none", |c| c.warnings.is_empty()), Warn("otlp"), Refuse("console")],
        ),
        ("OTEL_LOG_LEVEL", vec![Warn("debug")]),
        ("OTEL_CONFIG_FILE", vec![Refuse("/etc/otel.yaml")]),
        ("OTEL_EXPERIMENTAL_CONFIG_FILE", vec![Refuse("/etc/otel.yaml")]),
        (
            "OTEL_PROPAGATORS",
            vec![
                Honour("tracecontext,baggage", |c| c.propagators == Propagators::default()),
                Honour("tracecontext", |c| c.propagators.trace_context && !c.propagators.baggage),
                Honour("none", |c| c.propagators == Propagators::NONE),
                Refuse("b3"),
                Refuse("none,baggage"),
            ],
        ),
        (
            "OTEL_TRACES_SAMPLER",
            vec![
                Honour("always_on", |c| c.sampler == SamplerConfig::always_on().ignoring_parent()),
                Honour("always_off", |c| c.sampler == SamplerConfig::always_off().ignoring_parent()),
                Honour("traceidratio", |c| c.sampler == SamplerConfig::ratio(1.0).ignoring_parent()),
                Honour("parentbased_always_on", |c| c.sampler == SamplerConfig::always_on()),
                Honour("parentbased_always_off", |c| c.sampler == SamplerConfig::always_off()),
                Honour("parentbased_traceidratio", |c| c.sampler == SamplerConfig::ratio(1.0)),
                Refuse("jaeger_remote"),
                Refuse("parentbased_jaeger_remote"),
                Refuse("xray"),
            ],
        ),
        ("OTEL_TRACES_SAMPLER_ARG", vec![Warn("0.5")]),
        ("AGENTVITALS_PRICES", vec![Honour("p.toml", |c| c.prices == Some(PathBuf::from("p.toml")))]),
        (
            "AGENTVITALS_HISTOGRAMS",
            vec![
                Honour("explicit", |c| c.histograms == Histograms::Explicit),
                Honour("exponential", |c| c.histograms == Histograms::Exponential),
                Refuse("linear"),
            ],
        ),
    ]
}

fn limit_rows() -> Vec<Row> {
    vec![
        (
            "OTEL_BSP_SCHEDULE_DELAY",
            vec![Honour("250", |c| c.batch.schedule_delay == ms(250)), Refuse("5s"), Refuse("-1")],
        ),
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            vec![
                Honour("100", |c| c.batch.queue_spans == 100 && c.batch.max_batch == 100),
                Refuse("many"),
                Refuse("0"),
            ],
        ),
        (
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            vec![Honour("64", |c| c.batch.max_batch == 64), Refuse("0"), Refuse("9000")],
        ),
        (
            "OTEL_BSP_EXPORT_TIMEOUT",
            vec![Honour("1000", |c| c.batch.export_timeout == ms(1000)), Refuse("0"), Refuse("x")],
        ),
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            vec![Honour("10000", |c| c.metric_interval == ms(10_000)), Refuse("0"), Refuse("1m")],
        ),
        ("OTEL_METRIC_EXPORT_TIMEOUT", vec![Honour("2000", |c| c.metric_timeout == ms(2000)), Refuse("0")]),
        (
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            vec![Honour("1000", |c| c.limits.value_bytes == 1000), Refuse("1 KB"), Refuse("8")],
        ),
        (
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            vec![Honour("900", |c| c.limits.value_bytes == 900), Refuse("x")],
        ),
        (
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            vec![
                Honour("50", |c| {
                    (c.limits.attributes, c.limits.event_attributes, c.limits.link_attributes) == (50, 50, 50)
                }),
                Refuse("x"),
                Refuse("1"),
            ],
        ),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", vec![Honour("60", |c| c.limits.attributes == 60), Refuse("x")]),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", vec![Honour("3", |c| c.limits.events == 3), Refuse("x")]),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", vec![Honour("4", |c| c.limits.links == 4), Refuse("x")]),
        (
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            vec![Honour("5", |c| c.limits.event_attributes == 5), Refuse("x")],
        ),
        (
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            vec![Honour("6", |c| c.limits.link_attributes == 6), Refuse("x")],
        ),
        (
            "OTEL_METRICS_EXEMPLAR_FILTER",
            vec![Honour("always_off", |_| true), Warn("trace_based"), Refuse("always_on")],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            vec![
                Honour("cumulative", |c| c.temporality == TemporalityPreference::Cumulative),
                Honour("Delta", |c| c.temporality == TemporalityPreference::Delta),
                Honour("LOWMEMORY", |c| c.temporality == TemporalityPreference::LowMemory),
                Refuse("x"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            vec![
                Honour("explicit_bucket_histogram", |c| c.histograms == Histograms::Explicit),
                Honour("base2_exponential_bucket_histogram", |c| c.histograms == Histograms::Exponential),
                Refuse("x"),
            ],
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn otlp_rows() -> Vec<Row> {
    vec![
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            vec![
                Honour("http://c:4317", |c| {
                    traces(c).url == "http://c:4317" && traces(c).protocol == Protocol::Grpc
                }),
                Honour("http://c:4318", |c| {
                    traces(c).url == "http://c:4318/v1/traces" && metrics(c).url == "http://c:4318/v1/metrics"
                }),
                Honour("http://c:4318/base/", |c| traces(c).url == "http://c:4318/base/v1/traces"),
                Honour("c:4317", |c| traces(c).url == "https://c:4317" && traces(c).tls),
                Honour("https://c", |c| traces(c).tls && traces(c).protocol == Protocol::Grpc),
                Refuse("ftp://c"),
                Refuse("http://"),
                Refuse("not a url"),
                Refuse("http://user:pw@c:4317"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            vec![
                Honour("http://c:4318/my/path", |c| {
                    traces(c).url == "http://c:4318/my/path" && metrics(c).url == "http://localhost:4317"
                }),
                Refuse("unix:///x"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            vec![Honour("http://m:1", |c| metrics(c).url == "http://m:1"), Refuse("::")],
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            vec![
                Honour("grpc", |c| traces(c).url == "http://localhost:4317"),
                Honour("http/protobuf", |c| metrics(c).url == "http://localhost:4318/v1/metrics"),
                Refuse("http/json"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            vec![
                Honour("http/protobuf", |c| {
                    (traces(c).protocol, metrics(c).protocol) == (Protocol::HttpProtobuf, Protocol::Grpc)
                }),
                Refuse("x"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            vec![Honour("http/protobuf", |c| metrics(c).protocol == Protocol::HttpProtobuf), Refuse("x")],
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            vec![
                Honour("a=b,authorization=Bearer%20x", |c| {
                    header(&traces(c), "authorization").as_deref() == Some("Bearer x")
                        && header(&metrics(c), "a").as_deref() == Some("b")
                }),
                Refuse("nokey"),
                Refuse("b ad=x"),
                Refuse("a=%0A"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            vec![
                Honour("k=v", |c| header(&traces(c), "k").is_some() && header(&metrics(c), "k").is_none()),
                Refuse("x"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
            vec![Honour("k=v", |c| header(&metrics(c), "k").is_some()), Refuse("x")],
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            vec![Honour("500", |c| traces(c).timeout == ms(500)), Refuse("0"), Refuse("1s")],
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            vec![Honour("500", |c| traces(c).timeout == ms(500)), Refuse("x")],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
            vec![Honour("500", |c| metrics(c).timeout == ms(500)), Refuse("x")],
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            vec![
                Honour("gzip", |c| metrics(c).compression == Compression::Gzip),
                Honour("none", |c| traces(c).compression == Compression::None),
                Refuse("zstd"),
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            vec![Honour("gzip", |c| traces(c).compression == Compression::Gzip), Refuse("x")],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
            vec![Honour("gzip", |c| metrics(c).compression == Compression::Gzip), Refuse("x")],
        ),
        ("OTEL_EXPORTER_OTLP_INSECURE", vec![Honour("true", |c| c.otlp.insecure == Some(true)), Refuse("x")]),
        (
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
            vec![Honour("true", |c| c.otlp_traces.insecure == Some(true)), Refuse("x")],
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
            vec![Honour("true", |c| c.otlp_metrics.insecure == Some(true)), Refuse("x")],
        ),
        // The default endpoint is not https: a certificate for it is a mistake.
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", vec![Refuse("ca.pem")]),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", vec![Refuse("ca.pem")]),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", vec![Refuse("ca.pem")]),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", vec![Refuse("key.pem")]),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", vec![Refuse("key.pem")]),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", vec![Refuse("key.pem")]),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", vec![Refuse("cert.pem")]),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", vec![Refuse("cert.pem")]),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", vec![Refuse("cert.pem")]),
    ]
}

fn log_rows() -> Vec<Row> {
    let otlp = [
        "ENDPOINT",
        "PROTOCOL",
        "HEADERS",
        "TIMEOUT",
        "COMPRESSION",
        "INSECURE",
        "CERTIFICATE",
        "CLIENT_KEY",
    ];
    let mut names: Vec<String> =
        otlp.iter().map(|suffix| format!("OTEL_EXPORTER_OTLP_LOGS_{suffix}")).collect();
    names.push("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE".into());
    names.extend(
        ["SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"]
            .map(|s| format!("OTEL_BLRP_{s}")),
    );
    names.extend(["VALUE_LENGTH_LIMIT", "COUNT_LIMIT"].map(|s| format!("OTEL_LOGRECORD_ATTRIBUTE_{s}")));
    names.into_iter().map(|name| (&*name.leak(), vec![Warn("x")])).collect()
}

/// Feature: K7, K8, L6
/// Behaviour: P33
#[test]
fn every_variable_is_honoured_refused_by_name_or_told_to_have_no_effect() {
    let rows = [general_rows(), limit_rows(), otlp_rows(), log_rows()].concat_rows();
    assert_eq!(rows.len(), 73, "the variables of the specification, and ours");
    for (name, cases) in rows {
        assert_eq!(ok(&[(name, "")]), Config::default(), "{name}: empty is unset");
        assert_eq!(ok(&[(name, "  ")]), Config::default(), "{name}: blank is unset");
        for case in cases {
            match case {
                Honour(value, check) => {
                    let config = ok(&[(name, value)]);
                    assert!(check(&config), "{name}={value} is not honoured: {config:?}");
                    assert!(config.warnings.is_empty(), "{name}={value} warns: {:?}", config.warnings);
                }
                Refuse(value) => {
                    let error = config(&[(name, value)])
                        .err()
                        .unwrap_or_else(|| panic!("{name}={value} is accepted"));
                    let text = error.to_string();
                    assert!(error.is_config());
                    assert!(text.contains(name), "{name}={value}: the error does not name it: {text}");
                    assert!(text.contains("expected"), "{name}={value}: no remedy: {text}");
                }
                Warn(value) => {
                    let warnings = ok(&[(name, value)]).warnings;
                    assert!(
                        warnings.len() == 1 && warnings[0].contains(name),
                        "{name}={value}: {warnings:?}"
                    );
                }
            }
        }
    }
}

trait ConcatRows {
    fn concat_rows(self) -> Vec<Row>;
}

impl<const N: usize> ConcatRows for [Vec<Row>; N] {
    fn concat_rows(self) -> Vec<Row> {
        self.into_iter().flatten().collect()
    }
}

/// Feature: K7
#[test]
fn settings_of_one_signal_win_over_the_general_ones_and_headers_replace() {
    let config = ok(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2000"),
        ("OTEL_SERVICE_NAME", "own"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other"),
    ]);
    assert_eq!((header(&traces(&config), "a"), header(&traces(&config), "b")), (None, Some("2".into())));
    assert_eq!((traces(&config).timeout, metrics(&config).timeout), (ms(1000), ms(2000)));
    assert_eq!(config.service_name.as_deref(), Some("own"));
}

/// Feature: K7
#[test]
fn tls_settings_need_https_and_a_key_with_its_certificate() {
    let https = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317");
    let (key, chain) =
        (("OTEL_EXPORTER_OTLP_CLIENT_KEY", "k"), ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "c"));
    assert_eq!(
        traces(&ok(&[https, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca")])).certificate,
        Some("ca".into())
    );
    assert_eq!(traces(&ok(&[https, key, chain])).client_identity, Some(("k".into(), "c".into())));
    assert!(config(&[https, key]).unwrap_err().to_string().contains("CLIENT_CERTIFICATE, which is not set"));
    assert!(config(&[https, chain]).unwrap_err().to_string().contains("CLIENT_KEY, which is not set"));
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(traces(&ok(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), insecure])).url, "http://c:4317");
    assert!(!ok(&[https, insecure]).warnings.is_empty(), "the scheme wins, and says so");
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    assert!(config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318"), http]).is_err(), "HTTP needs a scheme");
}

/// Feature: L6
#[test]
fn the_samplers_argument_is_a_ratio_and_checked() {
    let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
    assert_eq!(ok(&[sampler, ("OTEL_TRACES_SAMPLER_ARG", "0.25")]).sampler, SamplerConfig::ratio(0.25));
    for bad in ["2", "-0.1", "ten percent", "NaN"] {
        let error = config(&[sampler, ("OTEL_TRACES_SAMPLER_ARG", bad)]).unwrap_err().to_string();
        assert!(error.contains("OTEL_TRACES_SAMPLER_ARG") && error.contains(bad), "{error}");
    }
}

/// Feature: L7
#[test]
fn content_capture_takes_the_four_values_and_the_old_two_and_stays_off_otherwise() {
    use ContentCapture::{Off, SpanAttributes};
    let name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    let rows = [
        ("NO_CONTENT", Off, 0),
        ("SPAN_ONLY", SpanAttributes, 0),
        ("span_only", SpanAttributes, 0),
        ("true", SpanAttributes, 0),
        ("False", Off, 0),
        ("EVENT_ONLY", Off, 1),
        ("SPAN_AND_EVENT", SpanAttributes, 1),
        ("yes please", Off, 1),
    ];
    for (value, content, warnings) in rows {
        let config = ok(&[(name, value)]);
        assert_eq!((config.content, config.warnings.len()), (content, warnings), "{value}");
        assert!(config.warnings.iter().all(|warning| warning.contains(name)));
    }
    assert_eq!(Config::default().content, Off);
}

/// Feature: L7
#[test]
fn secrets_are_shown_neither_by_errors_nor_by_debug() {
    let error = config(&[("OTEL_EXPORTER_OTLP_HEADERS", "key=hush\u{7f}hush")]).unwrap_err().to_string();
    assert!(!error.contains("hush"), "{error}");
    let error = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hush@c:4317")]).unwrap_err().to_string();
    assert!(!error.contains("hush"), "{error}");
    let config = ok(&[("OTEL_EXPORTER_OTLP_HEADERS", "key=hush")]);
    assert!(!format!("{config:?}{:?}", traces(&config)).contains("hush"));
}

#[test]
fn at_most_four_metric_attributes_may_be_added() {
    let mut config = Config::default();
    for key in ["a", "b", "c", "d", "a"] {
        config = config.with_metric_attribute(key).unwrap();
    }
    assert_eq!(config.metric_attributes.len(), 4);
    assert!(config.with_metric_attribute("e").unwrap_err().to_string().contains("\"e\""));
}
