//! Destinations of vendors, from the variables that their own tools read.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::destination::{Headers, check_header, parse_url};
use super::env::Vars;
use super::{Config, ExporterKind, OtlpSettings, Protocol, Signal};
use crate::Error;

/// A destination that a vendor's variables have set up; see [`Config`] for which there are.
///
/// It holds for each signal that has no endpoint of OTLP, and only as long as it has none.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Preset {
    /// The vendor: `Logfire`, `Langfuse`, `Phoenix` or `Honeycomb`.
    pub vendor: &'static str,
    /// The general endpoint, to which `/v1/traces` and `/v1/metrics` are appended.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What goes with every request: keys and tokens, which `Debug` does not show.
    pub headers: Headers,
    /// Whether it takes spans only. Then metrics are not exported, unless they have an endpoint of their own.
    pub traces_only: bool,
    /// Whether it speaks the other protocol too.
    both_protocols: bool,
    /// The warning that metrics go nowhere, if that is its doing.
    metrics_off: Option<String>,
}

/// What the variables say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Choice {
    #[default]
    None,
    Vendor(Preset),
    /// They contradict each other, which matters only if an endpoint of OTLP is missing.
    Refused(String),
}

/// Finds the preset, if a signal goes where no endpoint says.
pub(super) fn apply(vars: &Vars<'_>, config: &mut Config) {
    let open = |exporter: ExporterKind, own: &OtlpSettings| {
        exporter == ExporterKind::Otlp && own.endpoint.is_none() && config.otlp.endpoint.is_none()
    };
    let traces = open(config.traces_exporter, &config.otlp_traces);
    let metrics = open(config.metrics_exporter, &config.otlp_metrics);
    if !traces && !metrics {
        return;
    }
    config.vendor = match find(vars) {
        Err(problem) => Choice::Refused(problem),
        Ok(Some(preset)) if preset.traces_only && !traces => Choice::None,
        Ok(Some(preset)) if preset.traces_only && metrics => {
            if vars.text("OTEL_METRICS_EXPORTER").is_some() {
                Choice::Refused(format!(
                    "OTEL_METRICS_EXPORTER is otlp, but {} takes traces only; expected none, or \
                     OTEL_EXPORTER_OTLP_METRICS_ENDPOINT for the metrics",
                    preset.vendor
                ))
            } else {
                let warning = format!(
                    "metrics are not exported: {} takes traces only; set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT to send \
                     them elsewhere",
                    preset.vendor
                );
                config.metrics_exporter = ExporterKind::None;
                config.warnings.push(warning.clone());
                Choice::Vendor(Preset { metrics_off: Some(warning), ..preset })
            }
        }
        Ok(Some(preset)) => Choice::Vendor(preset),
        Ok(None) => Choice::None,
    };
}

impl Config {
    /// The destination that a vendor's variables have set up, if any.
    pub fn preset(&self) -> Option<&Preset> {
        match &self.vendor {
            Choice::Vendor(preset) => Some(preset),
            _ => None,
        }
    }

    /// Gives way to an endpoint that code sets, metrics included.
    pub(super) fn forget_preset(&mut self) {
        if let Choice::Vendor(Preset { metrics_off: Some(warning), .. }) = std::mem::take(&mut self.vendor) {
            self.metrics_exporter = ExporterKind::Otlp;
            self.warnings.retain(|other| *other != warning);
        }
    }

    /// Where metrics go has been decided otherwise: forgetting the preset must not change it.
    pub(super) fn keep_exporters(&mut self) {
        if let Choice::Vendor(preset) = &mut self.vendor
            && let Some(warning) = preset.metrics_off.take()
        {
            self.warnings.retain(|other| *other != warning);
        }
    }

    /// The general settings and those of one signal, with the preset below them if there is no endpoint.
    pub(super) fn with_preset(
        &self,
        own: &OtlpSettings,
        signal: Signal,
    ) -> Result<(OtlpSettings, OtlpSettings), Error> {
        let (mut general, mut own) = (self.otlp.clone(), own.clone());
        let preset = match &self.vendor {
            _ if own.endpoint.is_some() || general.endpoint.is_some() => return Ok((general, own)),
            Choice::None => return Ok((general, own)),
            Choice::Refused(problem) => return Err(Error::config(problem.clone())),
            Choice::Vendor(preset) => preset,
        };
        if preset.traces_only && signal == Signal::Metrics {
            return Err(Error::config(format!(
                "metrics have no endpoint: {} takes traces only; set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                preset.vendor
            )));
        }
        if let Some(protocol) = own.protocol.or(general.protocol)
            && protocol != preset.protocol
            && !preset.both_protocols
        {
            return Err(Error::config(format!(
                "the protocol is {protocol:?} (OTEL_EXPORTER_OTLP_PROTOCOL), but {} speaks http/protobuf only; unset it",
                preset.vendor
            )));
        }
        general.endpoint = Some(preset.endpoint.clone());
        general.protocol = general.protocol.or(Some(preset.protocol));
        let merged = |over: Option<&Headers>| {
            let mut headers = preset.headers.clone();
            for (name, value) in over.into_iter().flat_map(Headers::iter) {
                headers.push(name, value);
            }
            headers
        };
        own.headers = own.headers.as_ref().map(|headers| merged(Some(headers)));
        general.headers = Some(merged(general.headers.as_ref()));
        Ok((general, own))
    }
}

