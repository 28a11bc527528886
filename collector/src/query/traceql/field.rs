//! What a query can ask a span for: attributes by scope, and intrinsics.

use std::fmt;

/// Where an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the scopes of the language")]
pub enum Scope {
    /// `.key`: of the span, else of its resource.
    Any,
    /// `span.key`
    Span,
    /// `resource.key`
    Resource,
    /// `event.key`: of any event of the span.
    Event,
    /// `link.key`: of any link of the span.
    Link,
    /// `instrumentation.key`: of the instrumentation scope.
    Instrumentation,
    /// `parent.key`: of the parent span.
    Parent,
    /// `parent.span.key`
    ParentSpan,
    /// `parent.resource.key`
    ParentResource,
}

/// How each is written before the key.
const SCOPES: [(&str, Scope); 9] = [
    ("", Scope::Any),
    ("span", Scope::Span),
    ("resource", Scope::Resource),
    ("event", Scope::Event),
    ("link", Scope::Link),
    ("instrumentation", Scope::Instrumentation),
    ("parent", Scope::Parent),
    ("parent.span", Scope::ParentSpan),
    ("parent.resource", Scope::ParentResource),
];

impl Scope {
    /// What is written before the point.
    pub(super) fn text(self) -> &'static str {
        SCOPES.iter().find(|(_, scope)| *scope == self).map_or("", |(text, _)| text)
    }

    pub(super) fn named(text: &str) -> Option<Self> {
        SCOPES.iter().find(|(known, _)| *known == text).map(|(_, scope)| *scope)
    }
}

/// What a span has of itself or of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the language")]
pub enum Intrinsic {
    Name,
    Duration,
    Status,
    StatusMessage,
    Kind,
    TraceId,
    SpanId,
    ParentId,
    ChildCount,
    Parent,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    RootName,
    RootServiceName,
    TraceDuration,
    EventName,
    EventTimeSinceStart,
    LinkTraceId,
    LinkSpanId,
    ScopeName,
    ScopeVersion,
}

/// How each is written: first the spelling that is used to show it.
pub(super) const INTRINSICS: &[(&str, Intrinsic)] = &[
    ("name", Intrinsic::Name),
    ("span:name", Intrinsic::Name),
    ("duration", Intrinsic::Duration),
    ("span:duration", Intrinsic::Duration),
    ("status", Intrinsic::Status),
    ("span:status", Intrinsic::Status),
    ("statusMessage", Intrinsic::StatusMessage),
    ("span:statusMessage", Intrinsic::StatusMessage),
    ("kind", Intrinsic::Kind),
    ("span:kind", Intrinsic::Kind),
    ("trace:id", Intrinsic::TraceId),
    ("span:id", Intrinsic::SpanId),
    ("span:parentID", Intrinsic::ParentId),
    ("span:childCount", Intrinsic::ChildCount),
    ("parent", Intrinsic::Parent),
    ("nestedSetLeft", Intrinsic::NestedSetLeft),
    ("nestedSetRight", Intrinsic::NestedSetRight),
    ("nestedSetParent", Intrinsic::NestedSetParent),
    ("rootName", Intrinsic::RootName),
    ("trace:rootName", Intrinsic::RootName),
    ("rootServiceName", Intrinsic::RootServiceName),
    ("trace:rootService", Intrinsic::RootServiceName),
    ("traceDuration", Intrinsic::TraceDuration),
    ("trace:duration", Intrinsic::TraceDuration),
    ("event:name", Intrinsic::EventName),
    ("event:timeSinceStart", Intrinsic::EventTimeSinceStart),
    ("link:traceID", Intrinsic::LinkTraceId),
    ("link:spanID", Intrinsic::LinkSpanId),
    ("instrumentation:name", Intrinsic::ScopeName),
    ("instrumentation:version", Intrinsic::ScopeVersion),
];

/// The names of all intrinsics, each way that they are written.
pub(crate) fn intrinsic_names() -> impl Iterator<Item = &'static str> {
    INTRINSICS.iter().map(|(name, _)| *name)
}

/// What is compared: an attribute, or what every span has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third kind")]
pub enum Field {
    /// An attribute.
    Attribute {
        /// Where it is.
        scope: Scope,
        /// Its key.
        key: String,
    },
    /// What every span has.
    Intrinsic(Intrinsic),
}

impl Field {
    pub(super) fn intrinsic(name: &str) -> Option<Self> {
        INTRINSICS.iter().find(|(known, _)| *known == name).map(|(_, intrinsic)| Self::Intrinsic(*intrinsic))
    }

    /// Whether a span answers it without the other spans of its trace.
    pub const fn is_of_one_span(&self) -> bool {
        !matches!(
            self,
            Self::Attribute { scope: Scope::Parent | Scope::ParentSpan | Scope::ParentResource, .. }
                | Self::Intrinsic(
                    Intrinsic::ChildCount
                        | Intrinsic::Parent
                        | Intrinsic::NestedSetLeft
                        | Intrinsic::NestedSetRight
                        | Intrinsic::NestedSetParent
                        | Intrinsic::RootName
                        | Intrinsic::RootServiceName
                        | Intrinsic::TraceDuration
                )
        )
    }

    /// Whether it is an empty text for spans that lack it, as Tempo keeps these.
    pub(crate) fn is_always_text(&self) -> bool {
        match self {
            Self::Attribute { scope, key } => {
                matches!(scope, Scope::Any | Scope::Resource) && key == "service.name"
            }
            Self::Intrinsic(intrinsic) => matches!(
                intrinsic,
                Intrinsic::StatusMessage
                    | Intrinsic::ParentId
                    | Intrinsic::ScopeName
                    | Intrinsic::ScopeVersion
            ),
        }
    }

    /// How many hex digits it has, if it is an id.
    pub(super) const fn id_digits(&self) -> Option<usize> {
        match self {
            Self::Intrinsic(Intrinsic::TraceId | Intrinsic::LinkTraceId) => Some(32),
            Self::Intrinsic(Intrinsic::SpanId | Intrinsic::ParentId | Intrinsic::LinkSpanId) => Some(16),
            _ => None,
        }
    }

    /// Whether it is a time that is counted in nanoseconds.
    pub(crate) const fn is_duration(&self) -> bool {
        matches!(
            self,
            Self::Intrinsic(Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart)
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intrinsic(intrinsic) => {
                let name =
                    INTRINSICS.iter().find(|(_, known)| known == intrinsic).map_or("", |(name, _)| name);
                f.write_str(name)
            }
            Self::Attribute { scope, key } => {
                write!(f, "{}.", scope.text())?;
                // A digit after the point would begin a number, and a scope after `parent.` would be one.
                let begins_else = match scope {
                    Scope::Any => key.starts_with(|c: char| c.is_ascii_digit()),
                    Scope::Parent => ["span.", "resource."].iter().any(|scope| key.starts_with(scope)),
                    _ => false,
                };
                let plain = !key.is_empty() && key.chars().all(super::lexer::in_key) && !begins_else;
                if plain { f.write_str(key) } else { write!(f, "\"{}\"", escaped(key)) }
            }
        }
    }
}

/// A key as it is between quotes, where only two characters can be escaped.
fn escaped(key: &str) -> String {
    key.replace('\\', "\\\\").replace('"', "\\\"")
}
