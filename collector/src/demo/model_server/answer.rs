//! Recorded calls in the shapes of the chat completions API. What was not recorded is left out of the answer.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::demo::runs::{ModelCall, Tokens};

/// Pieces that a text is streamed in: enough to see a stream, few enough to be quick.
const MAX_PIECES: usize = 8;

/// An error body of the API.
pub(super) fn refusal(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": kind}});
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The answer to a call that is not streamed.
pub(super) fn whole(call: &ModelCall) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), "assistant".into());
    message.insert("content".to_owned(), call.output_text.clone().into());
    if !call.tool_calls.is_empty() {
        message.insert("tool_calls".to_owned(), tool_calls(call, false));
    }
    let choice = json!({"index": 0, "message": message, "finish_reason": call.finish_reason});
    let mut answer = envelope(call, "chat.completion", vec![choice]);
    if let Some(usage) = usage(&call.usage) {
        answer.insert("usage".to_owned(), usage);
    }
    answer.into()
}

/// The data of the events of a streamed answer: the role, the text in pieces, the tool calls, why it ended,
/// the usage if it was asked for, and the end mark.
pub(super) fn chunks(call: &ModelCall, with_usage: bool) -> Vec<String> {
    let chunk = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        Value::from(envelope(call, "chat.completion.chunk", vec![choice])).to_string()
    };
    let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
    let text = call.output_text.as_deref().unwrap_or_default();
    chunks.extend(pieces(text).into_iter().map(|piece| chunk(json!({"content": piece}), None)));
    if !call.tool_calls.is_empty() {
        chunks.push(chunk(json!({"tool_calls": tool_calls(call, true)}), None));
    }
    chunks.push(chunk(json!({}), call.finish_reason.as_deref()));
    if let Some(usage) = usage(&call.usage).filter(|_| with_usage) {
        let mut last = envelope(call, "chat.completion.chunk", Vec::new());
        last.insert("usage".to_owned(), usage);
        chunks.push(Value::from(last).to_string());
    }
    chunks.push("[DONE]".to_owned());
    chunks
}

fn envelope(call: &ModelCall, object: &str, choices: Vec<Value>) -> Map<String, Value> {
    let mut answer = Map::new();
    if let Some(id) = &call.response_id {
        answer.insert("id".to_owned(), id.clone().into());
    }
    answer.insert("object".to_owned(), object.into());
    if let Some(model) = &call.response_model {
        answer.insert("model".to_owned(), model.clone().into());
    }
    answer.insert("choices".to_owned(), choices.into());
    answer
}

fn tool_calls(call: &ModelCall, indexed: bool) -> Value {
    let calls = call.tool_calls.iter().enumerate().map(|(n, requested)| {
        let mut entry = Map::new();
        if indexed {
            entry.insert("index".to_owned(), n.into());
        }
        if let Some(id) = &requested.id {
            entry.insert("id".to_owned(), id.clone().into());
        }
        entry.insert("type".to_owned(), "function".into());
        let function = json!({"name": requested.name, "arguments": requested.arguments});
        entry.insert("function".to_owned(), function);
        Value::from(entry)
    });
    calls.collect()
}

fn usage(tokens: &Tokens) -> Option<Value> {
    if tokens.is_empty() {
        return None;
    }
    let fields = |pairs: &[(&str, Option<u64>)]| {
        let known = pairs.iter().filter_map(|(name, count)| Some(((*name).to_owned(), (*count)?.into())));
        known.collect::<Map<String, Value>>()
    };
    let total = tokens.prompt.zip(tokens.completion).map(|(prompt, completion)| prompt + completion);
    let mut usage = fields(&[
        ("prompt_tokens", tokens.prompt),
        ("completion_tokens", tokens.completion),
        ("total_tokens", total),
    ]);
    let prompt = fields(&[("cached_tokens", tokens.cached), ("cache_write_tokens", tokens.cache_write)]);
    let completion = fields(&[("reasoning_tokens", tokens.reasoning)]);
    for (name, details) in [("prompt_tokens_details", prompt), ("completion_tokens_details", completion)] {
        if !details.is_empty() {
            usage.insert(name.to_owned(), details.into());
        }
    }
    Some(usage.into())
}

/// Cuts a text into at most [`MAX_PIECES`] pieces of about the same number of characters.
fn pieces(text: &str) -> Vec<&str> {
    let size = text.chars().count().div_ceil(MAX_PIECES).max(1);
    let mut rest = text;
    let mut pieces = Vec::with_capacity(MAX_PIECES);
    while !rest.is_empty() {
        let end = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_make_up_the_text_and_never_cut_a_character() {
        for text in ["", "a", "abcdefgh", "abcdefghi", "Grüße aus Zürich, 你好 🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂"]
        {
            let pieces = pieces(text);
            assert_eq!(pieces.concat(), text);
            assert!(pieces.len() <= super::MAX_PIECES, "{pieces:?}");
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
        }
    }
}
