//! Rules as people write them down.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::preset::Preset;
use super::rule::{Check, Rule};
use super::rules::Rules;
use super::signal::Signal;
use crate::Error;
use crate::health::Severity;
use crate::views::SubjectKind;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    preset: Option<String>,
    #[serde(default)]
    rule: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    of: Option<SubjectKind>,
    #[serde(default)]
    names: Vec<String>,
    signal: Signal,
    above: Option<Number>,
    at_least: Option<Number>,
    below: Option<Number>,
    spike: Option<f64>,
    floor: Option<Number>,
    objective: Option<Number>,
    burn_rate: Option<f64>,
    forecast: Option<String>,
    window: Option<String>,
    r#for: Option<String>,
    keep_firing_for: Option<String>,
    min_samples: Option<u64>,
    severity: Option<Severity>,
    group: Option<String>,
    action: Option<String>,
    summary: Option<String>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

impl Number {
    fn value(&self) -> Result<f64, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => {
                let number =
                    |text: &str| text.trim().parse::<f64>().map_err(|_| format!("{text:?} is no number"));
                match text.trim().strip_suffix('%') {
                    Some(percent) => Ok(number(percent)? / 100.0),
                    None => number(text),
                }
            }
        }
    }
}

impl Rules {
    /// Reads rules from TOML.
    ///
    /// `preset` ([`Preset`]) brings rules along; a `[[rule]]` of the same name takes the place of one of them, and with
    /// `enabled = false` takes it away. A rule has `name`, `signal` ([`Signal`]), one of `above`, `at_least`, `below`, `spike`
    /// (with `floor`), `burn_rate` (with `objective`), `forecast` (how far ahead, with `above`), and may have `of` (`agent`,
    /// `model`, `tool`, `workflow`, `operation`, `system`; the default is `agent`, or `system` for what is of the system),
    /// `names`, `window` (`5m`), `for`, `keep_firing_for`, `min_samples`, `severity`, `group`, `action`, `summary`. Shares are
    /// written as `0.1` or `"10%"`, times as `30s`, `5m`, `1h`.
    ///
    /// ```
    /// use agentvitals::alert::Rules;
    /// let rules = Rules::parse(r#"
    ///     preset = "production"
    ///
    ///     [[rule]]
    ///     name = "planner-errors"
    ///     of = "agent"
    ///     names = ["planner"]
    ///     signal = "error_rate"
    ///     objective = "99%"
    ///     burn_rate = 14.4
    ///     window = "1h"
    ///     severity = "critical"
    ///
    ///     [[rule]]
    ///     name = "p95-soon"
    ///     of = "model"
    ///     signal = "p95"
    ///     forecast = "1h"
    ///     above = 3.0
    /// "#)?;
    /// assert!(rules.iter().any(|rule| &*rule.name == "planner-errors"));
    /// let error = Rules::parse("[[rule]]\nname = \"e\"\nsignal = \"error_rate\"\nabove = 10\n").unwrap_err();
    /// assert!(error.to_string().contains("write \"10%\" or 0.1"), "{error}");
    /// # Ok::<(), agentvitals::Error>(())
    /// ```
    ///
    /// # Errors
    /// What cannot be read, an unknown key, a value that cannot be ([`Error::is_config`]); names it, and what is expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: File = toml::from_str(text)
            .map_err(|error| Error::config(format!("rules: {}", error.to_string().trim_end())))?;
        let preset = file.preset.as_deref().unwrap_or("host").parse::<Preset>()?;
        let mut rules = preset.rules();
        let mut own: Vec<Rule> = Vec::with_capacity(file.rule.len());
        for raw in file.rule {
            let name: Arc<str> = raw.name.as_str().into();
            if own.iter().any(|rule| rule.name == name) {
                return Err(Error::config(format!("rule {:?} is there twice", &*name)));
            }
            rules.retain(|rule| rule.name != name);
            if raw.enabled {
                own.push(raw.rule().map_err(|what| Error::config(format!("rule {:?}: {what}", &*name)))?);
            }
        }
        rules.extend(own);
        Self::new(rules)
    }
}

