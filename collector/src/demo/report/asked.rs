//! What a user would ask first, and what the store answers.

use std::io::{self, Write};

use serde::Serialize;

use super::text::{grouped, shown, table, usd, write_table};
use crate::query::request::{Group, Span};
use crate::show;

/// Rows of a table, and lines of the waterfall.
const MAX_ROWS: usize = 10;
const MAX_LINES: usize = 24;

/// Answers out of the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::demo) struct Asked {
    /// Runs of agents, by name.
    pub(in crate::demo) per_agent: Vec<Group>,
    /// Model calls, by model.
    pub(in crate::demo) per_model: Vec<Group>,
    /// The slowest runs that failed.
    pub(in crate::demo) slowest_failed: Vec<Span>,
    /// The spans of one run.
    pub(in crate::demo) trace: Vec<Span>,
}

impl Asked {
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.groups(out, "per agent", &self.per_agent, false)?;
        self.groups(out, "per model", &self.per_model, true)?;
        if !self.slowest_failed.is_empty() {
            let mut runs = table(&["slowest failed runs", "duration"]);
            for span in &self.slowest_failed {
                runs.add_row([span.trace_id.clone(), show::duration(span.duration_ns)]);
            }
            write_table(out, &mut runs, 1)?;
        }
        if !self.trace.is_empty() {
            show::waterfall(&self.trace, MAX_LINES, out)?;
            writeln!(out)?;
        }
        Ok(())
    }

    fn groups(&self, out: &mut dyn Write, what: &str, groups: &[Group], money: bool) -> io::Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let mut header = vec![what, "count", "errors", "p50", "p95"];
        if money {
            header.extend(["tokens in", "tokens out", "cost"]);
        }
        let mut rows = table(&header);
        for group in groups.iter().take(MAX_ROWS) {
            let name = group
                .by
                .first()
                .map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), shown));
            #[expect(
                clippy::cast_possible_truncation,
                reason = "nanoseconds that are shown with three digits"
            )]
            let [p50, p95] =
                [group.duration_ns.p50, group.duration_ns.p95].map(|nanos| show::duration(nanos as i64));
            let mut row = vec![name, grouped(group.count), grouped(group.errors), p50, p95];
            if money {
                row.extend([grouped(group.input_tokens), grouped(group.output_tokens)]);
                row.push(group.cost.map_or_else(|| "unknown".to_owned(), usd));
            }
            rows.add_row(row);
        }
        write_table(out, &mut rows, 1)?;
        match groups.len().saturating_sub(MAX_ROWS) {
            0 => Ok(()),
            more => writeln!(out, "and {more} more\n"),
        }
    }
}
