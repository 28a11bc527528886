//! Spans: how they are kept in memory, and as columns.

pub(in crate::store) mod assemble;
pub(in crate::store) mod chunk;
pub(in crate::store) mod decode;
pub(in crate::store) mod select;
