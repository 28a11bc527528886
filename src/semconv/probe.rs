//! Names of what probes measure.

/// Attribute keys.
pub mod attr {
    /// The name of what is probed.
    pub const TARGET: &str = "agentvitals.probe.target";
}

/// Metric names.
pub mod metric {
    /// 1 if the newest check of a target succeeded, else 0.
    pub const UP: &str = "agentvitals.probe.up";
    /// How long the newest check took, seconds.
    pub const LATENCY: &str = "agentvitals.probe.latency";
    /// Checks that failed since one succeeded.
    pub const CONSECUTIVE_FAILURES: &str = "agentvitals.probe.consecutive_failures";
    /// The share of the newest hour in which a target was not unhealthy.
    pub const AVAILABILITY: &str = "agentvitals.probe.availability";
}

/// Names of the Model Context Protocol that probes speak, beside those of the conventions.
pub mod mcp {
    /// The key of the protocol version in `_meta`.
    pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// The key of the client's capabilities in `_meta`.
    pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// The key of the client's name in `_meta`.
    pub const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
}
