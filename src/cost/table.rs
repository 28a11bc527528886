//! The user's own prices.

use std::path::Path;
use std::time::SystemTime;

use super::names::{bare, prefixes, same_provider};
use super::rates::{Rate, Rates, Tier};
use super::{ModelCall, Nanodollars, Price, Pricing, UnknownReason, toml};
use crate::error::Error;

/// Prices of your own: contracts, self-hosted models, fine-tuned models.
///
/// An entry names a model exactly or, with a `*` at its end, by the start of its name. Among the entries that fit a
/// call, the one that names the provider goes before one that does not, the longer name before the shorter, an
/// exact name before a start, the later `valid_from` before the earlier; entries that are not valid yet do not
/// count. Prefixes of the call's model (`azure/gpt-4.1`) may be there or not. Upper and lower case are the same.
///
/// As TOML, in US dollars per million tokens:
///
/// ```
/// let table = agentvitals::cost::PriceTable::from_toml_str(r#"
/// [[models]]
/// provider = "openai"        # left out: any provider
/// model = "gpt-4.1"          # or "gpt-4.1*"
/// input = 2.0
/// output = 8.0
/// cache_read = 0.5           # left out: the price of input
/// cache_write = 2.0          # left out: the price of input
/// reasoning = 8.0            # left out: the price of output
/// request = 0.0              # for each call
/// valid_from = "2026-01-01"  # left out: always
/// tiers = [{ above = 200_000, input = 4.0, output = 12.0 }]   # calls with more input tokens
/// "#)?;
/// assert_eq!(table.len(), 1);
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PriceTable {
    /// Sorted: the first that fits is the one.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    provider: Option<String>,
    /// Without its `*`.
    name: String,
    is_start: bool,
    valid_from: Option<SystemTime>,
    rates: Rates,
}

/// The price of a model, in US dollars per million tokens.
///
/// ```
/// use agentvitals::cost::{ModelPrice, PriceTable, PriceTier};
/// let price = ModelPrice::new("gpt-4.1*", 2.0, 8.0)
///     .provider("openai")
///     .cache_read(0.5)
///     .tier(PriceTier::above(200_000, 4.0, 12.0).cache_read(1.0));
/// let table = PriceTable::new().with(price)?;
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPrice {
    provider: Option<String>,
    model: String,
    request: f64,
    valid_from: Option<SystemTime>,
    base: Usd,
    tiers: Vec<PriceTier>,
}

/// The price of calls with many input tokens, in US dollars per million tokens. What is left out is billed as the
/// tier's own input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceTier {
    above: u64,
    price: Usd,
}

/// Of one tier.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usd {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    reasoning: Option<f64>,
}

impl Usd {
    fn new(input: f64, output: f64) -> Self {
        Self { input, output, cache_read: None, cache_write: None, reasoning: None }
    }

    fn rate(&self) -> Result<Rate, Error> {
        let nanos = |key: &str, usd: f64| match Nanodollars::from_usd(usd) {
            Ok(price) => Ok(price.get()),
            Err(error) => Err(Error::config(format!("{key}: {error}"))),
        };
        Ok(Rate {
            input: nanos("input", self.input)?,
            output: nanos("output", self.output)?,
            cache_read: nanos("cache_read", self.cache_read.unwrap_or(self.input))?,
            cache_write: nanos("cache_write", self.cache_write.unwrap_or(self.input))?,
            reasoning: nanos("reasoning", self.reasoning.unwrap_or(self.output))?,
        })
    }
}

impl ModelPrice {
    /// The price of a model, or with a `*` at the end of its name of all models whose names start so. 0 is free.
    pub fn new(model: impl Into<String>, input: f64, output: f64) -> Self {
        Self {
            provider: None,
            model: model.into(),
            request: 0.0,
            valid_from: None,
            base: Usd::new(input, output),
            tiers: Vec::new(),
        }
    }

    /// Only for calls that this provider served, or that name none.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// Price of input tokens read from the cache; else that of input.
    #[must_use]
    pub fn cache_read(mut self, usd: f64) -> Self {
        self.base.cache_read = Some(usd);
        self
    }

    /// Price of input tokens written to the cache; else that of input.
    #[must_use]
    pub fn cache_write(mut self, usd: f64) -> Self {
        self.base.cache_write = Some(usd);
        self
    }

    /// Price of output tokens spent on reasoning; else that of output.
    #[must_use]
    pub fn reasoning(mut self, usd: f64) -> Self {
        self.base.reasoning = Some(usd);
        self
    }

    /// Price of each call, in US dollars; else 0.
    #[must_use]
    pub fn request(mut self, usd: f64) -> Self {
        self.request = usd;
        self
    }

    /// Only for calls from this time on.
    #[must_use]
    pub fn valid_from(mut self, time: SystemTime) -> Self {
        self.valid_from = Some(time);
        self
    }

    /// Another price for calls with many input tokens.
    #[must_use]
    pub fn tier(mut self, tier: PriceTier) -> Self {
        self.tiers.push(tier);
        self
    }
}

impl PriceTier {
    /// The price of calls with more input tokens than `above`.
    pub fn above(above: u64, input: f64, output: f64) -> Self {
        Self { above, price: Usd::new(input, output) }
    }

