//! Whether agents, models, tools and the whole are healthy, why, and which traces show it.
//!
//! [`Monitor`] looks at [`Views`](crate::views::Views), which hold what is exported and nothing else. It scores each subject
//! against its targets or what is usual ([`Profile`]), and its [`Evaluator`] tells what is unusual, by its cause: a run that
//! goes round in circles makes prompts longer, and only the circles are told of.

mod causes;
mod code;
mod detect;
mod evaluator;
mod exemplars;
mod host;
mod monitor;
mod report;
mod score;
mod series;
mod severity;
mod status;
mod targets;
mod words;

pub use self::code::Code;
pub use self::evaluator::{Evaluator, Finding, STEP};
pub(crate) use self::exemplars::Exemplars;
pub use self::monitor::{Monitor, Settings, Summary};
pub use self::report::{Component, Estimate, Evidence, HealthReport, Issue};
pub(crate) use self::report::{quantity, rfc3339};
pub use self::score::{Part, Profile, Term, classic_score, slo_score};
pub use self::severity::Severity;
pub use self::status::Status;
pub use self::targets::{Host, OfKind, Targets};
