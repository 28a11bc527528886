//! Price lists asked one after the other.

use std::sync::Arc;

use super::{ModelCall, Price, Pricing, UnknownReason};

/// Price lists in the order in which they are asked: the first that knows the model answers.
///
/// ```
/// use agentvitals::cost::{ModelPrice, PriceTable, Prices};
/// let own = PriceTable::new().with(ModelPrice::new("our-llama", 0.2, 0.6))?;
/// let prices = Prices::none().then(own).then(Prices::default());
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prices {
    lists: Vec<Arc<dyn Pricing>>,
}

impl Prices {
    /// No prices: every call's price is unknown.
    pub fn none() -> Self {
        Self { lists: Vec::new() }
    }

    /// The price list of genai-prices alone.
    #[cfg(feature = "prices")]
    pub fn bundled() -> Self {
        Self::none().then(super::GenaiPrices::new())
    }

    /// Asks this list, too, where the ones before do not know the model.
    #[must_use]
    pub fn then(mut self, list: impl Pricing + 'static) -> Self {
        self.lists.push(Arc::new(list));
        self
    }
}

impl Default for Prices {
    /// All that is built in: `bundled` with the feature `prices`, else none.
    fn default() -> Self {
        #[cfg(feature = "prices")]
        return Self::bundled();
        #[cfg(not(feature = "prices"))]
        Self::none()
    }
}

impl Pricing for Prices {
    fn price(&self, call: &ModelCall<'_>) -> Price {
        if call.models().next().is_none() {
            return Price::Unknown(UnknownReason::NoModel);
        }
        self.lists
            .iter()
            .map(|list| list.price(call))
            // A list that knows the model has the last word, even if the usage makes no sense.
            .find(|price| *price != Price::Unknown(UnknownReason::ModelNotFound))
            .unwrap_or(Price::Unknown(UnknownReason::ModelNotFound))
    }

    fn warm_up(&self) {
        for list in &self.lists {
            list.warm_up();
        }
    }
}
