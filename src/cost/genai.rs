//! The price list of the crate genai-prices.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use genai_prices::{Calculator, PriceRequest, Usage as Tokens, UsageKey};

use super::names::{is_fine_tuned, is_neutral, prefixes, provider_id};
use super::rates::{Rate, Rates, Tier};
use super::{ModelCall, Price, Pricing, UnknownReason};

/// Prices of several hundred models of some 40 providers with their history, from the crate genai-prices: no
/// network is needed.
///
/// Names of providers and models are understood in the forms in use (`gcp.gemini`, `google/gemini-3-pro`,
/// `@google/..`, `models/..`). A model is looked up with the provider that the call names; without one, with the
/// provider that the model's prefix names, or the one that the model's name is typical of. Fine-tuned models
/// (`ft:..`) have no price here, and never that of their base. Neither have models that the list knows without a
/// price for tokens.
///
/// The list takes some 100 ms to decode, which [`warm_up`](Pricing::warm_up) does ahead of the first call, and some
/// 10 us for each answer; so the prices of a model are worked out once in 15 minutes and then applied with
/// integers, without an allocation.
///
/// ```
/// use agentvitals::Usage;
/// use agentvitals::cost::{GenaiPrices, ModelCall, Pricing as _};
/// use std::time::{Duration, UNIX_EPOCH};
/// let in_2026 = UNIX_EPOCH + Duration::from_secs(1_780_000_000);
/// let call = ModelCall::new(Usage::new(10_000, 1_000).cache_read(8_000), in_2026).request_model("openai/gpt-4.1");
/// assert_eq!(GenaiPrices::new().price(&call).known().unwrap().to_string(), "$0.016");
/// ```
#[derive(Debug, Clone, Default)]
pub struct GenaiPrices {
    memo: Arc<Memo>,
}

/// Seconds for which a model's rates are kept. The list has prices that change at 00:30 and 16:30.
const PERIOD: u64 = 15 * 60;

/// Models times periods whose rates are kept; when there are more, all are worked out anew.
const MAX_KEPT: usize = 1_024;

/// No context window comes near: tiers above are not looked for.
const MAX_TIER: u64 = 1 << 24;

/// Output tokens with which output rates are worked out.
const MILLION: f64 = 1e6;

#[derive(Debug, Default)]
struct Memo {
    hasher: RandomState,
    kept: RwLock<HashMap<u64, Kept>>,
}

#[derive(Debug)]
struct Kept {
    provider: Option<Box<str>>,
    request: Option<Box<str>>,
    response: Option<Box<str>>,
    period: u64,
    rates: Option<Rates>,
}

impl Kept {
    fn is_for(&self, call: &ModelCall<'_>, period: u64) -> bool {
        self.period == period
            && self.provider.as_deref() == call.provider
            && self.request.as_deref() == call.request_model
            && self.response.as_deref() == call.response_model
    }
}

impl GenaiPrices {
    /// The price list as it was when genai-prices was released.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Pricing for GenaiPrices {
    fn price(&self, call: &ModelCall<'_>) -> Price {
        if call.models().next().is_none() {
            return Price::Unknown(UnknownReason::NoModel);
        }
        let period = call.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / PERIOD);
        let key = self.memo.hasher.hash_one((call.provider, call.request_model, call.response_model, period));
        {
            let kept = self.memo.kept.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(kept) = kept.get(&key).filter(|kept| kept.is_for(call, period)) {
                return priced(kept.rates.as_ref(), call);
            }
        }
        let rates = look_up(call);
        let price = priced(rates.as_ref(), call);
        let mut kept = self.memo.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(
            key,
            Kept {
                provider: call.provider.map(Into::into),
                request: call.request_model.map(Into::into),
                response: call.response_model.map(Into::into),
                period,
                rates,
            },
        );
        price
    }

    fn warm_up(&self) {
        let _ = Calculator::bundled();
    }
}

fn priced(rates: Option<&Rates>, call: &ModelCall<'_>) -> Price {
    rates.map_or(Price::Unknown(UnknownReason::ModelNotFound), |rates| rates.price(&call.usage))
}

/// What the list says of a model.
enum Found {
    Rates(Rates),
    /// It knows the model, but no price for tokens: looking elsewhere would find another model's price.
    Unpriced,
    Nothing,
}

fn look_up(call: &ModelCall<'_>) -> Option<Rates> {
    if call.models().any(is_fine_tuned) {
        return None;
    }
    for model in call.models() {
        match look_up_model(call.named_provider(), model, call.at) {
            Found::Rates(rates) => return Some(rates),
            Found::Unpriced => return None,
            Found::Nothing => {}
        }
    }
    None
}