impl Raw {
    fn rule(self) -> Result<Rule, String> {
        let check = self.check()?;
        let of = self.of.unwrap_or_else(|| match self.signal.is_of_the_system() {
            true => SubjectKind::System,
            false => SubjectKind::Agent,
        });
        let mut rule = Rule::new(self.name, of, self.signal, check);
        rule.names = self.names.into_iter().map(Arc::from).collect();
        let set = |place: &mut Duration, field: &str, text: Option<String>| -> Result<(), String> {
            if let Some(text) = text {
                *place = duration(&text).ok_or_else(|| {
                    format!("{field}: {text:?} is no time; expected e.g. \"30s\", \"5m\" or \"1h\"")
                })?;
            }
            Ok(())
        };
        set(&mut rule.window, "window", self.window)?;
        set(&mut rule.hold, "for", self.r#for)?;
        set(&mut rule.keep_firing, "keep_firing_for", self.keep_firing_for)?;
        rule.min_samples = self.min_samples.unwrap_or(rule.min_samples);
        rule.severity = self.severity.unwrap_or(rule.severity);
        rule.group = self.group.map(Arc::from);
        rule.action = self.action.unwrap_or_default();
        rule.summary = self.summary.unwrap_or_default();
        Ok(rule)
    }

    fn check(&self) -> Result<Check, String> {
        let number = |field: &str, number: &Option<Number>| -> Result<Option<f64>, String> {
            number.as_ref().map(Number::value).transpose().map_err(|what| format!("{field}: {what}"))
        };
        let (above, at_least, below) = (
            number("above", &self.above)?,
            number("at_least", &self.at_least)?,
            number("below", &self.below)?,
        );
        let (floor, objective) = (number("floor", &self.floor)?, number("objective", &self.objective)?);
        match (above, at_least, below, self.spike, self.burn_rate, &self.forecast) {
            (Some(above), None, None, None, None, Some(horizon)) => {
                let horizon = duration(horizon).ok_or_else(|| {
                    format!("forecast: {horizon:?} is no time; expected how far ahead, e.g. \"1h\"")
                })?;
                Ok(Check::Forecast { above, horizon })
            }
            (Some(limit), None, None, None, None, None) => Ok(Check::Above(limit)),
            (None, Some(limit), None, None, None, None) => Ok(Check::AtLeast(limit)),
            (None, None, Some(limit), None, None, None) => Ok(Check::Below(limit)),
            (None, None, None, Some(factor), None, None) => {
                Ok(Check::Spike { factor, floor: floor.unwrap_or(0.0) })
            }
            (None, None, None, None, Some(factor), None) => match objective {
                Some(objective) => Ok(Check::BurnRate { objective, factor }),
                None => Err("a burn rate needs an objective, e.g. objective = \"99%\"".to_owned()),
            },
            _ => {
                Err("expected one of above, at_least, below, spike, burn_rate, or forecast with above"
                    .to_owned())
            }
        }
    }
}

/// `90s`, `5m`, `2h`, `1d`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        'd' => 86_400.0,
        _ => return None,
    };
    let number: f64 = text[..text.len() - unit.len_utf8()].trim().parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature: H5, H8
    #[test]
    fn what_is_wrong_in_a_file_is_named_with_what_is_expected() {
        let with = |rest: &str| format!("[[rule]]\nname = \"r\"\nsignal = \"p95\"\n{rest}");
        for (text, said) in [
            ("preset = \"lax\"".to_owned(), "\"lax\""),
            (with(""), "expected one of above"),
            (with("above = 1\nbelow = 2\n"), "expected one of above"),
            (with("above = \"fast\"\n"), "\"fast\" is no number"),
            (with("above = 3\nwindow = \"5 parsecs\"\n"), "window: \"5 parsecs\""),
            (with("above = 3\nwindow = \"1s\"\n"), "expected 1m to 24h"),
            (with("above = 3\nof = \"planet\"\n"), "planet"),
            (with("above = 3\nfro = \"5m\"\n"), "fro"),
            (with("burn_rate = 2\n"), "needs an objective"),
            (with("above = 3\n") + &with("above = 4\n"), "is there twice"),
            (
                "[[rule]]\nname = \"c\"\nsignal = \"cpu\"\nof = \"agent\"\nabove = 0.5\n".to_owned(),
                "of = \"system\"",
            ),
            (
                "[[rule]]\nname = \"b\"\nsignal = \"error_rate\"\nobjective = 0.5\nburn_rate = 3\n"
                    .to_owned(),
                "at most 2",
            ),
        ] {
            let error = Rules::parse(&text).unwrap_err();
            assert!(error.is_config() && error.to_string().contains(said), "{text}\n{error}");
        }
    }

    #[test]
    fn a_rule_takes_the_place_of_one_of_the_preset_or_takes_it_away() {
        let rules = Rules::parse(
            "[[rule]]\nname = \"cpu-high\"\nsignal = \"cpu\"\nabove = \"60%\"\n\
             [[rule]]\nname = \"cpu-critical\"\nsignal = \"cpu\"\nabove = 1\nenabled = false\n",
        )
        .unwrap();
        let cpu: Vec<(&str, f64)> = rules
            .iter()
            .filter(|rule| rule.signal == Signal::Cpu)
            .map(|rule| (&*rule.name, rule.limit().0))
            .collect();
        assert_eq!(cpu, [("cpu-high", 0.6)]);
    }
}
