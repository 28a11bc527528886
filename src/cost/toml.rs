//! Price tables as TOML.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use toml::Spanned;

use super::table::{ModelPrice, PriceTable, PriceTier};
use crate::error::Error;

/// More than anybody sells; a file with more is another file.
const MAX_MODELS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    models: Vec<Spanned<Model>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    provider: Option<String>,
    model: String,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    reasoning: Option<f64>,
    request: Option<f64>,
    valid_from: Option<Spanned<toml::Value>>,
    #[serde(default)]
    tiers: Vec<ModelTier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelTier {
    above: u64,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    reasoning: Option<f64>,
}

pub(super) fn parse(text: &str) -> Result<PriceTable, Error> {
    let file: File = toml::from_str(text).map_err(|error| Error::config(error.to_string().trim()))?;
    let at_line = |span: std::ops::Range<usize>, why: &dyn std::fmt::Display| {
        let line = text.get(..span.start).map_or(0, |before| before.matches('\n').count()) + 1;
        Error::config(format!("line {line}: {why}"))
    };
    if file.models.len() > MAX_MODELS {
        return Err(Error::config(format!("{} models, expected at most {MAX_MODELS}", file.models.len())));
    }
    let mut table = PriceTable::new();
    for entry in file.models {
        let span = entry.span();
        let model = entry.into_inner();
        let valid_from = match &model.valid_from {
            Some(value) => Some(date(value.get_ref()).map_err(|why| at_line(value.span(), &why))?),
            None => None,
        };
        table = table.with(price(model, valid_from)).map_err(|error| at_line(span, &error))?;
    }
    Ok(table)
}

fn price(model: Model, valid_from: Option<SystemTime>) -> ModelPrice {
    let mut price = ModelPrice::new(model.model, model.input, model.output);
    if let Some(provider) = model.provider {
        price = price.provider(provider);
    }
    if let Some(usd) = model.cache_read {
        price = price.cache_read(usd);
    }
    if let Some(usd) = model.cache_write {
        price = price.cache_write(usd);
    }
    if let Some(usd) = model.reasoning {
        price = price.reasoning(usd);
    }
    if let Some(usd) = model.request {
        price = price.request(usd);
    }
    if let Some(time) = valid_from {
        price = price.valid_from(time);
    }
    model.tiers.into_iter().fold(price, |price, tier| price.tier(price_tier(&tier)))
}

fn price_tier(tier: &ModelTier) -> PriceTier {
    let mut price = PriceTier::above(tier.above, tier.input, tier.output);
    if let Some(usd) = tier.cache_read {
        price = price.cache_read(usd);
    }
    if let Some(usd) = tier.cache_write {
        price = price.cache_write(usd);
    }
    if let Some(usd) = tier.reasoning {
        price = price.reasoning(usd);
    }
    price
}

/// Midnight UTC of a date, written as text or as TOML's own date.
fn date(value: &toml::Value) -> Result<SystemTime, String> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Datetime(date) => date.to_string(),
        other => format!("of type {}", other.type_str()),
    };
    midnight(&text).ok_or_else(|| format!("valid_from is {text:?}, expected a date like \"2026-01-31\""))
}

fn midnight(text: &str) -> Option<SystemTime> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let (year, month, day): (u64, u64, u64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of = |year, month| match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    Some(UNIX_EPOCH + Duration::from_secs((years + months + day - 1) * 86_400))
}
