//! Settings from environment variables: each honoured, or refused by name.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::destination::{Headers, check_header, parse_url};
use super::{
    Compression, Config, ContentCapture, ExporterKind, Histograms, OtlpSettings, Propagators, Protocol,
    SamplerConfig, Signal, TemporalityPreference, presets,
};
use crate::Error;

/// Not yet validated: code may still change what contradicts itself.
pub(super) fn from_env() -> Result<Config, Error> {
    let broken = RefCell::new(None);
    let config = from_vars(&|name| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(value)) => {
            *broken.borrow_mut() = Some(Error::config(format!("{name} is {value:?}, expected UTF-8 text")));
            None
        }
    });
    match broken.into_inner() {
        Some(error) => Err(error),
        None => config,
    }
}

/// Not yet validated, as [`from_env`].
pub(super) fn from_vars(get: &dyn Fn(&str) -> Option<String>) -> Result<Config, Error> {
    let vars = Vars(get);
    let mut config = Config::default();
    refuse_config_files(&vars)?;
    config.disabled = vars.bool("OTEL_SDK_DISABLED")?.unwrap_or(false);
    resource(&vars, &mut config)?;
    exporters(&vars, &mut config)?;
    config.otlp = otlp(&vars, "")?;
    config.otlp_traces = otlp(&vars, "TRACES_")?;
    config.otlp_metrics = otlp(&vars, "METRICS_")?;
    metrics(&vars, &mut config)?;
    batch(&vars, &mut config)?;
    limits(&vars, &mut config)?;
    sampler(&vars, &mut config)?;
    propagators(&vars, &mut config)?;
    content(&vars, &mut config);
    presets::apply(&vars, &mut config);
    without_effect(&vars, &mut config);
    config.prices = vars.text("AGENTVITALS_PRICES").map(PathBuf::from);
    Ok(config)
}

pub(super) struct Vars<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Vars<'_> {
    /// Empty is unset (OpenTelemetry specification), and blanks around a value mean nothing.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn bool(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(refuse(name, &value, "true or false")),
        }
    }

    fn count(&self, name: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| refuse(name, &value, "a whole number, 0 or more"))
    }

    fn millis(&self, name: &str) -> Result<Option<Duration>, Error> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let millis = value.parse().map_err(|_| refuse(name, &value, "a whole number of milliseconds"))?;
        Ok(Some(Duration::from_millis(millis)))
    }

    /// A time limit, which must be there: without one a flush could hang.
    fn timeout(&self, name: &str) -> Result<Option<Duration>, Error> {
        match self.millis(name)? {
            Some(time) if time.is_zero() => {
                Err(refuse(name, "0", "1 ms or more: unlimited is not supported, since a flush never hangs"))
            }
            time => Ok(time),
        }
    }

    fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&value));
        match found {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                Err(refuse(name, &value, &format!("one of {}", words.join(", "))))
            }
        }
    }
}

fn refuse(name: &str, value: &str, expected: &str) -> Error {
    Error::config(format!("{name} is {value:?}, expected {expected}"))
}

fn refuse_config_files(vars: &Vars<'_>) -> Result<(), Error> {
    for name in ["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"] {
        if let Some(value) = vars.text(name) {
            return Err(Error::config(format!(
                "{name} is {value:?}, expected unset: declarative configuration files are not supported; use the \
                 other OTEL_* variables or the builder"
            )));
        }
    }
    Ok(())
}

/// `key=value` pairs between commas, percent-encoded. Fails with what is wrong, never with a value.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            return Err(format!("entry {} has no \"=\"", pairs.len() + 1));
        };
        let decode = |text: &str| {
            percent_decode_str(text.trim())
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| format!("entry {} is not UTF-8 once percent-decoded", pairs.len() + 1))
        };
        let (key, value) = (decode(key)?, decode(value)?);
        if key.is_empty() {
            return Err(format!("entry {} has an empty key", pairs.len() + 1));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn resource(vars: &Vars<'_>, config: &mut Config) -> Result<(), Error> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    if let Some(text) = vars.text(NAME) {
        config.resource_attributes = pairs(&text).map_err(|why| {
            refuse(NAME, &text, &format!("key=value pairs between commas, percent-encoded ({why})"))
        })?;
        let service = |(key, _): &(String, String)| key == "service.name";
        config.service_name =
            config.resource_attributes.iter().find(|pair| service(pair)).map(|pair| pair.1.clone());
        config.resource_attributes.retain(|pair| !service(pair));
    }
    if let Some(name) = vars.text("OTEL_SERVICE_NAME") {
        config.service_name = Some(name);
    }
    Ok(())
}

