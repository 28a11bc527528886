//! What model calls cost: money, prices, and sums that say what they miss.
//!
//! A price is [`Price::Known`], which may be 0, or [`Price::Unknown`] with a reason; an unknown price is never 0.
//! [`Prices`] asks your own [`PriceTable`]s first and then, with the feature `prices`, the dated price list of the
//! crate genai-prices ([`GenaiPrices`]). A [`CostReport`] sums by keys of your choice and marks what is partial.
//!
//! ```
//! use agentvitals::Usage;
//! use agentvitals::cost::{ModelCall, Price, PriceTable, Prices, Pricing as _};
//! use std::time::SystemTime;
//!
//! let own = PriceTable::from_toml_str(r#"
//! [[models]]
//! model = "our-llama*"
//! input = 0.2     # USD per million tokens
//! output = 0.6
//! "#)?;
//! let prices = Prices::none().then(own);
//! # let at = SystemTime::UNIX_EPOCH;
//! let call = ModelCall::new(Usage::new(1_000_000, 500_000), at).request_model("our-llama-70b");
//! let Price::Known(cost) = prices.price(&call) else { panic!() };
//! assert_eq!(cost.to_string(), "$0.5");
//! # Ok::<(), agentvitals::Error>(())
//! ```

pub mod budget;
#[cfg(feature = "prices")]
mod genai;
mod ledger;
mod money;
mod names;
mod prices;
mod rates;
mod report;
mod table;
mod toml;

use std::fmt::Debug;
use std::time::SystemTime;

use serde::Serialize;

#[cfg(feature = "prices")]
pub use genai::GenaiPrices;
pub(crate) use ledger::Ledger;
pub use money::Nanodollars;
pub use prices::Prices;
pub use report::{CostReport, CostRow};
pub use table::{ModelPrice, PriceTable, PriceTier};

use crate::operation::Usage;

/// One call of a model, as far as its price depends on it.
///
/// ```
/// use agentvitals::Usage;
/// use agentvitals::cost::ModelCall;
/// # let at = std::time::SystemTime::UNIX_EPOCH;
/// let call = ModelCall::new(Usage::new(1_200, 300), at)
///     .provider("openai")
///     .request_model("gpt-4o")
///     .response_model(Some("gpt-4o-2024-08-06"));
/// assert_eq!(call.provider, Some("openai"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelCall<'a> {
    /// Who served it, in the words of the conventions (`openai`, `aws.bedrock`) or anybody's.
    pub provider: Option<&'a str>,
    /// The model that was asked for.
    pub request_model: Option<&'a str>,
    /// The model that answered: it bills, so it is looked up first.
    pub response_model: Option<&'a str>,
    /// The tokens.
    pub usage: Usage,
    /// When the call was made: prices change.
    pub at: SystemTime,
}

impl<'a> ModelCall<'a> {
    /// A call of which only tokens and time are known yet.
    pub fn new(usage: Usage, at: SystemTime) -> Self {
        Self { provider: None, request_model: None, response_model: None, usage, at }
    }

    /// Sets who served it.
    #[must_use]
    pub fn provider(self, provider: impl Into<Option<&'a str>>) -> Self {
        Self { provider: provider.into(), ..self }
    }

    /// Sets the model that was asked for.
    #[must_use]
    pub fn request_model(self, model: impl Into<Option<&'a str>>) -> Self {
        Self { request_model: model.into(), ..self }
    }

    /// Sets the model that answered.
    #[must_use]
    pub fn response_model(self, model: impl Into<Option<&'a str>>) -> Self {
        Self { response_model: model.into(), ..self }
    }

    /// The models to look up, the one that answered first; blank names are no names.
    fn models(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let named = |model: &'a str| Some(model.trim()).filter(|model| !model.is_empty());
        self.response_model.and_then(named).into_iter().chain(self.request_model.and_then(named))
    }

    /// The provider, unless its name is blank.
    fn named_provider(&self) -> Option<&'a str> {
        self.provider.map(str::trim).filter(|provider| !provider.is_empty())
    }
}

/// What a call costs, or why that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "known or not: there is no third")]
pub enum Price {
    /// So much; 0 where it is known to be free.
    Known(Nanodollars),
    /// Not known, which is not 0.
    Unknown(UnknownReason),
}

impl Price {
    /// The cost, where it is known.
    pub fn known(self) -> Option<Nanodollars> {
        match self {
            Self::Known(cost) => Some(cost),
            Self::Unknown(_) => None,
        }
    }
}

/// Why a price is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownReason {
    /// The call names no model.
    NoModel,
    /// No price is known for the model at that time, or the model is a fine-tuned one.
    ModelNotFound,
    /// The call reports no input tokens.
    NoUsage,
    /// The tokens contradict each other, e.g. more were read from the cache than there are input tokens.
    InconsistentUsage,
}

impl UnknownReason {
    /// The reason as a word, e.g. for a metric's attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoModel => "no_model",
            Self::ModelNotFound => "model_not_found",
            Self::NoUsage => "no_usage",
            Self::InconsistentUsage => "inconsistent_usage",
        }
    }
}

/// Gives prices. Implement it to ask a price list of your own.
///
/// It is asked some time after the call on threads of the SDK, and on the traced thread only when these cannot keep up, so
/// it must not block; [`Self::warm_up`] is the place to load what is needed.
pub trait Pricing: Debug + Send + Sync {
    /// What this call costs.
    fn price(&self, call: &ModelCall<'_>) -> Price;

    /// Loads what the first call would otherwise wait for. Called once, away from the traced threads.
    fn warm_up(&self) {}
}
