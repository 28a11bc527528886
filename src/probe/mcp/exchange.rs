//! What is asked of a server, whatever it is reached by.

use std::future::Future;

use serde_json::{Value, json};

use super::{McpGeneration, McpReport};
use crate::probe::Failure;
use crate::semconv::probe::mcp;

/// The revision of the newer generation.
pub(super) const MODERN: &str = "2026-07-28";
/// The revision that is asked for in the older one.
const LEGACY: &str = "2025-06-18";

/// What a server answered to a request.
pub(super) enum Reply {
    Result(Value),
    /// A JSON-RPC error, or a refusal by HTTP.
    Error(String),
}

/// How requests get to a server.
pub(super) trait Wire: Send {
    /// Sends a request and waits for the answer of the same id. `name` is the tool of a call.
    fn call(
        &mut self,
        request: Value,
        modern: bool,
        name: Option<&str>,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send;

    /// Sends what has no answer.
    fn notify(&mut self, notification: Value) -> impl Future<Output = Result<(), Failure>> + Send;
}

fn request(id: u32, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn client() -> Value {
    json!({"name": "agentvitals", "version": env!("CARGO_PKG_VERSION")})
}

/// The parameters of the newer generation: each request says who asks.
fn with_meta(mut params: Value) -> Value {
    params["_meta"] =
        json!({ mcp::META_VERSION: MODERN, mcp::META_CAPABILITIES: {}, mcp::META_CLIENT: client() });
    params
}

fn refused(what: &str, why: &str) -> Failure {
    Failure::new("protocol", format!("{what}: {why}"))
}

pub(super) async fn talk(wire: &mut impl Wire, call: Option<&(String, Value)>) -> Result<McpReport, Failure> {
    let discovered = wire.call(request(1, "server/discover", &with_meta(json!({}))), true, None).await?;
    match discovered {
        Reply::Result(result) if result.get("supportedVersions").is_some() => {
            let version =
                result["supportedVersions"].as_array().and_then(|all| all.last()).and_then(Value::as_str);
            let server = result.pointer("/serverInfo/name").and_then(Value::as_str).map(str::to_owned);
            let version = version.unwrap_or(MODERN).to_owned();
            finish(wire, call, McpGeneration::Modern, version, server).await
        }
        // Whatever it says, it does not know the newer way.
        _ => legacy(wire, call).await,
    }
}

async fn legacy(wire: &mut impl Wire, call: Option<&(String, Value)>) -> Result<McpReport, Failure> {
    let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client()});
    let result = match wire.call(request(2, "initialize", &params), false, None).await? {
        Reply::Result(result) => result,
        Reply::Error(why) => return Err(refused("initialize", &why)),
    };
    let version = result["protocolVersion"].as_str().unwrap_or(LEGACY).to_owned();
    let server = result.pointer("/serverInfo/name").and_then(Value::as_str).map(str::to_owned);
    wire.notify(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
    if let Reply::Error(why) = wire.call(request(3, "ping", &json!({})), false, None).await? {
        return Err(refused("ping", &why));
    }
    finish(wire, call, McpGeneration::Legacy, version, server).await
}

async fn finish(
    wire: &mut impl Wire,
    call: Option<&(String, Value)>,
    generation: McpGeneration,
    protocol_version: String,
    server: Option<String>,
) -> Result<McpReport, Failure> {
    let modern = generation == McpGeneration::Modern;
    let params = |params: Value| if modern { with_meta(params) } else { params };
    let tools = match wire.call(request(4, "tools/list", &params(json!({}))), modern, None).await? {
        Reply::Result(result) => result["tools"].as_array().map_or(0, Vec::len),
        Reply::Error(why) => return Err(refused("tools/list", &why)),
    };
    if let Some((tool, arguments)) = call {
        let asked = request(5, "tools/call", &params(json!({"name": tool, "arguments": arguments})));
        match wire.call(asked, modern, Some(tool)).await? {
            Reply::Result(result) if result["isError"] == Value::Bool(true) => {
                let said = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or("no reason");
                return Err(Failure::new("tool_error", format!("{tool}: {said}")));
            }
            Reply::Result(_) => {}
            Reply::Error(why) => return Err(refused("tools/call", &why)),
        }
    }
    Ok(McpReport { generation, protocol_version, server, tools })
}

/// The answer of an id, if this message is it: others (notifications, requests of the server) may come before.
pub(super) fn answer_of(message: &Value, id: &Value) -> Option<Reply> {
    if message.get("id") != Some(id) || message.get("method").is_some() {
        return None;
    }
    if let Some(result) = message.get("result") {
        return Some(Reply::Result(result.clone()));
    }
    let error = message.get("error")?;
    let (code, said) = (&error["code"], error["message"].as_str().unwrap_or("no message"));
    Some(Reply::Error(format!("{code} {said}")))
}