fn exporters(vars: &Vars<'_>, config: &mut Config) -> Result<(), Error> {
    let exporter = |name: &str| -> Result<Option<ExporterKind>, Error> {
        let Some(value) = vars.text(name) else { return Ok(None) };
        let mut names: Vec<&str> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        names.dedup();
        let [only] = names[..] else {
            return Err(refuse(
                name,
                &value,
                "one of otlp, console, none; several destinations are not supported yet",
            ));
        };
        match only {
            "otlp" => Ok(Some(ExporterKind::Otlp)),
            "console" => Ok(Some(ExporterKind::Console)),
            "none" => Ok(Some(ExporterKind::None)),
            _ => Err(refuse(
                name,
                &value,
                "one of otlp, console, none; a collector can pass OTLP on to others",
            )),
        }
    };
    config.traces_exporter = exporter("OTEL_TRACES_EXPORTER")?.unwrap_or(ExporterKind::Otlp);
    config.metrics_exporter = exporter("OTEL_METRICS_EXPORTER")?.unwrap_or(ExporterKind::Otlp);
    match exporter("OTEL_LOGS_EXPORTER")? {
        Some(ExporterKind::Otlp) => {
            config
                .warnings
                .push("OTEL_LOGS_EXPORTER=otlp has no effect: agentvitals exports no logs yet".into());
        }
        Some(ExporterKind::Console) => {
            return Err(refuse(
                "OTEL_LOGS_EXPORTER",
                "console",
                "none or unset: agentvitals exports no logs yet",
            ));
        }
        Some(ExporterKind::None) | None => {}
    }
    Ok(())
}

fn otlp(vars: &Vars<'_>, signal: &str) -> Result<OtlpSettings, Error> {
    let name = |suffix: &str| format!("OTEL_EXPORTER_OTLP_{signal}{suffix}");
    let path = |suffix: &str| vars.text(&name(suffix)).map(PathBuf::from);
    let endpoint = vars.text(&name("ENDPOINT"));
    if let Some(url) = &endpoint {
        // Checked here by name; whether the protocol allows the missing scheme is checked with the whole.
        parse_url(url, Protocol::Grpc, true)
            .map_err(|error| Error::config(format!("{}: {error}", name("ENDPOINT"))))?;
    }
    Ok(OtlpSettings {
        endpoint,
        protocol: protocol(vars, &name("PROTOCOL"))?,
        headers: headers(vars, &name("HEADERS"))?,
        timeout: vars.timeout(&name("TIMEOUT"))?,
        compression: vars
            .choice(&name("COMPRESSION"), &[("gzip", Compression::Gzip), ("none", Compression::None)])?,
        insecure: vars.bool(&name("INSECURE"))?,
        certificate: path("CERTIFICATE"),
        client_key: path("CLIENT_KEY"),
        client_certificate: path("CLIENT_CERTIFICATE"),
    })
}

fn protocol(vars: &Vars<'_>, name: &str) -> Result<Option<Protocol>, Error> {
    vars.choice(name, &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)])
}

fn headers(vars: &Vars<'_>, name: &str) -> Result<Option<Headers>, Error> {
    let Some(text) = vars.text(name) else { return Ok(None) };
    // The value is not shown: it may hold a secret.
    let refuse = |why: String| {
        Error::config(format!("{name} cannot be read: {why}; expected key=value pairs between commas"))
    };
    let mut headers = Headers::default();
    for (key, value) in pairs(&text).map_err(refuse)? {
        check_header(&key, &value).map_err(refuse)?;
        headers.push(key, value);
    }
    Ok(Some(headers))
}

