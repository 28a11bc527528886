//! The collector's own metrics as Prometheus text, version 0.0.4.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

/// The content type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a value means over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SampleKind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl SampleKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// One value of a metric, with the labels that tell it from the others of the same name.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by those who have metrics; Prometheus' format has no more"
)]
pub struct Sample {
    /// The metric's name; characters that Prometheus does not take become `_`.
    pub name: Cow<'static, str>,
    /// What it is, in one sentence. The first of a name counts.
    pub help: Cow<'static, str>,
    /// What it means over time. The first of a name counts.
    pub kind: SampleKind,
    /// Names and values of its labels.
    pub labels: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// Its value, in the unit that the name ends with.
    pub value: f64,
}

impl Sample {
    /// A counter without labels.
    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name: name.into(), help: help.into(), kind: SampleKind::Counter, labels: Vec::new(), value }
    }

    /// A gauge without labels.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { kind: SampleKind::Gauge, ..Self::counter(name, help, value) }
    }

    /// With one label more.
    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }
}

/// The text. The format wants all samples of a name together, whatever their order was.
pub(super) fn text(samples: &[Sample]) -> String {
    let mut families: Vec<Vec<&Sample>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for sample in samples {
        let place = *places.entry(&sample.name).or_insert_with(|| {
            families.push(Vec::new());
            families.len() - 1
        });
        families[place].push(sample);
    }
    let mut out = String::new();
    for family in families {
        let Some(first) = family.first() else { continue };
        let name = identifier(&first.name);
        let help = first.help.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", first.kind.name()).ok();
        for sample in family {
            out.push_str(&name);
            for (index, (label, value)) in sample.labels.iter().enumerate() {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let open = if index == 0 { '{' } else { ',' };
                write!(out, "{open}{}=\"{value}\"", identifier(label)).ok();
            }
            let close = if sample.labels.is_empty() { "" } else { "}" };
            writeln!(out, "{close} {}", number(sample.value)).ok();
        }
    }
    out
}

fn identifier(name: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    name.chars().map(good).collect()
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}
