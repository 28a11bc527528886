//! Cost, summed by keys.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{Nanodollars, Price};
use crate::operation::Usage;

/// Model calls, their tokens and their cost, summed by keys of your choice, e.g. provider and model.
///
/// The total is always the sum of the rows. Where a call's price is unknown, its row and the total say so: their
/// cost is then a lower bound. Prints as a table, serialises as a document.
///
/// ```
/// use agentvitals::Usage;
/// use agentvitals::cost::{CostReport, Nanodollars, Price, UnknownReason};
/// let mut report = CostReport::by(["model"]);
/// report.add(&["gpt-4.1"], &Usage::new(1_000, 100), Price::Known(Nanodollars::new(2_800_000)));
/// report.add(&["mystery"], &Usage::new(500, 50), Price::Unknown(UnknownReason::ModelNotFound));
/// assert_eq!(report.to_string(), "\
/// model    calls  input  output     cost
/// gpt-4.1      1   1000     100  $0.0028
/// mystery      1    500      50  unknown
/// total        2   1500     150  $0.0028 + 1 unpriced call
/// ");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostReport {
    keys: Vec<String>,
    rows: BTreeMap<Vec<String>, CostRow>,
}

/// Sums of one row, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CostRow {
    /// Model calls.
    pub calls: u64,
    /// Calls whose price is unknown.
    pub unpriced_calls: u64,
    /// Calls that did not report their input tokens; none were added for them.
    pub unreported_calls: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Input tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to the cache.
    pub cache_write_tokens: u64,
    /// Output tokens spent on reasoning.
    pub reasoning_tokens: u64,
    /// Cost of the calls whose price is known.
    #[serde(rename = "cost_nanodollars")]
    pub cost: Nanodollars,
}

impl CostRow {
    /// Whether the cost misses calls.
    pub fn partial(&self) -> bool {
        self.unpriced_calls > 0
    }

    /// The cost in US dollars; `None` if there were calls and no price of any is known.
    pub fn cost_usd(&self) -> Option<f64> {
        (self.calls == 0 || self.unpriced_calls < self.calls).then(|| self.cost.usd())
    }

    pub(super) fn add(&mut self, other: &Self) {
        let sum = |one: &mut u64, other: u64| *one = one.saturating_add(other);
        sum(&mut self.calls, other.calls);
        sum(&mut self.unpriced_calls, other.unpriced_calls);
        sum(&mut self.unreported_calls, other.unreported_calls);
        sum(&mut self.input_tokens, other.input_tokens);
        sum(&mut self.output_tokens, other.output_tokens);
        sum(&mut self.cache_read_tokens, other.cache_read_tokens);
        sum(&mut self.cache_write_tokens, other.cache_write_tokens);
        sum(&mut self.reasoning_tokens, other.reasoning_tokens);
        self.cost += other.cost;
    }

    pub(super) fn of_call(usage: &Usage, price: Price) -> Self {
        Self {
            calls: 1,
            unpriced_calls: u64::from(price.known().is_none()),
            unreported_calls: u64::from(usage.input_tokens.is_none()),
            input_tokens: usage.input_tokens.unwrap_or(0),
            output_tokens: usage.output_tokens.unwrap_or(0),
            cache_read_tokens: usage.cache_read_tokens.unwrap_or(0),
            cache_write_tokens: usage.cache_write_tokens.unwrap_or(0),
            reasoning_tokens: usage.reasoning_tokens.unwrap_or(0),
            cost: price.known().unwrap_or_default(),
        }
    }

    fn cost_cell(&self) -> String {
        match (self.cost_usd(), self.unpriced_calls) {
            (None, _) => "unknown".to_owned(),
            (Some(_), _) => self.cost.to_string(),
        }
    }

    fn remark(&self) -> String {
        match self.unpriced_calls {
            unpriced if unpriced == 0 || self.cost_usd().is_none() => String::new(),
            1 => " + 1 unpriced call".to_owned(),
            unpriced => format!(" + {unpriced} unpriced calls"),
        }
    }
}

