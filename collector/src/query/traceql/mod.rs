//! TraceQL: its grammar, its types, and what a span filter means.