fn metrics(vars: &Vars<'_>, config: &mut Config) -> Result<(), Error> {
    use TemporalityPreference::{Cumulative, Delta, LowMemory};
    let temporality = vars.choice(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        &[("cumulative", Cumulative), ("delta", Delta), ("lowmemory", LowMemory)],
    )?;
    config.temporality = temporality.unwrap_or(Cumulative);
    let standard = vars.choice(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        &[
            ("explicit_bucket_histogram", Histograms::Explicit),
            ("base2_exponential_bucket_histogram", Histograms::Exponential),
        ],
    )?;
    let ours = vars.choice(
        "AGENTVITALS_HISTOGRAMS",
        &[("exponential", Histograms::Exponential), ("explicit", Histograms::Explicit)],
    )?;
    config.histograms = ours.or(standard).unwrap_or(Histograms::Exponential);
    config.metric_interval = vars.timeout("OTEL_METRIC_EXPORT_INTERVAL")?.unwrap_or(Config::METRIC_INTERVAL);
    config.metric_timeout = vars.timeout("OTEL_METRIC_EXPORT_TIMEOUT")?.unwrap_or(Config::METRIC_TIMEOUT);
    const EXEMPLARS: &str = "OTEL_METRICS_EXEMPLAR_FILTER";
    match vars.choice(EXEMPLARS, &[("always_off", 0), ("trace_based", 1), ("always_on", 2)])? {
        Some(1) => config
            .warnings
            .push(format!("{EXEMPLARS}=trace_based has no effect: exemplars are not filled yet")),
        Some(2) => return Err(refuse(EXEMPLARS, "always_on", "always_off: exemplars are not filled yet")),
        _ => {}
    }
    Ok(())
}

fn batch(vars: &Vars<'_>, config: &mut Config) -> Result<(), Error> {
    let batch = &mut config.batch;
    if let Some(spans) = vars.count("OTEL_BSP_MAX_QUEUE_SIZE")? {
        batch.queue_spans = spans;
        // A short queue alone must work: only a batch size that was asked for may contradict it.
        batch.max_batch = batch.max_batch.min(spans);
    }
    batch.max_batch = vars.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")?.unwrap_or(batch.max_batch);
    batch.schedule_delay = vars.millis("OTEL_BSP_SCHEDULE_DELAY")?.unwrap_or(batch.schedule_delay);
    batch.export_timeout = vars.timeout("OTEL_BSP_EXPORT_TIMEOUT")?.unwrap_or(batch.export_timeout);
    Ok(())
}

fn limits(vars: &Vars<'_>, config: &mut Config) -> Result<(), Error> {
    let limits = &mut config.limits;
    let first = |own: &str, general: &str| -> Result<Option<usize>, Error> {
        let general = vars.count(general)?;
        Ok(vars.count(own)?.or(general))
    };
    let length = first("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")?;
    limits.value_bytes = length.unwrap_or(limits.value_bytes);
    let all = "OTEL_ATTRIBUTE_COUNT_LIMIT";
    limits.attributes = first("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", all)?.unwrap_or(limits.attributes);
    limits.event_attributes =
        first("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", all)?.unwrap_or(limits.event_attributes);
    limits.link_attributes = first("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", all)?.unwrap_or(limits.link_attributes);
    limits.events = vars.count("OTEL_SPAN_EVENT_COUNT_LIMIT")?.unwrap_or(limits.events);
    limits.links = vars.count("OTEL_SPAN_LINK_COUNT_LIMIT")?.unwrap_or(limits.links);
    Ok(())
}