impl CostReport {
    /// Rows that are kept; calls of further rows go to one row named `(other)`.
    pub const MAX_ROWS: usize = 10_000;

    /// An empty report whose rows are told apart by these keys.
    pub fn by<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: keys.into_iter().map(Into::into).collect(), rows: BTreeMap::new() }
    }

    /// Adds a call. `values` are those of the keys, in their order: missing ones are empty, further ones are
    /// left out.
    pub fn add(&mut self, values: &[&str], usage: &Usage, price: Price) {
        let values = (0..self.keys.len()).map(|at| values.get(at).copied().unwrap_or_default().to_owned());
        self.add_row(values.collect(), &CostRow::of_call(usage, price));
    }

    /// Adds another report's rows. Their values are taken by position, as in [`Self::add`].
    pub fn merge(&mut self, other: &Self) {
        for (values, row) in &other.rows {
            let mut values = values.clone();
            values.resize(self.keys.len(), String::new());
            self.add_row(values, row);
        }
    }

    pub(super) fn add_row(&mut self, values: Vec<String>, row: &CostRow) {
        let is_full = self.rows.len() >= Self::MAX_ROWS && !self.rows.contains_key(&values);
        let values = if is_full { vec!["(other)".to_owned(); self.keys.len()] } else { values };
        self.rows.entry(values).or_default().add(row);
    }

    /// The keys.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The rows with their values, sorted by these.
    pub fn rows(&self) -> impl Iterator<Item = (&[String], &CostRow)> {
        self.rows.iter().map(|(values, row)| (values.as_slice(), row))
    }

    /// The sum of the rows.
    pub fn total(&self) -> CostRow {
        self.rows.values().fold(CostRow::default(), |mut total, row| {
            total.add(row);
            total
        })
    }

    /// Whether the total misses calls whose price is unknown.
    pub fn partial(&self) -> bool {
        self.rows.values().any(CostRow::partial)
    }
}

impl fmt::Display for CostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |values: Vec<String>, row: &CostRow| {
            let counts = [row.calls, row.input_tokens, row.output_tokens].map(|count| count.to_string());
            values.into_iter().chain(counts).chain([row.cost_cell()]).collect::<Vec<_>>()
        };
        let mut head = self.keys.clone();
        head.extend(["calls", "input", "output", "cost"].map(str::to_owned));
        let mut lines = vec![(head, String::new())];
        for (values, row) in &self.rows {
            lines.push((cells(values.clone(), row), row.remark()));
        }
        let total = self.total();
        let mut values = vec![String::new(); self.keys.len()];
        if let Some(first) = values.first_mut() {
            "total".clone_into(first);
        }
        lines.push((cells(values, &total), total.remark()));
        let width = |at: usize| lines.iter().map(|(cells, _)| cells[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..self.keys.len() + 4).map(width).collect();
        for (cells, remark) in &lines {
            for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                let gap = if at == 0 { "" } else { "  " };
                // Names to the left, figures to the right.
                if at < self.keys.len() {
                    write!(f, "{gap}{cell:<width$}")?;
                } else {
                    write!(f, "{gap}{cell:>width$}")?;
                }
            }
            writeln!(f, "{remark}")?;
        }
        Ok(())
    }
}

impl Serialize for CostReport {
    /// `{"rows": [{"key": {"model": ..}, "calls": .., "cost_nanodollars": .., "cost_usd": .. or null, "partial":
    /// ..}], "total": {..}}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<_> =
            self.rows.iter().map(|(values, row)| Document::new(Some((&self.keys, values)), *row)).collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("rows", &rows)?;
        map.serialize_entry("total", &Document::new(None, self.total()))?;
        map.end()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(flatten)]
    row: CostRow,
    cost_usd: Option<f64>,
    partial: bool,
}

impl<'a> Document<'a> {
    fn new(key: Option<(&'a [String], &'a [String])>, row: CostRow) -> Self {
        let key = key.map(|(keys, values)| {
            keys.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect()
        });
        Self { key, row, cost_usd: row.cost_usd(), partial: row.partial() }
    }
}
