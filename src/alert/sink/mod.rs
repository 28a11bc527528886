//! Where notices go: delivered on a thread of their own, with retries, each loss counted.

mod deliver;
#[cfg(feature = "webhooks")]
mod http;
mod local;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use self::deliver::{Delivery, SinkStats};
#[cfg(feature = "webhooks")]
pub use self::http::{Alertmanager, Slack, Webhook};
pub use self::local::{Channel, Events, File};
use super::notice::Notice;

/// Takes notices to somebody.
pub trait AlertSink: Send + fmt::Debug + 'static {
    /// What it is called in statistics and errors. No secret.
    fn name(&self) -> &str;

    /// Delivers notices, the oldest first; all of them again if it fails. With none it is time for what has to be sent
    /// again ([`repeats_after`](Self::repeats_after)).
    fn deliver<'a>(
        &'a mut self,
        notices: &'a [Notice],
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'a>>;

    /// After how long without a notice it wants to be called with none.
    fn repeats_after(&self) -> Option<Duration> {
        None
    }
}

/// A notice that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    message: String,
    retry_after: Option<Duration>,
    permanent: bool,
}

impl DeliveryError {
    /// It may work later.
    pub fn temporary(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry_after: None, permanent: false }
    }

    /// It may work after so long, as the other side says.
    pub fn retry_after(message: impl Into<String>, after: Duration) -> Self {
        Self { message: message.into(), retry_after: Some(after), permanent: false }
    }

    /// It will never work: the other side understood it, and refused.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry_after: None, permanent: true }
    }

    /// Whether another try is of no use.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeliveryError {}
