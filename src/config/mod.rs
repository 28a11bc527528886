//! Every setting, its default, and where it comes from.
//!
//! A setting is either honoured or refused with an [`Error`] that names it, its value and the remedy; none is
//! ignored in silence. What is accepted without an effect (yet) is told in [`Config::warnings`].

mod destination;
mod env;
mod presets;
mod types;

use std::path::PathBuf;
use std::time::Duration;

pub use destination::{Compression, Destination, Headers, OtlpSettings, Protocol, Signal};
pub use presets::Preset;
pub use types::{
    BatchConfig, ContentCapture, ExporterKind, Histograms, Limits, Propagators, Rule, SamplerConfig,
    SamplerRoot, TemporalityPreference,
};

use crate::Error;

/// Everything that can be set. [`Config::default`] is a working configuration, [`Config::from_env`] is the
/// same with the environment applied.
///
/// ```
/// use std::time::Duration;
/// let config = agentvitals::Config::default()
///     .with_service_name("support-bot")
///     .with_endpoint("http://127.0.0.1:4318")
///     .with_metric_interval(Duration::from_secs(10));
/// assert_eq!(config.destination(agentvitals::Signal::Traces)?.url, "http://127.0.0.1:4318/v1/traces");
/// # Ok::<(), agentvitals::Error>(())
/// ```
///
/// # Vendors
///
/// Where no endpoint is set, by `OTEL_EXPORTER_OTLP_*` or by code, the variables of a vendor's own tools say where
/// telemetry goes ([`Config::preset`]):
///
/// | vendor | variables | what is sent |
/// |---|---|---|
/// | Logfire | `LOGFIRE_TOKEN` or `LOGFIRE_WRITE_TOKEN` (its prefix tells the region), `LOGFIRE_BASE_URL` | traces, metrics |
/// | Langfuse | `LANGFUSE_PUBLIC_KEY` and `LANGFUSE_SECRET_KEY`, `LANGFUSE_BASE_URL` or `LANGFUSE_HOST` | traces |
/// | Phoenix | `PHOENIX_COLLECTOR_ENDPOINT`, `PHOENIX_API_KEY` | traces |
/// | Honeycomb | `HONEYCOMB_API_KEY`, `HONEYCOMB_API_ENDPOINT`, `HONEYCOMB_DATASET` | traces, metrics |
///
/// All over HTTP with protobuf (Phoenix over gRPC if the port is 4317). Where only traces are taken, metrics are not
/// exported, with a warning, unless `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` gives them a destination of their own. Two
/// vendors at once, or one key of Langfuse's two, is an error.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Nothing is recorded and nothing is exported (`OTEL_SDK_DISABLED`). Default: false.
    pub disabled: bool,
    /// `service.name` of the resource (`OTEL_SERVICE_NAME`, else `service.name` in
    /// `OTEL_RESOURCE_ATTRIBUTES`). Default: none, which the SDK makes `unknown_service`.
    pub service_name: Option<String>,
    /// Further attributes of the resource (`OTEL_RESOURCE_ATTRIBUTES`). Default: none.
    pub resource_attributes: Vec<(String, String)>,
    /// Where spans go (`OTEL_TRACES_EXPORTER`). Default: OTLP.
    pub traces_exporter: ExporterKind,
    /// Where metrics go (`OTEL_METRICS_EXPORTER`). Default: OTLP.
    pub metrics_exporter: ExporterKind,
    /// OTLP settings of both signals (`OTEL_EXPORTER_OTLP_*`).
    pub otlp: OtlpSettings,
    /// OTLP settings of spans alone (`OTEL_EXPORTER_OTLP_TRACES_*`); what is set here wins.
    pub otlp_traces: OtlpSettings,
    /// OTLP settings of metrics alone (`OTEL_EXPORTER_OTLP_METRICS_*`); what is set here wins.
    pub otlp_metrics: OtlpSettings,
    /// Sums since the start or since the last export
    /// (`OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`). Default: cumulative.
    pub temporality: TemporalityPreference,
    /// Shape of the histograms (`AGENTVITALS_HISTOGRAMS`, else
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`). Default: exponential.
    pub histograms: Histograms,
    /// Time between two exports of metrics (`OTEL_METRIC_EXPORT_INTERVAL`). Default:
    /// [`Config::METRIC_INTERVAL`].
    pub metric_interval: Duration,
    /// Longest time that one export of metrics may take, retries included (`OTEL_METRIC_EXPORT_TIMEOUT`).
    /// Default: [`Config::METRIC_TIMEOUT`].
    pub metric_timeout: Duration,
    /// Queue and batches of spans (`OTEL_BSP_*`).
    pub batch: BatchConfig,
    /// Limits on what a span holds (`OTEL_*_LIMIT`).
    pub limits: Limits,
    /// Which traces are kept (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`). Default: all, and what the
    /// parent decided.
    pub sampler: SamplerConfig,
    /// How context travels (`OTEL_PROPAGATORS`). Default: W3C trace context and baggage.
    pub propagators: Propagators,
    /// Whether message content leaves the process (`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`).
    /// Default: off.
    pub content: ContentCapture,
    /// The user's own price table, a file (`AGENTVITALS_PRICES`). Default: none.
    pub prices: Option<PathBuf>,
    /// Most series an instrument may have; what comes after goes to the overflow series and is counted.
    /// Default: [`Config::SERIES_LIMIT`].
    pub series_limit: usize,
    /// Span attributes that metrics carry too, beside those of the conventions; see
    /// [`with_metric_attribute`](Self::with_metric_attribute). Default: none.
    pub metric_attributes: Vec<String>,
    /// Whether an entered span is the current context of OpenTelemetry's own API: libraries that are instrumented
    /// without `tracing` find their parent there. Costs about 70 ns a span.
    pub context_activation: bool,
    /// What was accepted and has no effect, or not the whole; one sentence each. Show them to the user.
    pub warnings: Vec<String>,
    vendor: presets::Choice,
}

