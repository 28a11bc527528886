//! The JSON of a recorded run, field by field, and the way from it to a [`Run`].
//!
//! Steps are one flat struct and not a tagged enum: serde reads a tagged enum into a buffer first and then no
//! longer knows where in the JSON an error is.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use agentvitals::semconv::error_type;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;

use super::{Action, Agent, Message, ModelCall, ModelError, RequestedCall, Run, Step, Tokens, ToolCall};

/// No model takes more in one call; more is a unit that was mixed up, and sums must not overflow.
const MAX_TOKENS: u64 = 1_000_000_000_000;
/// A step that waits longer than this is no recording of a step.
const MAX_STEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Names become attribute values and keys of the report.
const MAX_NAME_BYTES: usize = 1024;

#[derive(Deserialize)]
pub(super) struct RawRun {
    run_id: Name,
    agents: Vec<Object<RawAgent>>,
    #[serde(deserialize_with = "present")]
    outcome: Option<Object<RawOutcome>>,
    steps: Vec<Object<RawStep>>,
}

#[derive(Deserialize)]
struct RawAgent {
    name: Name,
    #[serde(default)]
    model: Option<Name>,
}

#[derive(Deserialize)]
struct RawOutcome {
    #[serde(deserialize_with = "present")]
    success: Option<bool>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Kind {
    ModelCall,
    ToolCall,
}

#[derive(Deserialize)]
struct RawStep {
    kind: Kind,
    agent: Name,
    #[serde(default)]
    duration_ms: Option<Millis>,
    #[serde(default)]
    error: Option<RawError>,

    // model_call
    model: Option<Name>,
    response_model: Option<Name>,
    response_id: Option<Name>,
    provider: Option<String>,
    new_input: Option<Vec<Object<RawMessage>>>,
    output_text: Option<String>,
    tool_calls: Option<Vec<Object<RawRequested>>>,
    finish_reason: Option<Name>,
    prompt_tokens: Option<Count>,
    completion_tokens: Option<Count>,
    cached_tokens: Option<Count>,
    cache_write_tokens: Option<Count>,
    reasoning_tokens: Option<Count>,

    // tool_call
    tool: Option<Name>,
    call_id: Option<Name>,
    arguments: Option<Value>,
    result: Option<Value>,
    result_bytes: Option<Count>,
}

#[derive(Deserialize)]
struct RawMessage {
    role: String,
    content: Option<Value>,
}

#[derive(Deserialize)]
struct RawRequested {
    id: Option<String>,
    name: Name,
    arguments: Option<Value>,
}

/// What is wrong with a run that is well-formed JSON: where, and what.
pub(super) struct Wrong {
    pub(super) path: String,
    pub(super) what: String,
}

fn wrong(path: impl Into<String>, what: impl Into<String>) -> Wrong {
    Wrong { path: path.into(), what: what.into() }
}

impl RawRun {
    pub(super) fn check(self) -> Result<Run, Wrong> {
        let agents: Vec<Agent> = self
            .agents
            .into_iter()
            .map(|Object(a)| Agent { name: a.name.0, model: a.model.map(|m| m.0) })
            .collect();
        for (n, agent) in agents.iter().enumerate() {
            if agents[..n].iter().any(|earlier| earlier.name == agent.name) {
                return Err(wrong(format!("agents[{n}].name"), format!("{:?} is there twice", agent.name)));
            }
        }
        let steps = self.steps.into_iter().enumerate().map(|(n, Object(step))| step.check(n, &agents));
        let steps = steps.collect::<Result<_, _>>()?;
        let success = self.outcome.and_then(|Object(outcome)| outcome.success);
        Ok(Run { id: self.run_id.0, agents, success, steps })
    }
}

impl RawStep {
    fn check(self, n: usize, agents: &[Agent]) -> Result<Step, Wrong> {
        let name = &self.agent.0;
        let Some(agent) = agents.iter().position(|agent| agent.name == *name) else {
            let known: Vec<_> = agents.iter().take(8).map(|agent| format!("{:?}", agent.name)).collect();
            let known = if known.is_empty() { "which is empty".to_owned() } else { known.join(", ") };
            return Err(wrong(format!("steps[{n}].agent"), format!("{name:?} is not in `agents` ({known})")));
        };
        let duration = self.duration_ms.as_ref().map(|millis| millis.0);
        let action = match self.kind {
            Kind::ModelCall => Action::Model(self.into_model_call(n)?),
            Kind::ToolCall => Action::Tool(self.into_tool_call(n)?),
        };
        Ok(Step { agent, duration, action })
    }

