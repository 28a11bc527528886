//! Puts the parts together.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{IdGenerator, SdkTracerProvider, SpanExporter, SpanLimits};
use tracing::{Level, Metadata};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::health::{DEFAULT_HEALTH_INTERVAL, Watcher};
use super::parts::HealthParts;
use super::pricing::{Guarded, SpanCost};
use super::{COLLECT_TIMEOUT, SCOPE, Telemetry, Worker, observables};
use crate::config::{Config, ContentCapture, ExporterKind, Histograms, Protocol, SamplerConfig};
use crate::cost::{Ledger, PriceTable, Prices, Pricing};
use crate::export::{BeforeCollect, ExportStats, Observer, Pipeline, PipelineParts, Redactor};
use crate::health::Exemplars;
use crate::instruments::{self, Instruments};
use crate::layer::{self, Shared};
use crate::sampling::HeadSampler;
use crate::views::{MAX_SERIES, Totals, Views};
use crate::{Clock, Error};

/// How many operations can be going on at once by default. About 300 bytes each.
pub const DEFAULT_MAX_OPEN_OPERATIONS: usize = 131_072;

/// Targets whose spans describe the work of HTTP stacks, not of agents.
const NOISY_TARGETS: &[&str] =
    &["h2", "hyper", "hyper_util", "tonic", "tower", "reqwest", "rustls", "opentelemetry"];

/// Configures telemetry. Everything that is not set here comes from the `OTEL_*` variables, and everything that is
/// in neither has a documented default: see [`Config`].
#[derive(Default)]
#[must_use]
pub struct Builder {
    config: Option<Config>,
    changes: Vec<Change>,
    parts: PipelineParts,
    pricing: Option<Arc<dyn Pricing>>,
    clock: Option<Clock>,
    ids: Option<Ids>,
    max_open: Option<usize>,
    level: Option<Level>,
    console: bool,
    pub(super) health: HealthParts,
}

/// Sets where ids come from.
type Ids = Box<
    dyn FnOnce(
            opentelemetry_sdk::trace::TracerProviderBuilder,
        ) -> opentelemetry_sdk::trace::TracerProviderBuilder
        + Send,
>;

