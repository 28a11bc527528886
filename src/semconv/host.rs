//! What programs run on and with: the machine, pools of database connections, caches.
//!
//! Names of the OpenTelemetry conventions for processes, systems and database clients; for caches of programs there are
//! none, so these are under `agentvitals.`.

/// Attribute keys.
pub mod attr {
    /// What a processor does: `user`, `system`, `idle`, `iowait`.
    pub const CPU_MODE: &str = "cpu.mode";
    /// Which processor of the machine.
    pub const CPU_LOGICAL_NUMBER: &str = "cpu.logical_number";
    /// `read` or `write`.
    pub const DISK_IO_DIRECTION: &str = "disk.io.direction";
    /// `used`, `free`, `cached`, `buffers`.
    pub const SYSTEM_MEMORY_STATE: &str = "system.memory.state";
    /// `idle` or `used`.
    pub const DB_CONNECTION_STATE: &str = "db.client.connection.state";
}

/// Metric names.
pub mod metric {
    /// Reads of a cache of the program that found something.
    pub const CACHE_HITS: &str = "agentvitals.cache.hits";
    /// Reads of a cache that found nothing.
    pub const CACHE_MISSES: &str = "agentvitals.cache.misses";
    /// Writes to a cache.
    pub const CACHE_SETS: &str = "agentvitals.cache.sets";
    /// Deletions from a cache.
    pub const CACHE_DELETES: &str = "agentvitals.cache.deletes";
    /// Uses of a cache that failed.
    pub const CACHE_ERRORS: &str = "agentvitals.cache.errors";
    /// 1 while a cache is used, 0 while it is switched off.
    pub const CACHE_ENABLED: &str = "agentvitals.cache.enabled";

    /// The share of the processors that a process uses, 0 to 1, by [`super::attr::CPU_MODE`].
    pub const PROCESS_CPU_UTILIZATION: &str = "process.cpu.utilization";
    /// Bytes of memory that a process has.
    pub const PROCESS_MEMORY_USAGE: &str = "process.memory.usage";
    /// Bytes that a process read and wrote, by [`super::attr::DISK_IO_DIRECTION`].
    pub const PROCESS_DISK_IO: &str = "process.disk.io";
    /// The share of a processor that is used, 0 to 1, by [`super::attr::CPU_MODE`] and
    /// [`super::attr::CPU_LOGICAL_NUMBER`].
    pub const SYSTEM_CPU_UTILIZATION: &str = "system.cpu.utilization";
    /// Bytes of the machine's memory by [`super::attr::SYSTEM_MEMORY_STATE`].
    pub const SYSTEM_MEMORY_USAGE: &str = "system.memory.usage";
    /// The share of the machine's memory, 0 to 1, by [`super::attr::SYSTEM_MEMORY_STATE`].
    pub const SYSTEM_MEMORY_UTILIZATION: &str = "system.memory.utilization";
    /// Bytes of memory that can be had without swapping.
    pub const SYSTEM_MEMORY_AVAILABLE: &str = "system.memory.linux.available";
    /// The same, in older conventions.
    pub const SYSTEM_MEMORY_AVAILABLE_BEFORE: &str = "system.linux.memory.available";
    /// Bytes that the machine read and wrote, by [`super::attr::DISK_IO_DIRECTION`].
    pub const SYSTEM_DISK_IO: &str = "system.disk.io";
    /// Connections of a pool by [`super::attr::DB_CONNECTION_STATE`].
    pub const DB_CONNECTIONS: &str = "db.client.connection.count";
    /// The fewest idle connections that a pool keeps.
    pub const DB_CONNECTIONS_IDLE_MIN: &str = "db.client.connection.idle.min";
    /// The most connections that a pool opens.
    pub const DB_CONNECTIONS_MAX: &str = "db.client.connection.max";
}