fn look_up_model(provider: Option<&str>, model: &str, at: SystemTime) -> Found {
    let given = provider.map(provider_id);
    // With the provider that served it: the name as it is, then without its prefixes.
    if let Some(given) = given.filter(|given| is_listed(given)) {
        let found = with_provider(Some(given), model, at);
        if !matches!(found, Found::Nothing) {
            return found;
        }
    }
    // With the provider that a prefix names, e.g. behind a gateway.
    for (prefix, rest) in prefixes(model) {
        let named = provider_id(prefix);
        if is_listed(named) {
            let found = rates(Some(named), rest, at);
            if !matches!(found, Found::Nothing) {
                return found;
            }
        }
    }
    // With the provider whose models are called so; but a provider that is not listed, like one's own server,
    // has prices of its own.
    if provider.is_none() { with_provider(None, model, at) } else { Found::Nothing }
}

fn with_provider(provider: Option<&str>, model: &str, at: SystemTime) -> Found {
    let mut found = rates(provider, model, at);
    for (prefix, rest) in prefixes(model) {
        // `somebody/gpt-4o-clone` is not gpt-4o.
        if !matches!(found, Found::Nothing) || !(is_neutral(prefix) || is_listed(provider_id(prefix))) {
            break;
        }
        found = rates(provider, rest, at);
    }
    found
}

fn is_listed(provider: &str) -> bool {
    matches!(Calculator::bundled().find_provider(Some(provider), None), Ok(Some(_)))
}

/// The rates of a model. The list answers with totals only, so they are worked out from the totals of chosen
/// usages; that they then give the list's totals for every usage is tested for every model of the list.
fn rates(provider: Option<&str>, model: &str, at: SystemTime) -> Found {
    let list = List { provider, model, at };
    let Some(request) = list.total(&[]) else { return Found::Nothing };
    let rate = |tokens| list.rate(request, tokens);
    let (Some(base), Some(last)) = (rate(1), rate(MAX_TIER)) else { return Found::Unpriced };
    let mut tiers = Vec::new();
    let mut reached = (1, base);
    while reached.1 != last {
        // Invariant: at `same` tokens the rate is still that of `reached`, at `other` it is not.
        let (mut same, mut other) = (reached.0, MAX_TIER);
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            match rate(middle) {
                Some(found) if found == reached.1 => same = middle,
                Some(_) => other = middle,
                None => return Found::Unpriced,
            }
        }
        let Some(next) = rate(other) else { return Found::Unpriced };
        tiers.push(Tier { above: same, rate: next });
        reached = (other, next);
    }
    let rates = Rates { request: nanos(request), base, tiers: tiers.into() };
    // Where the list has no price it adds up to 0; only what says so in its name is free.
    if rates == Rates::default() && !model.ends_with(":free") { Found::Unpriced } else { Found::Rates(rates) }
}

/// One model in the list.
struct List<'a> {
    provider: Option<&'a str>,
    model: &'a str,
    at: SystemTime,
}

impl List<'_> {
    /// US dollars for this usage; `None` if the list has no answer.
    fn total(&self, usage: &[(UsageKey, f64)]) -> Option<f64> {
        let usage: Tokens = usage.iter().cloned().collect();
        let mut request = PriceRequest::new(self.model, &usage).with_timestamp(self.at);
        request.provider_id = self.provider;
        Some(Calculator::bundled().calculate(&request).ok()?.total_price)
    }

    /// The rates of a call with so many input tokens.
    fn rate(&self, request: f64, tokens: u64) -> Option<Rate> {
        // Below 2^24: exact.
        let count = tokens as f64;
        let input = (UsageKey::INPUT_TOKENS, count);
        let output = (UsageKey::OUTPUT_TOKENS, MILLION);
        let plain = self.total(std::slice::from_ref(&input))?;
        let read = self.total(&[input.clone(), (UsageKey::CACHE_READ_TOKENS, count)])?;
        let write = self.total(&[input.clone(), (UsageKey::CACHE_WRITE_TOKENS, count)])?;
        let answered = self.total(&[input.clone(), output.clone()])?;
        let thought = self.total(&[input, output, (UsageKey::OUTPUT_REASONING_TOKENS, MILLION)])?;
        let per_million = |total: f64| nanos((total - request) / count * MILLION);
        Some(Rate {
            input: per_million(plain),
            cache_read: per_million(read),
            cache_write: per_million(write),
            output: nanos(answered - plain),
            reasoning: nanos(thought - plain),
        })
    }
}

/// US dollars as nanodollars; the list's prices are finite and not negative, its rounding errors may be.
fn nanos(usd: f64) -> u64 {
    // A cast from a float stays within the integer's range.
    (usd * 1e9).round() as u64
}