type Change = Box<dyn FnOnce(Config) -> Result<Config, Error> + Send>;

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Takes this configuration instead of the `OTEL_*` variables.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    fn change(mut self, change: impl FnOnce(Config) -> Config + Send + 'static) -> Self {
        self.changes.push(Box::new(|config| Ok(change(config))));
        self
    }

    /// The service's name; beats `OTEL_SERVICE_NAME`.
    pub fn service_name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.change(|config| config.with_service_name(name))
    }

    /// An attribute of everything that this process sends.
    pub fn resource_attribute(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        self.change(|config| config.with_resource_attribute(key, value))
    }

    /// Where to send: `http://host:4317` for gRPC, `http://host:4318` for HTTP.
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.change(|config| config.with_endpoint(url))
    }

    /// gRPC or HTTP with protobuf.
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.change(move |config| config.with_protocol(protocol))
    }

    /// A header of every request, e.g. a token.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.change(|config| config.with_header(name, value))
    }

    /// Which traces are kept. Metrics and cost come from every operation, kept or not.
    pub fn sampler(self, sampler: SamplerConfig) -> Self {
        self.change(|config| config.with_sampler(sampler))
    }

    /// Exponential histograms (the default) or the explicit buckets of the conventions.
    pub fn histograms(self, histograms: Histograms) -> Self {
        self.change(move |config| config.with_histograms(histograms))
    }

    /// Whether message content may leave the process. Off by default.
    pub fn content(self, content: ContentCapture) -> Self {
        self.change(move |config| config.with_content(content))
    }

    /// How often metrics are collected and sent.
    pub fn metric_interval(self, interval: Duration) -> Self {
        self.change(move |config| config.with_metric_interval(interval))
    }

    /// How long a span waits for others before it is sent.
    pub fn batch_delay(self, delay: Duration) -> Self {
        self.change(move |mut config| {
            config.batch.schedule_delay = delay;
            config
        })
    }

    /// Lets a field of your spans become an attribute of the metrics (at most
    /// [`Config::MAX_METRIC_ATTRIBUTES`]). It must be of low cardinality.
    pub fn metric_attribute(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.changes.push(Box::new(|config| config.with_metric_attribute(key)));
        self
    }

    /// Sends nothing anywhere: spans and metrics are only there for observers and in-process readers.
    pub fn without_export(self) -> Self {
        self.change(|config| config.with_exporters(ExporterKind::None, ExporterKind::None))
    }

    /// Whether a span is the current context of OpenTelemetry's own API while it is entered (the default), which
    /// libraries instrumented without `tracing` need to find their parent.
    pub fn context_activation(self, active: bool) -> Self {
        self.change(move |mut config| {
            config.context_activation = active;
            config
        })
    }

    /// Asks this for prices instead of the built-in table. If it panics, the price is unknown.
    ///
    /// ```
    /// use agentvitals::cost::{ModelPrice, PriceTable, Prices};
    /// # fn main() -> Result<(), agentvitals::Error> {
    /// let own = PriceTable::new().with(ModelPrice::new("our-llama", 0.2, 0.6))?;
    /// let builder = agentvitals::builder().pricing(Prices::none().then(own).then(Prices::default()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn pricing(mut self, pricing: impl Pricing + 'static) -> Self {
        self.pricing = Some(Arc::new(pricing));
        self
    }

    /// Changes text values before they leave the process: `f` gets key and value and returns the replacement, or
    /// `None` to leave the value. If it panics, the value is replaced.
    pub fn redact(mut self, f: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        let redactor: Redactor = Arc::new(f);
        self.parts = self.parts.with_redactor(redactor);
        self
    }

    /// Sends spans to this exporter instead of the configured one.
    pub fn span_exporter(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.parts = self.parts.with_span_exporter(exporter);
        self
    }

    /// Sends metrics to this exporter instead of the configured one.
    pub fn metric_exporter(mut self, exporter: impl PushMetricExporter) -> Self {
        self.parts = self.parts.with_metric_exporter(exporter);
        self
    }

    /// Shows each collection of metrics to `observer`: the same aggregates that are exported.
    pub fn observe_metrics(mut self, observer: Observer) -> Self {
        self.parts = self.parts.with_observer(observer);
        self
    }

    /// The clock that durations come from, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Where trace and span ids come from, for tests.
    pub fn id_generator(mut self, ids: impl IdGenerator + 'static) -> Self {
        self.ids = Some(Box::new(|builder| builder.with_id_generator(ids)));
        self
    }

    /// How many operations can be going on at once ([`DEFAULT_MAX_OPEN_OPERATIONS`]); further ones are counted and not
    /// measured.
    pub fn max_open_operations(mut self, limit: usize) -> Self {
        self.max_open = Some(limit);
        self
    }

    /// The least severe level of spans and events that [`install`](Self::install) records: `INFO` by default. GenAI
    /// spans are recorded at every level.
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Whether [`install`](Self::install) also prints events to standard error, as `RUST_LOG` says. Off by default.
    pub fn console(mut self, console: bool) -> Self {
        self.console = console;
        self
    }

    /// Starts telemetry and makes it the global subscriber.
    ///
    /// # Errors
    /// As [`build`](Self::build), and if a global subscriber is installed already ([`Error::is_install`]).
    pub fn install(self) -> Result<Telemetry, Error> {
        let (level, console) = (self.level.unwrap_or(Level::INFO), self.console);
        let telemetry = self.build()?;
        let console = console.then(|| {
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_filter(tracing_subscriber::EnvFilter::from_default_env())
        });
        let registry = tracing_subscriber::registry()
            .with(filter_fn(move |metadata| is_wanted(metadata, level)))
            .with(telemetry.layer())
            .with(console);
        registry.try_init().map_err(|error| {
            Error::install(format!(
                "{error}; use build() and add telemetry.layer() to the subscriber that is there"
            ))
        })?;
        for warning in &telemetry.config.warnings {
            tracing::warn!(target: "agentvitals", "{warning}");
        }
        Ok(telemetry)
    }

    /// Starts telemetry without anything global.
    ///
    /// # Errors
    /// A setting or variable that cannot be honoured ([`Error::is_config`]), or an exporter that cannot be built
    /// ([`Error::is_export`]).
    pub fn build(self) -> Result<Telemetry, Error> {
        let mut config = match self.config {
            Some(config) => config,
            None => Config::read_env()?,
        };
        for change in self.changes {
            config = change(config)?;
        }
        let mut parts = self.parts;
        if config.disabled {
            config = config
                .with_exporters(ExporterKind::None, ExporterKind::None)
                .with_sampler(SamplerConfig::always_off());
            parts = PipelineParts::new();
        }
        let clock = self.clock.unwrap_or_else(Clock::system);
        let pricing = match self.pricing {
            Some(pricing) => Arc::new(Guarded(pricing)),
            None => default_pricing(&config)?,
        };
        let resource = resource(&config);
        let stats = Arc::new(ExportStats::default());
        // The pipeline has to be there before the instruments, whose operations it has measured before it collects.
        let shared: Arc<OnceLock<Weak<Shared>>> = Arc::default();
        let before_collect = measuring(&shared);
        let totals = Arc::new(Totals::new(SCOPE, config.series_limit));
        let (views, exemplars) = (Arc::new(Views::new(MAX_SERIES)), Arc::new(Exemplars::default()));
        let parts = observed(parts, &totals, &views, &exemplars, &clock)
            .with_stats(stats.clone())
            .with_cost(Arc::new(SpanCost::new(pricing.clone())))
            .with_before_collect(before_collect);
        let pipeline = Pipeline::start(&config, resource.clone(), parts)?;
        let (budgets, prober, interval) =
            (self.health.budgets.clone(), self.health.prober.clone(), self.health.interval);
        let examiner = self.health.start(views.clone(), exemplars, clock.clone())?;
        let tracer_provider = tracer_provider(&config, resource.clone(), &pipeline, self.ids)?;
        let meter_provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(pipeline.reader())
            .with_view(instruments::view(config.histograms, config.series_limit))
            .build();
        let scope = InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
        let meter = meter_provider.meter_with_scope(scope);
        let ledger = Ledger::new(&meter, pricing.clone(), clock.clone(), config.series_limit, budgets);
        let extra = &config.metric_attributes;
        let instruments =
            Arc::new(Instruments::new(&meter, ledger.clone(), clock.clone(), extra, config.series_limit));
        let measured = Arc::new(Shared::new(
            clock.clone(),
            instruments.clone(),
            extra,
            self.max_open.unwrap_or(DEFAULT_MAX_OPEN_OPERATIONS),
            config.content != ContentCapture::Off,
        ));
        let _ = shared.set(Arc::downgrade(&measured));
        observables::register(&meter, &stats, &measured, &instruments, clock.wall());
        observables::register_health(&meter, &examiner);
        if let Some(prober) = prober {
            prober.show(&meter);
        }
        let worker = Worker::start(&measured, move || pricing.warm_up())?;
        let interval = interval.unwrap_or(DEFAULT_HEALTH_INTERVAL);
        let watcher = Watcher::start(examiner.clone(), interval, pipeline.collector(COLLECT_TIMEOUT))?;
        Ok(Telemetry {
            config,
            started_ns: clock.now_ns(),
            clock,
            shared: measured,
            instruments,
            ledger,
            totals,
            views,
            examiner,
            _watcher: watcher,
            tracer_provider,
            meter_provider,
            _worker: worker,
            pipeline,
        })
    }
}

