//! Which `traceparent` is a parent and which leaves the span a root.
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod support;

use agentvitals::agent_span;
use agentvitals::propagation::{extract, set_remote_parent};
use http::HeaderMap;
use opentelemetry::trace::TraceContextExt as _;
use support::Rig;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn headers(traceparent: &str) -> HeaderMap {
    HeaderMap::from_iter([("traceparent".parse().unwrap(), traceparent.parse().unwrap())])
}

fn meta(traceparent: &str) -> serde_json::Map<String, serde_json::Value> {
    serde_json::Map::from_iter([("traceparent".to_owned(), traceparent.into())])
}

/// Feature: L4
/// Behaviour: P27
#[test]
fn a_traceparent_of_another_shape_than_w3c_demands_is_no_parent() {
    for (traceparent, why) in [
        ("00-1-2-3".into(), "ids too short"),
        (format!("0-{TRACE}-{SPAN}-01"), "version too short"),
        (format!("000-{TRACE}-{SPAN}-01"), "version too long"),
        (format!("ff-{TRACE}-{SPAN}-01"), "version ff"),
        (format!("0g-{TRACE}-{SPAN}-01"), "version no hexadecimal number"),
        (format!("+0-{TRACE}-{SPAN}-01"), "version with a sign"),
        (format!("00-{}-{SPAN}-01", &TRACE[1..]), "trace id too short"),
        (format!("00-{TRACE}0-{SPAN}-01"), "trace id too long"),
        (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), "trace id in upper case"),
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), "trace id of zeros"),
        (format!("00-{}g-{SPAN}-01", &TRACE[1..]), "trace id no hexadecimal number"),
        (format!("00-+{}-{SPAN}-01", &TRACE[1..]), "trace id with a sign"),
        (format!("00-{TRACE}-{}-01", &SPAN[1..]), "span id too short"),
        (format!("00-{TRACE}-{SPAN}0-01"), "span id too long"),
        (format!("00-{TRACE}-{}-01", SPAN.to_uppercase()), "span id in upper case"),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), "span id of zeros"),
        (format!("00-{TRACE}-{SPAN}-1"), "flags too short"),
        (format!("00-{TRACE}-{SPAN}-001"), "flags too long"),
        (format!("00-{TRACE}-{SPAN}-0A"), "flags in upper case"),
        (format!("00-{TRACE}-{SPAN}-+1"), "flags with a sign"),
        (format!("00-{TRACE}-{SPAN}"), "no flags"),
        (format!("00-{TRACE}-{SPAN}-01-"), "version 00 with something behind it"),
        (format!("00-{TRACE}-{SPAN}-01-what"), "version 00 with a fifth part"),
        (format!("01-{TRACE}-{SPAN}-01what"), "flags that do not end"),
        (format!("00 {TRACE} {SPAN} 01"), "no dashes"),
        (String::new(), "nothing"),
    ] {
        for context in [extract(&headers(&traceparent)), extract(&meta(&traceparent))] {
            assert!(!context.span().span_context().is_valid(), "{why}: {traceparent:?}");
        }
    }
    let rig = Rig::new();
    rig.run(|| {
        let span = agent_span!("a");
        set_remote_parent(&span, extract(&headers("00-1-2-3"))).unwrap();
    });
    assert_eq!(rig.only_span().parent_span_id, None);
}

/// Feature: L4
/// Behaviour: P27
#[test]
fn a_traceparent_of_this_or_a_later_version_is_a_parent() {
    for (traceparent, sampled) in [
        (format!("00-{TRACE}-{SPAN}-01"), true),
        (format!("00-{TRACE}-{SPAN}-00"), false),
        (format!("00-{TRACE}-{SPAN}-ff"), true),
        (format!(" 00-{TRACE}-{SPAN}-01 "), true),
        (format!("01-{TRACE}-{SPAN}-01"), true),
        (format!("cc-{TRACE}-{SPAN}-01-what-will-come"), true),
    ] {
        for context in [extract(&headers(&traceparent)), extract(&meta(&traceparent))] {
            let span = context.span().span_context().clone();
            assert_eq!(
                (span.trace_id().to_string().as_str(), span.span_id().to_string().as_str()),
                (TRACE, SPAN),
                "{traceparent:?}"
            );
            assert!(span.is_remote() && span.is_sampled() == sampled, "{traceparent:?}");
        }
    }
}