impl Config {
    /// Time between two exports of metrics: 60 s, as the specification has it.
    pub const METRIC_INTERVAL: Duration = Duration::from_secs(60);
    /// Longest time for one export of metrics: 30 s, as the specification has it.
    pub const METRIC_TIMEOUT: Duration = Duration::from_secs(30);
    /// Most series of an instrument: 2,000, as the specification has it.
    pub const SERIES_LIMIT: usize = 2_000;
    /// Most extra attributes on metrics: 4. Each multiplies the number of series.
    pub const MAX_METRIC_ATTRIBUTES: usize = 4;

    /// The defaults with the process environment applied.
    ///
    /// An empty variable counts as unset, as the specification has it.
    ///
    /// # Errors
    /// A variable whose value cannot be honoured, named with its value and what is expected.
    pub fn from_env() -> Result<Self, Error> {
        Self::read_env().and_then(Self::validated)
    }

    /// The defaults with variables from `get` applied: [`from_env`](Self::from_env) for tests and for
    /// programs that keep their settings elsewhere.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    ///
    /// ```
    /// use agentvitals::Config;
    /// let error = Config::from_vars(|name| (name == "OTEL_BSP_SCHEDULE_DELAY").then(|| "soon".to_owned()));
    /// assert!(error.unwrap_err().to_string().contains("OTEL_BSP_SCHEDULE_DELAY"));
    /// ```
    pub fn from_vars(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        env::from_vars(&get).and_then(Self::validated)
    }

    /// [`from_env`](Self::from_env) for who changes settings before they have to agree.
    pub(crate) fn read_env() -> Result<Self, Error> {
        env::from_env()
    }

    fn validated(self) -> Result<Self, Error> {
        self.validate().map(|()| self)
    }

