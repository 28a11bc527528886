//! Whether agents, models, tools and the whole are healthy, why, and which traces show it.

mod causes;
mod code;
mod detect;
mod evaluator;
mod series;
mod severity;

pub use self::code::Code;
pub use self::evaluator::{Evaluator, Finding, STEP};
pub use self::severity::Severity;