    fn into_model_call(self, n: usize) -> Result<ModelCall, Wrong> {
        let Some(Name(model)) = self.model else {
            return Err(wrong(format!("steps[{n}].model"), "is missing; a model_call names its model"));
        };
        let error = match self.error {
            None | Some(RawError::Flag(false)) => None,
            Some(RawError::Typed(kind, message)) => Some(ModelError { kind: kind.0, message }),
            Some(RawError::Flag(true)) => {
                let what = "is true; a model_call's error is null or an object with `type` and `message`";
                return Err(wrong(format!("steps[{n}].error"), what));
            }
        };
        let messages = self.new_input.unwrap_or_default().into_iter();
        let calls = self.tool_calls.unwrap_or_default().into_iter();
        let count = |count: Option<Count>| count.map(|count| count.0);
        Ok(ModelCall {
            model,
            response_model: self.response_model.map(|name| name.0),
            response_id: self.response_id.map(|name| name.0),
            provider: self.provider,
            new_input: messages
                .map(|Object(m)| Message { role: m.role, content: m.content.map(text).unwrap_or_default() })
                .collect(),
            output_text: self.output_text,
            tool_calls: calls
                .map(|Object(c)| RequestedCall {
                    id: c.id,
                    name: c.name.0,
                    arguments: arguments(c.arguments),
                })
                .collect(),
            finish_reason: self.finish_reason.map(|name| name.0),
            usage: Tokens {
                prompt: count(self.prompt_tokens),
                completion: count(self.completion_tokens),
                cached: count(self.cached_tokens),
                cache_write: count(self.cache_write_tokens),
                reasoning: count(self.reasoning_tokens),
            },
            error,
        })
    }

    fn into_tool_call(self, n: usize) -> Result<ToolCall, Wrong> {
        let Some(Name(tool)) = self.tool else {
            return Err(wrong(format!("steps[{n}].tool"), "is missing; a tool_call names its tool"));
        };
        let result = self.result.map(text).unwrap_or_default();
        Ok(ToolCall {
            tool,
            call_id: self.call_id.map(|id| id.0),
            arguments: arguments(self.arguments),
            result_bytes: self.result_bytes.map_or(result.len() as u64, |count| count.0),
            result,
            error: match self.error {
                None | Some(RawError::Flag(false)) => None,
                Some(RawError::Flag(true)) => Some(error_type::TOOL_ERROR.to_owned()),
                Some(RawError::Typed(kind, _)) => Some(kind.0),
            },
        })
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn arguments(value: Option<Value>) -> String {
    value.map_or_else(|| "{}".to_owned(), text)
}

/// For fields that may be null and must be there: serde takes an absent `Option` for null otherwise.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

/// A JSON object. serde's own structs also take an array of their fields in order, which no recording is.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        from.deserialize_map(Fields(PhantomData))
    }
}

/// A name or id: text that is not empty and of bounded length.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if name.trim().is_empty() {
            return Err(D::Error::invalid_value(Unexpected::Str(&name), &"a name that is not empty"));
        }
        if name.len() > MAX_NAME_BYTES {
            let what = format!("a name of {} bytes, expected at most {MAX_NAME_BYTES}", name.len());
            return Err(D::Error::custom(what));
        }
        Ok(Self(name))
    }
}

/// A whole number that is not negative, also when a converter wrote it as `12.0`.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Clone, Copy)]
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from 0 to {MAX_TOKENS}, or null")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Count, E> {
                if value > MAX_TOKENS {
                    return Err(E::invalid_value(Unexpected::Unsigned(value), &self));
                }
                Ok(Count(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Count, E> {
                let whole = u64::try_from(value);
                self.visit_u64(whole.map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))?)
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Count, E> {
                if value.fract() != 0.0 || !(0.0..=MAX_TOKENS as f64).contains(&value) {
                    return Err(E::invalid_value(Unexpected::Float(value), &self));
                }
                Ok(Count(value as u64))
            }
        }
        from.deserialize_any(Whole)
    }
}

/// A duration in milliseconds.
struct Millis(Duration);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let millis = f64::deserialize(from)?;
        match Duration::try_from_secs_f64(millis / 1e3) {
            Ok(duration) if duration <= MAX_STEP => Ok(Self(duration)),
            _ => {
                let expected = "milliseconds from 0 to 604800000 (7 days), or null";
                Err(D::Error::invalid_value(Unexpected::Float(millis), &expected))
            }
        }
    }
}

/// The error of a step: an object for a model call, a flag for a tool call.
enum RawError {
    Flag(bool),
    Typed(Name, String),
}

impl<'de> Deserialize<'de> for RawError {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawError;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("null, true, false, or an object with `type` and `message`")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawError, E> {
                Ok(RawError::Flag(value))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawError, A::Error> {
                let (mut kind, mut message) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "type" => kind = Some(map.next_value::<Name>()?),
                        "message" => message = map.next_value::<Option<String>>()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let kind = kind.ok_or_else(|| A::Error::missing_field("type"))?;
                Ok(RawError::Typed(kind, message.unwrap_or_default()))
            }
        }
        from.deserialize_any(Either)
    }
}
