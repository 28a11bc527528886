use std::collections::BTreeMap;

use agentvitals::semconv::{attr, metric};
use agentvitals::testing::ReceivedSpan;
use serde_json::{Value, json};

use super::metrics::{MetricFigures, Point};
use super::spans::SpanFigures;
use super::{Sent, Style, Summary};

fn attributes(pairs: &[(&str, Value)]) -> BTreeMap<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn span(name: &str, pairs: &[(&str, Value)]) -> ReceivedSpan {
    let mut span = ReceivedSpan::default();
    name.clone_into(&mut span.name);
    span.attributes = attributes(pairs);
    span
}

fn chat(model: &str, rest: &[(&str, Value)]) -> ReceivedSpan {
    let fixed = [(attr::OPERATION_NAME, json!("chat")), (attr::REQUEST_MODEL, json!(model))];
    span("chat", &[&fixed, rest].concat())
}

/// One run that failed: an agent, a priced call, an unpriced one, one that was refused, a tool with an error.
fn spans() -> Vec<ReceivedSpan> {
    vec![
        span("agent_run", &[(attr::OUTCOME, json!("failure"))]),
        span(
            "invoke_agent a",
            &[(attr::OPERATION_NAME, json!("invoke_agent")), (attr::AGENT_NAME, json!("a"))],
        ),
        chat(
            "m",
            &[
                (attr::USAGE_INPUT_TOKENS, json!(100)),
                (attr::USAGE_OUTPUT_TOKENS, json!(10)),
                (attr::USAGE_CACHE_READ, json!(60)),
                (attr::USAGE_COST_AMOUNT, json!(0.000_25)),
            ],
        ),
        chat("ft:m", &[(attr::USAGE_INPUT_TOKENS, json!(7)), (attr::USAGE_OUTPUT_TOKENS, json!(3))]),
        chat("m", &[(attr::ERROR_TYPE, json!("rate_limit"))]),
        span(
            "execute_tool t",
            &[
                (attr::OPERATION_NAME, json!("execute_tool")),
                (attr::TOOL_NAME, json!("t")),
                (attr::ERROR_TYPE, json!("tool_error")),
            ],
        ),
        span("something else", &[]),
    ]
}

