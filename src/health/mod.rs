//! Whether agents, models, tools and the whole are healthy, why, and which traces show it.

mod severity;

pub use self::severity::Severity;
