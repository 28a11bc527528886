//! A load of GenAI traces over OTLP, and the figures of who takes it.