type Series = (&'static str, BTreeMap<String, Value>, Option<u64>, Option<f64>);

/// The metrics of the same run.
fn series() -> Vec<Series> {
    let one = |name, pairs: &[(&str, Value)], count, sum| (name, attributes(pairs), count, sum);
    vec![
        one(metric::INVOKE_AGENT_DURATION, &[(attr::AGENT_NAME, json!("a"))], Some(1), Some(0.5)),
        one(metric::TASKS, &[(attr::OUTCOME, json!("success"))], None, Some(1.0)),
        one(metric::TOKEN_DETAILS, &[(attr::TOKEN_DETAIL, json!("cache_read"))], None, Some(60.0)),
        one(metric::OPERATION_DURATION, &[(attr::REQUEST_MODEL, json!("m"))], Some(1), Some(0.1)),
        one(metric::OPERATION_DURATION, &[(attr::REQUEST_MODEL, json!("ft:m"))], Some(1), Some(0.1)),
        one(
            metric::OPERATION_DURATION,
            &[(attr::REQUEST_MODEL, json!("m")), (attr::ERROR_TYPE, json!("rate_limit"))],
            Some(1),
            Some(0.1),
        ),
        one(
            metric::EXECUTE_TOOL_DURATION,
            &[(attr::TOOL_NAME, json!("t")), (attr::ERROR_TYPE, json!("tool_error"))],
            Some(1),
            Some(0.1),
        ),
        one(metric::TOKEN_USAGE, &[(attr::TOKEN_TYPE, json!("input"))], Some(2), Some(107.0)),
        one(metric::TOKEN_USAGE, &[(attr::TOKEN_TYPE, json!("output"))], Some(2), Some(13.0)),
        one(metric::COST, &[], None, Some(250_000.0)),
        one(metric::COST_UNPRICED, &[], None, Some(1.0)),
    ]
}

fn summary(spans: &[ReceivedSpan], series: &[Series], sent: Sent) -> Summary {
    let points = series.iter().map(|(name, attributes, count, sum)| Point {
        name,
        attributes,
        count: *count,
        sum: *sum,
    });
    Summary::compare(&SpanFigures::of(spans), &MetricFigures::of(points), sent)
}

#[test]
fn the_document_has_the_figures_of_the_spans_and_nothing_else() {
    let summary = summary(&spans(), &series(), Sent::new(7, 0));
    assert_eq!(summary.disagreements(), &[] as &[String]);
    let expected = json!({
        "runs": 1,
        "spans": {"invoke_agent": 1, "chat": 3, "execute_tool": 1, "other": 2, "total": 7},
        "tokens": {"input": 107, "output": 13, "cache_read": 60},
        "errors": {"chat": 1, "execute_tool": 1},
        "outcomes": {"success": 0, "failure": 1, "unknown": 0},
        "cost_usd": 0.000_25,
        "cost_partial": true,
        "per_model": {
            "m": {"calls": 2, "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.000_25},
            "ft:m": {"calls": 1, "input_tokens": 7, "output_tokens": 3, "cost_usd": null},
        },
        "per_tool": {"t": {"calls": 1, "errors": 1}},
        "exported": 7,
        "lost": 0,
        "verified": true,
    });
    assert_eq!(serde_json::to_value(&summary).unwrap(), expected);
}

#[test]
fn every_single_difference_between_spans_and_metrics_is_seen() {
    for missing in 0..spans().len() {
        let mut spans = spans();
        let gone = spans.remove(missing);
        let summary = summary(&spans, &series(), Sent::new(7, 0));
        assert_eq!(summary.verified(), Some(false), "without the span {}", gone.name);
    }
    for missing in 0..series().len() {
        let mut series = series();
        let gone = series.remove(missing);
        let told = summary(&spans(), &series, Sent::new(7, 0));
        assert_eq!(told.verified(), Some(false), "without {gone:?}");
        assert!(told.disagreements().iter().any(|what| what.contains(gone.0)), "{:?}", told.disagreements());
    }
    for (n, (name, ..)) in series().iter().enumerate() {
        let mut series = series();
        series[n].3 = series[n].3.map(|sum| sum + 1.0);
        series[n].2 = series[n].2.map(|count| count + 1);
        assert_eq!(summary(&spans(), &series, Sent::new(7, 0)).verified(), Some(false), "{name} one more");
    }
    for (key, value) in [(attr::ERROR_TYPE, "timeout"), (attr::TOOL_NAME, "u")] {
        let mut series = series();
        series[6].1.insert(key.to_owned(), value.into());
        assert_eq!(summary(&spans(), &series, Sent::new(7, 0)).verified(), Some(false), "{key}");
    }
    assert_eq!(summary(&spans(), &series(), Sent::new(6, 0)).verified(), Some(false), "one less exported");
    assert_eq!(summary(&spans(), &series(), Sent::new(7, 1)).verified(), Some(false), "one lost");
}

#[test]
fn a_metric_over_its_limit_is_compared_by_its_total() {
    let mut series = series();
    series[6].1 = attributes(&[(attr::METRIC_OVERFLOW, json!(true))]);
    let told = summary(&spans(), &series, Sent::new(7, 0));
    assert_eq!(told.disagreements(), &[] as &[String]);
    series[6].2 = Some(2);
    assert_eq!(summary(&spans(), &series, Sent::new(7, 0)).verified(), Some(false));
}

#[test]
fn an_outcome_that_nobody_recorded_is_unknown() {
    let summary = summary(&[span("agent_run", &[])], &[], Sent::new(1, 0));
    assert_eq!(
        serde_json::to_value(&summary).unwrap()["outcomes"],
        json!({"success": 0, "failure": 0, "unknown": 1})
    );
}

#[test]
fn the_text_marks_what_is_partial_and_obeys_no_control_characters_of_names() {
    let mut spans = spans();
    spans.push(span(
        "x",
        &[(attr::OPERATION_NAME, json!("execute_tool")), (attr::TOOL_NAME, json!("evil\u{1b}[2J\ntool"))],
    ));
    let text = |style| {
        let mut out = Vec::new();
        summary(&spans, &series(), Sent::new(1_234_567, 0)).write_text(&mut out, style).unwrap();
        String::from_utf8(out).unwrap()
    };
    let plain = text(Style::Plain);
    assert!(plain.contains("1 runs: 0 succeeded, 1 failed, 0 unknown"), "{plain}");
    assert!(plain.contains("cost: $0.0003 (partial: some calls have no known price)"), "{plain}");
    assert!(plain.contains("unknown"), "{plain}");
    assert!(plain.contains("exported 1,234,567 spans"), "{plain}");
    assert!(plain.contains("NOT VERIFIED"), "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert!(text(Style::Colored).contains("\u{1b}[31mNOT VERIFIED\u{1b}[0m"));
}
