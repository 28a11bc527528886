//! What is not seen from outside; the rest is in `tests/api_http.rs`.

use super::metrics::{Sample, text};

#[test]
fn metrics_are_prometheus_text() {
    let samples = [
        Sample::counter("refused_total", "Refused\nrequests", 1.0).label("reason", "a \"b\"\\\n"),
        Sample::gauge("size.bytes", "Size", f64::INFINITY),
        Sample::counter("refused_total", "", 2.5).label("reason", "x").label("signal", "traces"),
    ];
    let expected = "# HELP refused_total Refused\\nrequests\n# TYPE refused_total counter\n\
        refused_total{reason=\"a \\\"b\\\"\\\\\\n\"} 1\nrefused_total{reason=\"x\",signal=\"traces\"} 2.5\n\
        # HELP size_bytes Size\n# TYPE size_bytes gauge\nsize_bytes +Inf\n";
    assert_eq!(text(&samples), expected);
}
