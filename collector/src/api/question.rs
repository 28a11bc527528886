//! Requests of HTTP as questions: parameters of the path's query, or JSON.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::time::{parse_duration, parse_time};

/// The question that parameters ask; `by` may come more than once.
pub(super) fn from_parameters<Q: DeserializeOwned>(parameters: Vec<(String, String)>) -> Result<Q, ApiError> {
    let mut fields = Map::new();
    for (name, text) in parameters {
        let value = match name.as_str() {
            "limit" | "spans_per_set" | "time_window_minutes" => match text.parse::<u64>() {
                Ok(limit) => limit.into(),
                Err(_) => return Err(ApiError::invalid(format!("{name}: {text:?} is no number"))),
            },
            "oldest_first" | "pending" | "brief" | "started_within" => match text.parse::<bool>() {
                Ok(value) => value.into(),
                Err(_) => {
                    return Err(ApiError::invalid(format!("{name}: {text:?} is not true or false")));
                }
            },
            "by" => {
                let all = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(all) = all {
                    all.push(text.into());
                }
                continue;
            }
            _ => text.into(),
        };
        if fields.contains_key(&name) {
            return Err(ApiError::invalid(format!("{name} is given twice")));
        }
        fields.insert(name, value);
    }
    from_fields(fields)
}

/// The question of a JSON document; an empty one asks for everything.
pub(super) fn from_json<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, ApiError> {
    if body.trim_ascii().is_empty() {
        return from_fields(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => from_fields(fields),
        Ok(_) => Err(ApiError::invalid("the body is no JSON object")),
        Err(error) => Err(ApiError::invalid(format!("the body is no JSON: {error}"))),
    }
}

fn from_fields<Q: DeserializeOwned>(mut fields: Map<String, Value>) -> Result<Q, ApiError> {
    let now = crate::clock::unix_nanos();
    for (name, value) in &mut fields {
        let Value::String(text) = value else { continue };
        let read = match name.as_str() {
            "start" | "end" => parse_time(text, now),
            // A step in bare nanoseconds is what JSON would have as a number.
            "step" => text.parse().or_else(|_| parse_duration(text)),
            _ => continue,
        };
        *value = read.map_err(|what| ApiError::invalid(format!("{name}: {what}")))?.into();
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        ApiError::invalid(format!("{place}{}", error.into_inner()))
    })
}
