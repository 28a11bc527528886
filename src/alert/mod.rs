//! Alerts: rules over views, what becomes of them, and where they go.
//!
//! Data flows one way: views and health -> [`Rules`] -> [`Condition`]s -> [`Manager`] (pending, firing, resolved; silences,
//! maintenance) -> [`Notice`]s -> sinks, on a thread of their own.

mod action;
mod condition;
mod engine;
mod file;
mod manager;
mod notice;
mod preset;
mod prometheus;
mod rule;
mod rules;
mod signal;
pub mod sink;

pub use self::action::Action;
pub(crate) use self::action::Actions;
pub use self::condition::{Condition, Source, Verdict};
pub use self::engine::Engine;
pub use self::manager::{Manager, ManagerSettings, Silence};
pub use self::notice::{Alert, Notice, NoticeKind, Phase};
pub use self::preset::Preset;
pub use self::rule::{Check, Rule};
pub use self::rules::Rules;
pub use self::signal::Signal;
