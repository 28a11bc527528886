//! Tools to test telemetry with: a real OTLP receiver, in-memory capture, span trees, deterministic ids.
//!
//! Everything here gives the same two types, [`ReceivedSpan`] and [`ReceivedPoint`], whether the data came over
//! the wire ([`OtlpReceiver`]) or straight out of the OpenTelemetry SDK ([`Capture`], [`MetricCapture`]).
//!
//! ```
//! use agentvitals::testing::{OtlpReceiver, assert_span, tree};
//! use std::time::Duration;
//!
//! let receiver = OtlpReceiver::start()?;
//! // ... point the program under test at receiver.endpoint(), run it, then:
//! # let nothing_sent = true;
//! # if nothing_sent { return Ok(()); }
//! receiver.wait_for(|received| received.spans().len() == 3, Duration::from_secs(5))?;
//! assert_span!(receiver.spans(), "chat gpt-4o", "gen_ai.usage.input_tokens" => 1_200);
//! assert_eq!(tree(&receiver.spans()), "invoke_agent planner [internal]\n  chat gpt-4o [client]\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod capture;
mod convert;
mod expect;
mod fault;
mod ids;
mod point;
mod receiver;
mod serve;
mod span;
mod store;
mod tree;

#[doc(inline)]
pub use crate::__assert_span as assert_span;
pub use capture::{Capture, MetricCapture};
pub use expect::{find_span, find_spans};
pub use fault::{Fault, Signal};
pub use ids::DeterministicIds;
pub use point::{PointKind, ReceivedPoint};
pub use receiver::{OtlpReceiver, OtlpReceiverBuilder, TimedOut};
pub use span::{Attributes, ReceivedEvent, ReceivedLink, ReceivedSpan};
pub use store::Received;
pub use tree::{TreeOptions, tree};
