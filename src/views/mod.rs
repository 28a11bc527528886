//! What the collected aggregates say: views of them for the program itself.
//!
//! Fed by the one reader: the exporter's thread shows each collection to `Totals` and [`Views::observe`] before
//! it exports it, so a view never differs from what was exported, and costs the traced threads nothing. A collector feeds
//! [`Views`] with the same points as it receives them, from many processes.

mod distribution;
mod reading;
mod rings;
mod route;
mod sketch;
mod store;
mod subject;
mod tally;
mod totals;

pub use self::reading::{Numbers, Reading};
pub use self::sketch::Sketch;
pub(crate) use self::sketch::upper_edge;
pub use self::store::{MAX_SERIES, Moment, Views};
pub use self::subject::{Subject, SubjectKind};
pub use self::tally::Tally;
pub use self::totals::Performance;
pub(crate) use self::totals::Totals;
