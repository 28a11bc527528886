//! The zero-setup counterpart of the agentvitals SDK: the commands of the `agentvitals` binary, as a library so
//! that tests can drive them.

pub mod cli;
pub mod demo;
mod error;

pub use error::Error;
