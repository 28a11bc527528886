//! Which callsites can be operations, and what their fields mean: decided once per callsite.
//!
//! A callsite is a candidate if it declares `gen_ai.operation.name`, `mcp.method.name` or
//! `agentvitals.operation.name`, whoever wrote it. Whether a span of it *is* an operation is known when the field has
//! a value, which may be later than its start.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tracing::Metadata;

use crate::operation::MAX_EXTRA_ATTRIBUTES;
use crate::semconv::attr;

/// What a field tells about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing that metrics need.
    Ignored,
    Agent,
    Arguments,
    CacheRead,
    CacheWrite,
    Cost,
    Custom,
    Error,
    ErrorType,
    Extra(u8),
    Fallback,
    FinishReasons,
    InputBytes,
    InputTokens,
    McpMethod,
    Operation,
    OtelKind,
    Outcome,
    OutputBytes,
    OutputTokens,
    Port,
    Provider,
    Reasoning,
    RequestModel,
    ResponseModel,
    Retries,
    ServerAddress,
    StatusCode,
    StepsCompleted,
    TaskType,
    TimeToFirstChunk,
    Tool,
    ToolErrorType,
    ToolType,
    Workflow,
}

/// A callsite whose spans can be operations.
#[derive(Debug)]
pub(super) struct Site {
    roles: Box<[Role]>,
}

impl Site {
    #[inline]
    pub(super) fn role(&self, field: &tracing::field::Field) -> Role {
        self.roles.get(field.index()).copied().unwrap_or(Role::Ignored)
    }
}

/// The callsites that one layer has seen. There are as many as the program has span macros.
#[derive(Debug)]
pub(super) struct Callsites {
    /// Tells the layers of one process apart in the threads' caches.
    instance: u64,
    extra: Vec<String>,
    seen: RwLock<HashMap<usize, Option<&'static Site>>>,
}

/// Whether spans of a callsite can be operations.
pub(crate) fn declares_operation(metadata: &Metadata<'_>) -> bool {
    let fields = metadata.fields();
    [attr::OPERATION_NAME, attr::MCP_METHOD_NAME, attr::OPERATION]
        .iter()
        .any(|name| fields.field(name).is_some())
}

type Cached = (u64, usize, Option<&'static Site>);
const CACHE_SLOTS: usize = 128;

thread_local! {
    static CACHE: [Cell<Cached>; CACHE_SLOTS] = const { [const { Cell::new((0, 0, None)) }; CACHE_SLOTS] };
}

impl Callsites {
    /// `extra` are the attributes that the user allows on metrics.
    pub(super) fn new(instance: u64, extra: &[String]) -> Self {
        Self {
            instance,
            extra: extra.iter().take(MAX_EXTRA_ATTRIBUTES).cloned().collect(),
            seen: RwLock::default(),
        }
    }

    /// The callsite of `metadata`, if its spans can be operations.
    #[inline]
    pub(super) fn get(&self, metadata: &'static Metadata<'static>) -> Option<&'static Site> {
        // A callsite's metadata is a static: its address is its identity.
        let address = std::ptr::from_ref(metadata).addr();
        CACHE.with(|cache| {
            let slot = &cache[(address >> 4).wrapping_mul(0x9e37_79b9) >> 8 & (CACHE_SLOTS - 1)];
            let (instance, cached, site) = slot.get();
            if cached == address && instance == self.instance {
                return site;
            }
            let site = self.look_up(address, metadata);
            slot.set((self.instance, address, site));
            site
        })
    }

    // Filled on a miss and not in `register_callsite` alone: a second thread can start a span of a callsite that the
    // first one is still registering.
    #[cold]
    #[inline(never)]
    fn look_up(&self, address: usize, metadata: &'static Metadata<'static>) -> Option<&'static Site> {
        if let Some(site) = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(&address) {
            return *site;
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        *seen.entry(address).or_insert_with(|| self.classify(metadata))
    }

    fn classify(&self, metadata: &'static Metadata<'static>) -> Option<&'static Site> {
        if !declares_operation(metadata) {
            return None;
        }
        let roles = metadata.fields().iter().map(|field| self.role_of(field.name())).collect();
        // Leaked like the callsite itself, which is a static too: once per span macro of the program.
        Some(Box::leak(Box::new(Site { roles })))
    }

    fn role_of(&self, name: &str) -> Role {
        let role = match name {
            attr::OPERATION_NAME => Role::Operation,
            attr::PROVIDER_NAME | attr::SYSTEM => Role::Provider,
            attr::REQUEST_MODEL => Role::RequestModel,
            attr::RESPONSE_MODEL => Role::ResponseModel,
            attr::AGENT_NAME => Role::Agent,
            attr::TOOL_NAME => Role::Tool,
            attr::TOOL_TYPE => Role::ToolType,
            attr::WORKFLOW_NAME => Role::Workflow,
            attr::MCP_METHOD_NAME => Role::McpMethod,
            attr::OPERATION => Role::Custom,
            attr::TASK_TYPE | attr::PLAIN_TASK_TYPE => Role::TaskType,
            attr::ERROR_TYPE => Role::ErrorType,
            attr::TOOL_ERROR_TYPE => Role::ToolErrorType,
            attr::ERROR => Role::Error,
            attr::OUTCOME | attr::PLAIN_OUTCOME => Role::Outcome,
            attr::OTEL_STATUS_CODE => Role::StatusCode,
            attr::OTEL_KIND => Role::OtelKind,
            attr::SERVER_ADDRESS => Role::ServerAddress,
            attr::SERVER_PORT => Role::Port,
            attr::USAGE_INPUT_TOKENS => Role::InputTokens,
            attr::USAGE_OUTPUT_TOKENS => Role::OutputTokens,
            attr::USAGE_CACHE_READ => Role::CacheRead,
            attr::USAGE_CACHE_WRITE | attr::USAGE_CACHE_CREATION => Role::CacheWrite,
            attr::USAGE_REASONING => Role::Reasoning,
            attr::RESPONSE_TIME_TO_FIRST_CHUNK => Role::TimeToFirstChunk,
            attr::USAGE_COST_AMOUNT => Role::Cost,
            attr::TOOL_INPUT_BYTES => Role::InputBytes,
            attr::TOOL_OUTPUT_BYTES => Role::OutputBytes,
            attr::RETRY_COUNT => Role::Retries,
            attr::TOOL_CALL_ARGUMENTS => Role::Arguments,
            attr::RESPONSE_FINISH_REASONS => Role::FinishReasons,
            attr::FALLBACK_USED => Role::Fallback,
            attr::WORKFLOW_STEPS_COMPLETED => Role::StepsCompleted,
            _ => Role::Ignored,
        };
        match self.extra.iter().position(|extra| extra == name) {
            Some(index) if role == Role::Ignored => Role::Extra(index as u8),
            _ => role,
        }
    }
}
