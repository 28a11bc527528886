//! A telemetry of its own for each test: captured, with a manual clock, without anything global.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use std::future::Future;
use std::time::{Duration, Instant};

use agentvitals::testing::{
    Capture, DeterministicIds, MetricCapture, PointKind, ReceivedPoint, ReceivedSpan,
};
use agentvitals::{Builder, Clock, Config, ManualClock, Telemetry};
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

/// Nothing here takes longer, unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) vitals: Telemetry,
    pub(crate) dispatch: Dispatch,
    pub(crate) hand: ManualClock,
    capture: Capture,
    metrics: MetricCapture,
}

impl Rig {
    /// `layer()` on a bare registry.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(Builder) -> Builder) -> Self {
        Self::composed(configure, |vitals, _| {
            Dispatch::new(tracing_subscriber::registry().with(vitals.layer()))
        })
    }

    /// A subscriber of the test's own making; the capture is for OpenTelemetry layers of its own.
    pub(crate) fn composed(
        configure: impl FnOnce(Builder) -> Builder,
        compose: impl FnOnce(&Telemetry, &Capture) -> Dispatch,
    ) -> Self {
        let (capture, metrics) = (Capture::new(), MetricCapture::new());
        let (clock, hand) = Clock::manual();
        let builder = agentvitals::builder()
            .config(Config::default())
            .service_name("test")
            .clock(clock)
            .id_generator(DeterministicIds::new())
            .span_exporter(capture.clone())
            .metric_exporter(metrics.clone());
        let vitals = configure(builder).build().unwrap();
        let dispatch = compose(&vitals, &capture);
        Self { vitals, dispatch, hand, capture, metrics }
    }

    /// Runs `f` on this thread with the subscriber.
    pub(crate) fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, f)
    }

    /// Runs a future on a current-thread runtime with the subscriber.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        self.run(|| runtime.block_on(future))
    }

    /// Runs a future on a runtime of several threads, each with the subscriber.
    pub(crate) fn block_on_threads<F: Future>(&self, future: F) -> F::Output {
        let dispatch = self.dispatch.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
            .enable_all()
            .build()
            .unwrap();
        self.run(|| runtime.block_on(future))
    }

    pub(crate) fn advance(&self, milliseconds: u64) {
        self.hand.advance(Duration::from_millis(milliseconds));
    }

    /// Everything that has ended is with the captures when this returns.
    pub(crate) fn flush(&self) {
        self.vitals.flush_blocking(DEADLINE).unwrap();
    }

    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        self.flush();
        self.capture.spans()
    }

    /// The one span that there is.
    #[track_caller]
    pub(crate) fn only_span(&self) -> ReceivedSpan {
        let mut spans = self.spans();
        assert_eq!(spans.len(), 1, "{:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
        spans.remove(0)
    }

    pub(crate) fn span(&self, name: &str) -> ReceivedSpan {
        agentvitals::testing::find_span(&self.spans(), name).clone()
    }

    /// All points of a metric.
    pub(crate) fn points(&self, name: &str) -> Vec<ReceivedPoint> {
        self.flush();
        self.metrics.metric(name)
    }

    pub(crate) fn all_points(&self) -> Vec<ReceivedPoint> {
        self.flush();
        self.metrics.metrics()
    }

    /// The points of a metric as lines: attributes, then count and sum, or the value.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let mut lines: Vec<String> = self.points(name).iter().map(line).collect();
        lines.sort();
        lines
    }

    /// Measurements of a histogram over all series.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.points(name).iter().filter_map(ReceivedPoint::count).sum()
    }

    /// The sum of a counter or histogram over all series.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.points(name).iter().filter_map(ReceivedPoint::sum).sum()
    }
}

/// `key=value key=value: count 2 sum 3.5` or `key=value: 7`.
pub(crate) fn line(point: &ReceivedPoint) -> String {
    let attributes: Vec<String> = point
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={}", value.to_string().trim_matches('"')))
        .collect();
    let value = match &point.kind {
        PointKind::Sum { value, .. } | PointKind::Gauge { value, .. } => format!("{value}"),
        _ => format!("count {} sum {}", point.count().unwrap(), round(point.sum().unwrap())),
    };
    format!("{}: {value}", attributes.join(" "))
}

/// Sums of floats, without what their addition leaves behind the ninth digit.
fn round(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