fn sampler(vars: &Vars<'_>, config: &mut Config) -> Result<(), Error> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    const ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
    let name = vars.text(NAME).unwrap_or_else(|| "parentbased_always_on".to_owned());
    let arg = vars.text(ARG);
    let ratio = || match &arg {
        None => Ok(1.0),
        Some(text) => match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(refuse(ARG, text, "a ratio from 0 to 1")),
        },
    };
    let takes_arg = name.ends_with("traceidratio");
    config.sampler = match name.as_str() {
        "parentbased_always_on" => SamplerConfig::always_on(),
        "parentbased_always_off" => SamplerConfig::always_off(),
        "parentbased_traceidratio" => SamplerConfig::ratio(ratio()?),
        "always_on" => SamplerConfig::always_on().ignoring_parent(),
        "always_off" => SamplerConfig::always_off().ignoring_parent(),
        "traceidratio" => SamplerConfig::ratio(ratio()?).ignoring_parent(),
        _ => {
            return Err(refuse(
                NAME,
                &name,
                "one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
                 parentbased_traceidratio",
            ));
        }
    };
    if let (Some(arg), false) = (arg, takes_arg) {
        config.warnings.push(format!("{ARG}={arg} has no effect: sampler {name} takes no argument"));
    }
    Ok(())
}

fn propagators(vars: &Vars<'_>, config: &mut Config) -> Result<(), Error> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(value) = vars.text(NAME) else { return Ok(()) };
    let mut chosen = Propagators::NONE;
    let names: Vec<&str> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in &names {
        match *name {
            "tracecontext" => chosen.trace_context = true,
            "baggage" => chosen.baggage = true,
            "none" if names.len() == 1 => {}
            "none" => return Err(refuse(NAME, &value, "none alone, or other propagators without it")),
            _ => return Err(refuse(NAME, &value, "tracecontext, baggage, both between commas, or none")),
        }
    }
    config.propagators = chosen;
    Ok(())
}

/// The one variable whose invalid values the convention turns into a warning: content stays off.
fn content(vars: &Vars<'_>, config: &mut Config) {
    const NAME: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    let Some(value) = vars.text(NAME) else { return };
    let no_events = "has no effect on events: agentvitals writes content to span attributes only so far";
    config.content = match value.to_ascii_uppercase().as_str() {
        "NO_CONTENT" | "FALSE" => ContentCapture::Off,
        "SPAN_ONLY" | "TRUE" => ContentCapture::SpanAttributes,
        "SPAN_AND_EVENT" => {
            config.warnings.push(format!("{NAME}={value} {no_events}"));
            ContentCapture::SpanAttributes
        }
        "EVENT_ONLY" => {
            config.warnings.push(format!("{NAME}={value} {no_events}"));
            ContentCapture::Off
        }
        _ => {
            config.warnings.push(format!(
                "{NAME} is {value:?}, expected NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT, true or false; no \
                 content is captured"
            ));
            ContentCapture::Off
        }
    };
}

/// Variables of a signal that agentvitals does not export yet.
fn without_effect(vars: &Vars<'_>, config: &mut Config) {
    const LOGS: &[&str] = &[
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
        "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
        "OTEL_EXPORTER_OTLP_LOGS_INSECURE",
        "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
        "OTEL_BLRP_SCHEDULE_DELAY",
        "OTEL_BLRP_EXPORT_TIMEOUT",
        "OTEL_BLRP_MAX_QUEUE_SIZE",
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    ];
    for name in LOGS.iter().filter(|name| vars.text(name).is_some()) {
        config.warnings.push(format!("{name} has no effect: agentvitals exports no logs yet"));
    }
    if vars.text("OTEL_LOG_LEVEL").is_some() {
        config.warnings.push(
            "OTEL_LOG_LEVEL has no effect: agentvitals logs nothing about itself, it counts; see the report"
                .into(),
        );
    }
    // The scheme wins over the variable (OpenTelemetry specification).
    for signal in [Signal::Traces, Signal::Metrics] {
        if let Ok(destination) = config.destination(signal)
            && destination.tls
            && config.otlp.insecure == Some(true)
        {
            config.warnings.push(format!(
                "OTEL_EXPORTER_OTLP_INSECURE=true has no effect on {}: the scheme of the endpoint decides",
                destination.url
            ));
        }
    }
}