/// The one vendor whose variables are set. Fails with what is wrong; keys are never shown.
fn find(vars: &Vars<'_>) -> Result<Option<Preset>, String> {
    let mut found = Vec::new();
    for vendor in [logfire, langfuse, phoenix, honeycomb] {
        found.extend(vendor(vars)?);
    }
    if let [(_, first), (_, second), ..] = &found[..] {
        return Err(format!(
            "{first} and {second} are both set, expected one vendor; unset one of them, or set \
             OTEL_EXPORTER_OTLP_ENDPOINT to say where telemetry goes"
        ));
    }
    Ok(found.pop().map(|(preset, _)| preset))
}

/// A preset and the variable that asked for it.
type Found = Result<Option<(Preset, &'static str)>, String>;

fn preset(vendor: &'static str, endpoint: String) -> Preset {
    Preset {
        vendor,
        endpoint,
        protocol: Protocol::HttpProtobuf,
        headers: Headers::default(),
        traces_only: false,
        both_protocols: false,
        metrics_off: None,
    }
}

impl Preset {
    /// Adds a header whose value comes from `variable`.
    fn with(mut self, name: &str, value: &str, variable: &str) -> Result<Self, String> {
        check_header(name, value).map_err(|why| format!("{variable} cannot be sent: {why}"))?;
        self.headers.push(name, value);
        Ok(self)
    }
}

/// The URL in the first of the variables that is set, without the path that we append ourselves.
fn url(vars: &Vars<'_>, variables: &[&str], default: &str) -> Result<String, String> {
    for variable in variables {
        if let Some(url) = vars.text(variable) {
            let url = parse_url(&url, Protocol::HttpProtobuf, false)
                .map_err(|error| format!("{variable}: {error}"))?;
            let url = url.trim_end_matches('/');
            return Ok(url.strip_suffix(Signal::Traces.path()).unwrap_or(url).to_owned());
        }
    }
    Ok(default.to_owned())
}

fn logfire(vars: &Vars<'_>) -> Found {
    const NAMES: [&str; 2] = ["LOGFIRE_TOKEN", "LOGFIRE_WRITE_TOKEN"];
    let (name, token) = match NAMES.map(|name| vars.text(name)) {
        [None, None] => return Ok(None),
        [Some(one), Some(other)] if one != other => {
            return Err(format!("{} and {} differ; unset one of them", NAMES[0], NAMES[1]));
        }
        [Some(token), _] => (NAMES[0], token),
        [None, Some(token)] => (NAMES[1], token),
    };
    let region = if token.starts_with("pylf_v1_eu_") { "eu" } else { "us" };
    let default = format!("https://logfire-{region}.pydantic.dev");
    let preset = preset("Logfire", url(vars, &["LOGFIRE_BASE_URL"], &default)?);
    Ok(Some((preset.with("authorization", &token, name)?, name)))
}

fn langfuse(vars: &Vars<'_>) -> Found {
    const PUBLIC: &str = "LANGFUSE_PUBLIC_KEY";
    const SECRET: &str = "LANGFUSE_SECRET_KEY";
    let alone = |set: &str, missing: &str| {
        format!(
            "{set} is set without {missing}; set both to send to Langfuse, or neither, or \
             OTEL_EXPORTER_OTLP_ENDPOINT to send elsewhere"
        )
    };
    let (public, secret) = match (vars.text(PUBLIC), vars.text(SECRET)) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(alone(PUBLIC, SECRET)),
        (None, Some(_)) => return Err(alone(SECRET, PUBLIC)),
        (Some(public), Some(secret)) => (public, secret),
    };
    let base = url(vars, &["LANGFUSE_BASE_URL", "LANGFUSE_HOST"], "https://cloud.langfuse.com")?;
    let credentials = BASE64_STANDARD.encode(format!("{public}:{secret}"));
    let mut preset = preset("Langfuse", format!("{base}/api/public/otel"));
    preset.traces_only = true;
    Ok(Some((preset.with("authorization", &format!("Basic {credentials}"), SECRET)?, PUBLIC)))
}

fn phoenix(vars: &Vars<'_>) -> Found {
    const NAME: &str = "PHOENIX_COLLECTOR_ENDPOINT";
    const KEY: &str = "PHOENIX_API_KEY";
    // The key alone is also what Phoenix's own clients for reading need; it says nothing about a destination.
    if vars.text(NAME).is_none() {
        return Ok(None);
    }
    let mut preset = preset("Phoenix", url(vars, &[NAME], "")?);
    let port = preset.endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.port_u16());
    if port == Some(4317) {
        preset.protocol = Protocol::Grpc;
    }
    preset.traces_only = true;
    preset.both_protocols = true;
    if let Some(key) = vars.text(KEY) {
        preset = preset.with("authorization", &format!("Bearer {key}"), KEY)?;
    }
    Ok(Some((preset, NAME)))
}

fn honeycomb(vars: &Vars<'_>) -> Found {
    const NAME: &str = "HONEYCOMB_API_KEY";
    const DATASET: &str = "HONEYCOMB_DATASET";
    let Some(key) = vars.text(NAME) else { return Ok(None) };
    let mut preset = preset("Honeycomb", url(vars, &["HONEYCOMB_API_ENDPOINT"], "https://api.honeycomb.io")?);
    preset.both_protocols = true;
    preset = preset.with("x-honeycomb-team", &key, NAME)?;
    if let Some(dataset) = vars.text(DATASET) {
        preset = preset.with("x-honeycomb-dataset", &dataset, DATASET)?;
    }
    Ok(Some((preset, NAME)))
}
