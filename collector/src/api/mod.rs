//! The HTTP API under `/api/v1`, health, and the metrics of the collector itself.
