//! Conversations and agents, out of the figures of their spans.

use std::collections::BTreeMap;

use agentvitals::semconv::{attr, operation};

use super::Queries;
use crate::query::engine::{Control, QueryError};
use crate::query::request::{Group, StatsAnswer, StatsRequest};
use crate::query::rollup::{
    AgentAnswer, AgentHealth, AgentPerformance, AgentRequest, AgentUsage, Conversation, ConversationsAnswer,
    ConversationsRequest,
};

const NANOS: f64 = 1e9;

/// A text as the language has it.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    crate::value::write_string(text, &mut out);
    out
}

/// Seconds of all spans of a group together.
fn seconds(group: &Group) -> f64 {
    group.duration_ns.avg * group.count as f64 / NANOS
}

pub(super) fn conversations(
    queries: &Queries,
    request: &ConversationsRequest,
    control: &Control,
) -> Result<ConversationsAnswer, QueryError> {
    let key = format!("span.{}", attr::CONVERSATION_ID);
    let which = match &request.id {
        Some(id) => format!("{key} = {}", quoted(id)),
        None => format!("{key} != nil"),
    };
    let ask = |more: &str, by: &[&str], limit: Option<usize>| -> Result<StatsAnswer, QueryError> {
        let request = StatsRequest {
            q: format!("{{ {which}{more} }}"),
            start: request.start,
            end: request.end,
            by: by.iter().map(|by| (*by).to_owned()).collect(),
            step: None,
            limit,
        };
        super::stats::answer(queries, &request, control)
    };
    let all = ask("", &[&key], request.limit)?;
    let operations = ask("", &[&key, &format!("span.{}", attr::OPERATION_NAME)], Some(super::MAX_GROUPS))?;
    let mut out: Vec<Conversation> = Vec::with_capacity(all.groups.len());
    let mut places = BTreeMap::new();
    for group in &all.groups {
        let id = text(group, 0);
        places.insert(id.clone(), out.len());
        out.push(Conversation {
            id,
            spans: group.count,
            errors: group.errors,
            input_tokens: group.input_tokens,
            output_tokens: group.output_tokens,
            cost: group.cost,
            ..Conversation::default()
        });
    }
    let mut of_models = vec![0.0; out.len()];
    for group in &operations.groups {
        let Some(&place) = places.get(&text(group, 0)) else { continue };
        let conversation = &mut out[place];
        match text(group, 1).as_str() {
            operation::INVOKE_AGENT => {
                conversation.turns += group.count;
                conversation.processing_seconds += seconds(group);
            }
            operation::EXECUTE_TOOL => conversation.tool_calls += group.count,
            operation::CHAT | operation::GENERATE_CONTENT | operation::TEXT_COMPLETION => {
                conversation.model_calls += group.count;
                of_models[place] += seconds(group);
            }
            _ => {}
        }
    }
    for (conversation, seconds) in out.iter_mut().zip(of_models) {
        if conversation.turns == 0 {
            conversation.processing_seconds = seconds;
        }
    }
    Ok(ConversationsAnswer {
        conversations: out,
        left_out: all.left_out,
        // Of too many groups, those with few spans lack their turns and calls.
        complete: all.complete && operations.left_out == 0,
        scanned: all.scanned + operations.scanned,
    })
}

fn text(group: &Group, place: usize) -> String {
    let value = group.by.get(place);
    value.map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

pub(super) fn agent(
    queries: &Queries,
    request: &AgentRequest,
    control: &Control,
) -> Result<AgentAnswer, QueryError> {
    if request.id.is_empty() {
        return Err(QueryError::invalid("id is missing: which agent is asked for?"));
    }
    let id = quoted(&request.id);
    let q = format!("{{ span.{} = {id} || span.{} = {id} }}", attr::AGENT_NAME, attr::AGENT_ID);
    let asked = StatsRequest {
        q,
        start: request.start,
        end: request.end,
        by: vec![format!("span.{}", attr::OPERATION_NAME)],
        step: None,
        limit: None,
    };
    let answer = super::stats::answer(queries, &asked, control)?;
    let mut out = AgentAnswer {
        agent_id: request.id.clone(),
        health: AgentHealth::default(),
        performance: AgentPerformance::default(),
        usage: AgentUsage::default(),
        complete: answer.complete,
        scanned: answer.scanned,
    };
    for group in &answer.groups {
        match text(group, 0).as_str() {
            operation::INVOKE_AGENT => {
                out.usage.tasks = group.count;
                out.performance = AgentPerformance {
                    avg: Some(group.duration_ns.avg / NANOS),
                    p95: Some(group.duration_ns.p95 / NANOS),
                    success_rate: Some((group.count - group.errors) as f64 / group.count as f64 * 100.0),
                };
            }
            operation::EXECUTE_TOOL => out.usage.tool_calls = group.count,
            operation::CHAT | operation::GENERATE_CONTENT | operation::TEXT_COMPLETION => {
                out.usage.model_calls += group.count;
                out.usage.tokens += group.input_tokens + group.output_tokens;
                out.usage.cost = match (out.usage.cost, group.cost) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
            }
            _ => {}
        }
    }
    Ok(out)
}
