//! The end of a demo for people.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

use super::Summary;
use crate::show::clean;

/// Tools that are listed; the rest is one line.
const MAX_TOOLS: usize = 10;
/// The longest name that is shown whole.
const MAX_NAME_CHARS: usize = 60;

/// How the text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Style {
    /// Text alone.
    #[default]
    Plain,
    /// The verdict in colour.
    Colored,
}

impl Summary {
    /// Writes the summary as text.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write_text(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let outcomes = &self.outcomes;
        writeln!(
            out,
            "{} runs: {} succeeded, {} failed, {} unknown\n",
            grouped(self.runs),
            outcomes.success,
            outcomes.failure,
            outcomes.unknown
        )?;
        let mut spans = table(&["spans", "count", "errors"]);
        let none = String::new;
        spans.add_row(["invoke_agent".to_owned(), grouped(self.spans.invoke_agent), none()]);
        spans.add_row(["chat".to_owned(), grouped(self.spans.chat), grouped(self.errors.chat)]);
        let tools = [grouped(self.spans.execute_tool), grouped(self.errors.execute_tool)];
        spans.add_row(["execute_tool".to_owned(), tools[0].clone(), tools[1].clone()]);
        spans.add_row(["other".to_owned(), grouped(self.spans.other), none()]);
        spans.add_row(["total".to_owned(), grouped(self.spans.total), none()]);
        write_table(out, &mut spans, 1)?;
        writeln!(
            out,
            "tokens: {} in ({} of them read from a cache), {} out\ncost: {}{}\n",
            grouped(self.tokens.input),
            grouped(self.tokens.cache_read),
            grouped(self.tokens.output),
            usd(self.cost_usd),
            if self.cost_partial { " (partial: some calls have no known price)" } else { "" }
        )?;
        if self.asked.is_none() {
            self.write_models(out)?;
        }
        self.write_tools(out)?;
        self.write_errors(out)?;
        if let Some(asked) = &self.asked {
            asked.write(out)?;
        }
        self.write_verdict(out, style)
    }

    fn write_models(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.per_model.is_empty() {
            return Ok(());
        }
        let mut models = table(&["model", "calls", "tokens in", "tokens out", "cost"]);
        for (name, model) in &self.per_model {
            let cost = match model.cost_usd {
                None => "unknown".to_owned(),
                Some(cost) if model.partial => format!("{} (partial)", usd(cost)),
                Some(cost) => usd(cost),
            };
            let [calls, input, output] = [model.calls, model.input_tokens, model.output_tokens].map(grouped);
            models.add_row([shown(name), calls, input, output, cost]);
        }
        write_table(out, &mut models, 1)
    }

    fn write_tools(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.per_tool.is_empty() {
            return Ok(());
        }
        let mut by_calls: Vec<_> = self.per_tool.iter().collect();
        by_calls.sort_by(|(a, one), (b, other)| other.calls.cmp(&one.calls).then_with(|| a.cmp(b)));
        let (listed, rest) = by_calls.split_at(by_calls.len().min(MAX_TOOLS));
        let mut tools = table(&["tool", "calls", "errors"]);
        for (name, tool) in listed {
            tools.add_row([shown(name), grouped(tool.calls), grouped(tool.errors)]);
        }
        if !rest.is_empty() {
            let sum =
                |of: fn(&super::ToolCounts) -> u64| grouped(rest.iter().map(|(_, tool)| of(tool)).sum());
            tools.add_row([format!("{} more", rest.len()), sum(|tool| tool.calls), sum(|tool| tool.errors)]);
        }
        write_table(out, &mut tools, 1)
    }

    fn write_errors(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.error_types.is_empty() {
            return Ok(());
        }
        let mut errors = table(&["error in", "error.type", "count"]);
        for (operation, kind, count) in &self.error_types {
            errors.add_row([(*operation).to_owned(), shown(kind), grouped(*count)]);
        }
        write_table(out, &mut errors, 2)
    }

    fn write_verdict(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        writeln!(out, "exported {} spans, lost {}", grouped(self.exported), grouped(self.lost))?;
        let (word, color, why) = match self.verified {
            Some(true) => (
                "verified",
                "32",
                "the runs, the spans and metrics that arrived, and the exporter's own count agree",
            ),
            Some(false) => ("NOT VERIFIED", "31", "these do not agree:"),
            None => (
                "not checked",
                "33",
                "the endpoint cannot be asked what it got; the counts are those of the agents' side",
            ),
        };
        match style {
            Style::Plain => writeln!(out, "{word}: {why}")?,
            Style::Colored => writeln!(out, "\u{1b}[{color}m{word}\u{1b}[0m: {why}")?,
        }
        for disagreement in &self.disagreements {
            writeln!(out, "  {}", clean(disagreement))?;
        }
        Ok(())
    }
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.iter().copied());
    table
}

/// Writes a table whose columns from `numbers` on are numbers.
pub(super) fn write_table(out: &mut dyn Write, table: &mut Table, numbers: usize) -> io::Result<()> {
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out)
}

/// A name as the terminal may have it: names come from recordings, and a terminal obeys control characters.
pub(super) fn shown(name: &str) -> String {
    let name = clean(name);
    if name.chars().count() <= MAX_NAME_CHARS {
        return name;
    }
    name.chars().take(MAX_NAME_CHARS - 1).chain(['…']).collect()
}

pub(super) fn usd(amount: f64) -> String {
    format!("${amount:.4}")
}

/// A number with its thousands apart: `17,618,230`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
