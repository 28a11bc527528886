//! OTLP over gRPC and HTTP: decompresses, checks who sends, bounds sizes, and hands requests to [`crate::ingest::Ingest`].