    /// Sets the service's name.
    #[must_use]
    pub fn with_service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Adds an attribute of the resource.
    #[must_use]
    pub fn with_resource_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.resource_attributes.push((key.into(), value.into()));
        self
    }

    /// Sets the OTLP endpoint of both signals, e.g. `http://collector:4317`. Forgets endpoints of single
    /// signals, so that this one holds.
    #[must_use]
    pub fn with_endpoint(mut self, url: impl Into<String>) -> Self {
        self.forget_preset();
        self.otlp.endpoint = Some(url.into());
        self.otlp_traces.endpoint = None;
        self.otlp_metrics.endpoint = None;
        self
    }

    /// Sets the OTLP protocol of both signals.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.otlp.protocol = Some(protocol);
        self.otlp_traces.protocol = None;
        self.otlp_metrics.protocol = None;
        self
    }

    /// Adds a header to every OTLP request, e.g. an API key. Values are not printed by `Debug`.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.otlp.headers.get_or_insert_default().push(name, value);
        self
    }

    /// Sets where spans and metrics go.
    #[must_use]
    pub fn with_exporters(mut self, traces: ExporterKind, metrics: ExporterKind) -> Self {
        self.keep_exporters();
        self.traces_exporter = traces;
        self.metrics_exporter = metrics;
        self
    }

    /// Sets the shape of the histograms.
    #[must_use]
    pub fn with_histograms(mut self, histograms: Histograms) -> Self {
        self.histograms = histograms;
        self
    }

    /// Sets the time between two exports of metrics.
    #[must_use]
    pub fn with_metric_interval(mut self, interval: Duration) -> Self {
        self.metric_interval = interval;
        self
    }

    /// Sets queue and batches.
    #[must_use]
    pub fn with_batch(mut self, batch: BatchConfig) -> Self {
        self.batch = batch;
        self
    }

    /// Sets the limits on what a span holds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets which traces are kept.
    #[must_use]
    pub fn with_sampler(mut self, sampler: SamplerConfig) -> Self {
        self.sampler = sampler;
        self
    }

    /// Sets whether message content leaves the process.
    #[must_use]
    pub fn with_content(mut self, content: ContentCapture) -> Self {
        self.content = content;
        self
    }

    /// Lets metrics carry one more span attribute. Its values must be few: each combination is a series.
    ///
    /// # Errors
    /// More than [`MAX_METRIC_ATTRIBUTES`](Self::MAX_METRIC_ATTRIBUTES).
    pub fn with_metric_attribute(mut self, key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        if !self.metric_attributes.contains(&key) {
            if self.metric_attributes.len() == Self::MAX_METRIC_ATTRIBUTES {
                return Err(Error::config(format!(
                    "metric attribute {key:?} is one too many: at most {} may be added, because each multiplies the \
                     number of series",
                    Self::MAX_METRIC_ATTRIBUTES
                )));
            }
            self.metric_attributes.push(key);
        }
        Ok(self)
    }

    /// Where the requests of `signal` go, with everything resolved.
    ///
    /// # Errors
    /// Settings that contradict each other or an endpoint that is no URL.
    pub fn destination(&self, signal: Signal) -> Result<Destination, Error> {
        let own = match signal {
            Signal::Traces => &self.otlp_traces,
            Signal::Metrics => &self.otlp_metrics,
        };
        let (general, own) = self.with_preset(own, signal)?;
        destination::resolve(&general, &own, signal)
    }

    /// Checks what single setters cannot.
    ///
    /// # Errors
    /// The first setting that cannot be honoured.
    pub fn validate(&self) -> Result<(), Error> {
        self.batch.validate()?;
        self.limits.validate()?;
        self.sampler.validate()?;
        if self.metric_interval.is_zero() || self.metric_timeout.is_zero() {
            return Err(Error::config("metric interval and timeout must be longer than 0"));
        }
        if self.series_limit == 0 {
            return Err(Error::config("series limit is 0, expected at least 1"));
        }
        if self.traces_exporter == ExporterKind::Otlp {
            self.destination(Signal::Traces)?;
        }
        if self.metrics_exporter == ExporterKind::Otlp {
            self.destination(Signal::Metrics)?;
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            disabled: false,
            service_name: None,
            resource_attributes: Vec::new(),
            traces_exporter: ExporterKind::Otlp,
            metrics_exporter: ExporterKind::Otlp,
            otlp: OtlpSettings::default(),
            otlp_traces: OtlpSettings::default(),
            otlp_metrics: OtlpSettings::default(),
            temporality: TemporalityPreference::Cumulative,
            histograms: Histograms::Exponential,
            metric_interval: Self::METRIC_INTERVAL,
            metric_timeout: Self::METRIC_TIMEOUT,
            batch: BatchConfig::default(),
            limits: Limits::default(),
            sampler: SamplerConfig::default(),
            propagators: Propagators::default(),
            content: ContentCapture::Off,
            prices: None,
            series_limit: Self::SERIES_LIMIT,
            metric_attributes: Vec::new(),
            context_activation: true,
            warnings: Vec::new(),
            vendor: presets::Choice::None,
        }
    }
}
