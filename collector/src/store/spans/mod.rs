//! Spans: how they are kept in memory, and as columns; and what rows of every table have in common.

pub(in crate::store) mod assemble;
pub(in crate::store) mod chunk;
mod column;
mod columns;
pub(in crate::store) mod decode;
pub(in crate::store) mod disassemble;
pub(in crate::store) mod fields;
pub(in crate::store) mod names;
mod parents;
pub(in crate::store) mod select;