    /// Price of input tokens read from the cache; else that of this tier's input.
    #[must_use]
    pub fn cache_read(mut self, usd: f64) -> Self {
        self.price.cache_read = Some(usd);
        self
    }

    /// Price of input tokens written to the cache; else that of this tier's input.
    #[must_use]
    pub fn cache_write(mut self, usd: f64) -> Self {
        self.price.cache_write = Some(usd);
        self
    }

    /// Price of output tokens spent on reasoning; else that of this tier's output.
    #[must_use]
    pub fn reasoning(mut self, usd: f64) -> Self {
        self.price.reasoning = Some(usd);
        self
    }
}

impl PriceTable {
    /// A table without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If its model has no name or a `*` inside it, a price is no amount, two of its tiers start at the same
    /// number, or the table has an entry for the same provider, model and time.
    pub fn with(mut self, price: ModelPrice) -> Result<Self, Error> {
        let entry = Entry::new(price)?;
        if self.entries.iter().any(|other| other.key() == entry.key()) {
            return Err(Error::config(format!(
                "model {:?} has two prices from the same time on: remove one or set its valid_from",
                entry.pattern()
            )));
        }
        self.entries.push(entry);
        // `false` goes before `true`, so each part is turned to put the closer fit first.
        self.entries.sort_by_cached_key(|entry| {
            let age = entry.valid_from.map(std::cmp::Reverse);
            (
                entry.provider.is_none(),
                std::cmp::Reverse(entry.name.len()),
                entry.is_start,
                age.is_none(),
                age,
            )
        });
        Ok(self)
    }

    /// Reads a table from TOML: see [`PriceTable`].
    ///
    /// # Errors
    /// If it is no TOML or an entry is not right; the message says which line, key and value.
    pub fn from_toml_str(text: &str) -> Result<Self, Error> {
        toml::parse(text)
    }

    /// Reads a table from a TOML file: see [`PriceTable`].
    ///
    /// # Errors
    /// As [`Self::from_toml_str`], and if the file cannot be read; the message names the file.
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let in_file =
            |why: &dyn std::fmt::Display| Error::config(format!("price table {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| in_file(&error))?;
        Self::from_toml_str(&text).map_err(|error| in_file(&error))
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Pricing for PriceTable {
    fn price(&self, call: &ModelCall<'_>) -> Price {
        if call.models().next().is_none() {
            return Price::Unknown(UnknownReason::NoModel);
        }
        call.models()
            .find_map(|model| self.entries.iter().find(|entry| entry.fits(call, model)))
            .map_or(Price::Unknown(UnknownReason::ModelNotFound), |entry| entry.rates.price(&call.usage))
    }
}

impl Entry {
    fn new(price: ModelPrice) -> Result<Self, Error> {
        let ModelPrice { provider, model, request, valid_from, base, mut tiers } = price;
        let (name, is_start) = match model.trim().strip_suffix('*') {
            Some(name) => (name, true),
            None => (model.trim(), false),
        };
        if (name.is_empty() && !is_start) || name.contains('*') {
            return Err(Error::config(format!(
                "model {model:?}: expected a name, with a * at its end or without any"
            )));
        }
        let of_model = |error: &dyn std::fmt::Display| Error::config(format!("model {model:?}: {error}"));
        tiers.sort_by_key(|tier| tier.above);
        if let Some(pair) = tiers.windows(2).find(|pair| pair[0].above == pair[1].above) {
            return Err(of_model(&format_args!("two tiers above {}", pair[0].above)));
        }
        let tiers = tiers
            .iter()
            .map(|tier| Ok(Tier { above: tier.above, rate: tier.price.rate()? }))
            .collect::<Result<_, Error>>()
            .map_err(|error| of_model(&error))?;
        let rates = Rates {
            request: Nanodollars::from_usd(request)
                .map_err(|error| of_model(&format_args!("request: {error}")))?
                .get(),
            base: base.rate().map_err(|error| of_model(&error))?,
            tiers,
        };
        Ok(Self { provider, name: name.to_ascii_lowercase(), is_start, valid_from, rates })
    }

    fn key(&self) -> (Option<&str>, &str, bool, Option<SystemTime>) {
        (self.provider.as_deref(), &self.name, self.is_start, self.valid_from)
    }

    fn pattern(&self) -> String {
        format!("{}{}", self.name, if self.is_start { "*" } else { "" })
    }

    fn fits(&self, call: &ModelCall<'_>, model: &str) -> bool {
        if self.valid_from.is_some_and(|from| call.at < from) || !self.names(model) {
            return false;
        }
        match (self.provider.as_deref(), call.named_provider()) {
            (None, _) => true,
            (Some(own), Some(served)) => same_provider(own, served) || named_by_prefix(own, model),
            // The call does not tell: the model's prefix may, else the name alone decides.
            (Some(own), None) => prefixes(model).next().is_none() || named_by_prefix(own, model),
        }
    }

    fn names(&self, model: &str) -> bool {
        let fits = |model: &str| match model.get(..self.name.len()) {
            Some(start) => {
                start.eq_ignore_ascii_case(&self.name) && (self.is_start || model.len() == self.name.len())
            }
            None => false,
        };
        fits(model) || fits(bare(model))
    }
}

fn named_by_prefix(provider: &str, model: &str) -> bool {
    prefixes(model).any(|(prefix, _)| same_provider(provider, prefix))
}
