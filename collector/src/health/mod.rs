//! Health and alerts over all processes that send metrics: the same views, tests, rules and lifecycle as in each of them.

mod feed;
mod readings;
mod traces;
mod watch;

pub use feed::Feed;
pub(crate) use watch::read_rules;
pub use watch::{AlertsAnswer, Settings, SilenceRequest, Watch};