/// Shows collections and spans to who reads them in the process.
fn observed(
    parts: PipelineParts,
    totals: &Arc<Totals>,
    views: &Arc<Views>,
    exemplars: &Arc<Exemplars>,
    clock: &Clock,
) -> PipelineParts {
    let (counted, viewed, time) = (totals.clone(), views.clone(), clock.clone());
    let noted = exemplars.clone();
    parts
        .with_observer(Arc::new(move |metrics| {
            counted.observe(metrics);
            viewed.observe(metrics, time.wall());
        }))
        .with_span_observer(Arc::new(move |span| noted.note(span)))
}

fn tracer_provider(
    config: &Config,
    resource: Resource,
    pipeline: &Pipeline,
    ids: Option<Ids>,
) -> Result<SdkTracerProvider, Error> {
    let builder = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(HeadSampler::new(&config.sampler)?)
        .with_span_limits(span_limits(config))
        .with_span_processor(pipeline.processor());
    Ok(match ids {
        Some(ids) => ids(builder).build(),
        None => builder.build(),
    })
}

/// Measures what has finished before metrics are collected.
fn measuring(shared: &Arc<OnceLock<Weak<Shared>>>) -> BeforeCollect {
    let shared = shared.clone();
    Arc::new(move || {
        if let Some(shared) = shared.get().and_then(Weak::upgrade) {
            shared.sweep();
            // Twice: the runs that ended last are closed in the second round, when all their calls are in.
            shared.settle();
            shared.settle();
        }
    })
}

/// The user's own table first, then what is built in.
fn default_pricing(config: &Config) -> Result<Arc<dyn Pricing>, Error> {
    Ok(match &config.prices {
        Some(path) => {
            Arc::new(Prices::none().then(PriceTable::from_toml_file(path)?).then(Prices::default()))
        }
        None => Arc::new(Prices::default()),
    })
}

fn resource(config: &Config) -> Resource {
    let attributes =
        config.resource_attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let builder = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(crate::semconv::resource::DISTRO.map(|(key, value)| KeyValue::new(key, value)))
        .with_attributes(attributes);
    match &config.service_name {
        Some(name) => builder.with_service_name(name.clone()).build(),
        None if config
            .resource_attributes
            .iter()
            .any(|(key, _)| key == crate::semconv::resource::SERVICE_NAME) =>
        {
            builder.build()
        }
        None => builder.with_service_name(unknown_service()).build(),
    }
}

/// The name that the resource conventions give a service without one.
fn unknown_service() -> String {
    let executable = std::env::current_exe().ok();
    match executable.as_deref().and_then(std::path::Path::file_stem) {
        Some(name) => format!("unknown_service:{}", name.to_string_lossy()),
        None => "unknown_service".to_owned(),
    }
}

fn span_limits(config: &Config) -> SpanLimits {
    let limit = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut limits = SpanLimits::default();
    limits.max_attributes_per_span = limit(config.limits.attributes);
    limits.max_events_per_span = limit(config.limits.events);
    limits.max_links_per_span = limit(config.limits.links);
    limits.max_attributes_per_event = limit(config.limits.event_attributes);
    limits.max_attributes_per_link = limit(config.limits.link_attributes);
    limits
}

fn is_wanted(metadata: &Metadata<'_>, level: Level) -> bool {
    if metadata.is_span() && layer::declares_operation(metadata) {
        return true;
    }
    let target = metadata.target();
    let noisy = NOISY_TARGETS.iter().any(|noisy| {
        target.strip_prefix(noisy).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    *metadata.level() <= if noisy { Level::WARN.min(level) } else { level }
}
