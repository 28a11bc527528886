//! The report: one pass over the columns for all figures, and a look at the newest runs for what only single spans tell.

use std::collections::BTreeMap;

use agentvitals::semconv::{attr, operation};
use agentvitals::statistics::spearman;

use super::Queries;
use super::figures::{Figures, middle};
use super::runs::Runs;
use super::stats::{Grouped, grouped};
use crate::query::engine::{Control, QueryError};
use crate::query::report::{
    CostLine, Costs, Line, Ranked, Report, ReportRequest, Share, Step, Together, recommend,
};
use crate::query::request::StatsRequest;

const NANOS: f64 = 1e9;
/// A day, nanoseconds.
const DAY: i64 = 86_400_000_000_000;
/// Steps of the trend.
const STEPS: i64 = 24;
/// Conversations that are shown.
const CONVERSATIONS: usize = 50;
/// A mean above this is slow, seconds.
const SLOW: f64 = 3.0;

/// What a span is, by its operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Model,
    Tool,
    Workflow,
}

pub(super) fn kind(name: &str) -> Option<Kind> {
    match name {
        operation::INVOKE_AGENT => Some(Kind::Agent),
        operation::EXECUTE_TOOL => Some(Kind::Tool),
        operation::INVOKE_WORKFLOW => Some(Kind::Workflow),
        operation::CHAT
        | operation::TEXT_COMPLETION
        | operation::GENERATE_CONTENT
        | operation::EMBEDDINGS => Some(Kind::Model),
        _ => None,
    }
}

pub(super) fn answer(
    queries: &Queries,
    request: &ReportRequest,
    control: &Control,
) -> Result<Report, QueryError> {
    let end = request.end.unwrap_or_else(crate::clock::unix_nanos);
    let start = request.start.unwrap_or_else(|| end.saturating_sub(DAY));
    if start >= end {
        return Err(QueryError::invalid(format!(
            "the window begins at {start} and ends at {end}: expected a start before its end"
        )));
    }
    let by = [attr::OPERATION_NAME, attr::AGENT_NAME, attr::REQUEST_MODEL, attr::TOOL_NAME];
    let asked = StatsRequest {
        q: request.q.clone(),
        start: Some(start),
        end: Some(end),
        by: by.iter().map(|key| format!("span.{key}")).collect(),
        step: None,
        limit: None,
    };
    let (groups, scanned) = grouped(queries, &asked, control)?;
    let mut book = Book::default();
    groups.iter().for_each(|group| book.enter(group));
    // Few spans are workflows: what is grouped by costs each of the others, too.
    let only = format!("{{ span.{} = \"{}\" }}", attr::OPERATION_NAME, operation::INVOKE_WORKFLOW);
    let workflows = StatsRequest {
        q: if request.q.trim().is_empty() { only } else { request.q.clone() },
        by: [attr::OPERATION_NAME, attr::WORKFLOW_NAME].map(|key| format!("span.{key}")).into(),
        ..asked
    };
    let (workflows, _) = grouped(queries, &workflows, control)?;
    workflows.iter().for_each(|group| book.enter_workflow(group));
    // Steps by themselves: together with all that is grouped by above there would be too many groups.
    let steps = StatsRequest {
        by: vec![format!("span.{}", attr::OPERATION_NAME)],
        step: Some((end.saturating_sub(start) / STEPS).max(1)),
        ..asked.clone()
    };
    let (steps, _) = grouped(queries, &steps, control)?;
    steps.iter().for_each(|group| book.enter_step(group));
    let mut report = book.report(start, end);
    (report.q, report.scanned) = (request.q.clone(), scanned);
    report.correlations = correlations(&steps);
    report.errors = super::errors::clusters(queries, &asked, &mut report, request.brief, control)?;
    report.ranking = ranking(&report.tools);
    let mut runs = Runs::default();
    if !request.brief {
        report.costs.by_conversation = conversations(queries, &asked, &report.costs.total, control)?;
        runs = Runs::read(queries, request, (start, end), control)?;
        runs.fill(&mut report);
    }
    report.recommendations = recommend(&report, runs.found);
    Ok(report)
}

pub(super) fn text(group: &Grouped, place: usize) -> &str {
    group.by.get(place).and_then(serde_json::Value::as_str).unwrap_or("")
}

/// What is put together of the groups.
#[derive(Default)]
struct Book {
    totals: Entry,
    lines: [BTreeMap<String, Entry>; 4],
    cost: [BTreeMap<String, CostLine>; 2],
    total_cost: CostLine,
    steps: BTreeMap<i64, (Figures, Figures)>,
}

#[derive(Default)]
struct Entry {
    figures: Figures,
    unpriced: u64,
}

impl Entry {
    fn add(&mut self, group: &Grouped, calls_model: bool) {
        self.figures.merge(&group.figures);
        if calls_model {
            self.unpriced += unpriced(group);
        }
    }

    fn line(&self, name: &str) -> Line {
        let group = self.figures.group(Vec::new(), None, None);
        let seconds = |nanos: f64| nanos / NANOS;
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds to seconds")]
        let (min, max) = (group.duration_ns.min as f64, group.duration_ns.max as f64);
        Line {
            name: name.to_owned(),
            count: group.count,
            errors: group.errors,
            error_rate: Share::of(group.errors, group.count),
            errors_by_type: BTreeMap::new(),
            min_s: seconds(min),
            avg_s: seconds(group.duration_ns.avg),
            max_s: seconds(max),
            p50_s: seconds(group.duration_ns.p50),
            p95_s: seconds(group.duration_ns.p95),
            p99_s: seconds(group.duration_ns.p99),
            input_tokens: group.input_tokens,
            output_tokens: group.output_tokens,
            cost_nano: self.figures.cost_nano,
            unpriced: self.unpriced,
            slow: seconds(group.duration_ns.avg) > SLOW,
            durations: coarse(&self.figures),
        }
    }
}

/// Model calls without a cost that have not failed: what is refused is not billed.
fn unpriced(group: &Grouped) -> u64 {
    let figures = &group.figures;
    figures.count.saturating_sub(figures.errors).saturating_sub(figures.priced)
}

/// Durations in buckets of an eighth of a doubling, which is as fine as a comparison needs.
fn coarse(figures: &Figures) -> Vec<(f64, u64)> {
    let mut buckets: BTreeMap<u16, u64> = BTreeMap::new();
    for (bucket, count) in figures.buckets() {
        *buckets.entry(bucket / 16).or_default() += count;
    }
    buckets.into_iter().map(|(bucket, count)| (middle(bucket * 16 + 15) / NANOS, count)).collect()
}

impl Book {
    fn enter(&mut self, group: &Grouped) {
        let Some(kind) = kind(text(group, 0)) else { return };
        let (place, name) = match kind {
            Kind::Agent => (0, text(group, 1)),
            Kind::Model => (1, text(group, 2)),
            Kind::Tool => (2, text(group, 3)),
            Kind::Workflow => return self.totals.add(group, false),
        };
        let calls_model = kind == Kind::Model;
        self.totals.add(group, calls_model);
        self.lines[place].entry(name.to_owned()).or_default().add(group, calls_model);
        if calls_model {
            let figures = &group.figures;
            let cost = CostLine {
                name: String::new(),
                requests: figures.count,
                tokens: figures.input_tokens.saturating_add(figures.output_tokens),
                cost_nano: figures.cost_nano,
                unpriced: unpriced(group),
            };
            let by_model = self.cost[0].entry(text(group, 2).to_owned()).or_default();
            add(by_model, &cost);
            add(self.cost[1].entry(text(group, 1).to_owned()).or_default(), &cost);
            add(&mut self.total_cost, &cost);
        }
    }

    fn enter_workflow(&mut self, group: &Grouped) {
        if kind(text(group, 0)) != Some(Kind::Workflow) {
            return;
        }
        self.lines[3].entry(text(group, 1).to_owned()).or_default().add(group, false);
    }

    fn enter_step(&mut self, group: &Grouped) {
        let (Some(kind), Some(step)) = (kind(text(group, 0)), group.step) else { return };
        let (all, models) = self.steps.entry(step).or_default();
        all.merge(&group.figures);
        if kind == Kind::Model {
            models.merge(&group.figures);
        }
    }

    fn report(self, start: i64, end: i64) -> Report {
        let Self { totals, lines, cost, total_cost, steps } = self;
        let [agents, models, tools, workflows] = lines.map(|lines| {
            let mut lines: Vec<Line> = lines.iter().map(|(name, entry)| entry.line(name)).collect();
            lines.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
            lines
        });
        let [by_model, by_agent] = cost.map(|lines| {
            let mut lines: Vec<CostLine> =
                lines.into_iter().map(|(name, line)| CostLine { name, ..line }).collect();
            lines.sort_by(|a, b| b.cost_nano.cmp(&a.cost_nano).then_with(|| a.name.cmp(&b.name)));
            lines
        });
        let trend = steps.into_iter().map(|(start, (all, models))| {
            let models = models.group(Vec::new(), None, None);
            Step {
                start,
                count: all.count,
                errors: all.errors,
                p95_s: (models.count > 0).then(|| models.duration_ns.p95 / NANOS),
                cost_nano: all.cost_nano,
            }
        });
        Report {
            start,
            end,
            totals: totals.line("all"),
            agents,
            models,
            tools,
            workflows,
            costs: Costs { total: total_cost, by_model, by_agent, by_conversation: Vec::new() },
            trend: trend.collect(),
            ..Report::default()
        }
    }
}

fn add(line: &mut CostLine, more: &CostLine) {
    line.requests += more.requests;
    line.tokens = line.tokens.saturating_add(more.tokens);
    line.cost_nano = line.cost_nano.saturating_add(more.cost_nano);
    line.unpriced += more.unpriced;
}

/// Conversations, the dearest first; what is not told by its name is in the rest, so that all sum to the total.
fn conversations(
    queries: &Queries,
    asked: &StatsRequest,
    total: &CostLine,
    control: &Control,
) -> Result<Vec<CostLine>, QueryError> {
    let request = StatsRequest {
        by: vec![format!("span.{}", attr::OPERATION_NAME), format!("span.{}", attr::CONVERSATION_ID)],
        step: None,
        ..asked.clone()
    };
    let (groups, _) = grouped(queries, &request, control)?;
    let mut all: BTreeMap<String, CostLine> = BTreeMap::new();
    for group in groups.iter().filter(|group| kind(text(group, 0)) == Some(Kind::Model)) {
        let figures = &group.figures;
        let line = all.entry(text(group, 1).to_owned()).or_default();
        line.requests += figures.count;
        line.tokens += figures.input_tokens + figures.output_tokens;
        line.cost_nano += figures.cost_nano;
        line.unpriced += unpriced(group);
    }
    let mut lines: Vec<CostLine> = all.into_iter().map(|(name, line)| CostLine { name, ..line }).collect();
    lines.sort_by(|a, b| b.cost_nano.cmp(&a.cost_nano).then_with(|| a.name.cmp(&b.name)));
    if lines.len() > CONVERSATIONS {
        let mut rest = CostLine { name: "(others)".to_owned(), ..CostLine::default() };
        lines.drain(CONVERSATIONS..).for_each(|line| add(&mut rest, &line));
        lines.push(rest);
    }
    debug_assert_eq!(lines.iter().map(|line| line.cost_nano).sum::<u64>(), total.cost_nano);
    Ok(lines)
}

/// Whether errors, latency and tokens go along with each other, over the steps of the window.
#[expect(clippy::cast_precision_loss, reason = "rates and means of counts")]
fn correlations(groups: &[Grouped]) -> Vec<Together> {
    #[derive(Default)]
    struct At {
        tokens: (f64, f64),
        latency: f64,
        tools: (f64, f64),
        runs: (f64, f64),
        calls: (f64, f64),
    }
    let mut steps: BTreeMap<i64, At> = BTreeMap::new();
    for group in groups {
        let (Some(kind), Some(step)) = (kind(text(group, 0)), group.step) else { continue };
        let at = steps.entry(step).or_default();
        let figures = group.figures.group(Vec::new(), None, None);
        let (count, errors) = (figures.count as f64, figures.errors as f64);
        match kind {
            Kind::Model => {
                at.tokens.0 += (figures.input_tokens + figures.output_tokens) as f64;
                at.tokens.1 += count;
                at.latency += figures.duration_ns.avg * count;
                at.calls = (at.calls.0 + errors, at.calls.1 + count);
            }
            Kind::Tool => {
                at.tools = (at.tools.0 + errors, at.tools.1 + count);
                at.calls = (at.calls.0 + errors, at.calls.1 + count);
            }
            Kind::Agent => at.runs = (at.runs.0 + errors, at.runs.1 + count),
            Kind::Workflow => {}
        }
    }
    let rate = |(part, all): (f64, f64)| (all > 0.0).then(|| part / all);
    let pairs = |pair: &dyn Fn(&At) -> Option<(f64, f64)>| -> (Vec<f64>, Vec<f64>) {
        steps.values().filter_map(pair).unzip()
    };
    let told = [
        (
            "latency of model calls and their tokens",
            pairs(&|at| Some((rate((at.latency, at.tokens.1))?, rate(at.tokens)?))),
        ),
        ("failures of tools and failures of runs", pairs(&|at| Some((rate(at.tools)?, rate(at.runs)?)))),
        ("failures of calls and how many there are", pairs(&|at| Some((rate(at.calls)?, at.calls.1)))),
    ];
    told.into_iter()
        .filter_map(|(what, (x, y))| {
            let found = spearman(&x, &y)?;
            let n = x.len() as u64;
            Some(Together {
                what: what.to_owned(),
                coefficient: found.coefficient,
                n,
                p_value: found.p_value,
            })
        })
        .collect()
}

/// Tools for selection: how surely they succeed, and how fast they are beside the fastest.
fn ranking(tools: &[Line]) -> Vec<Ranked> {
    let fastest = tools.iter().map(|tool| tool.p50_s).filter(|p50| *p50 > 0.0).fold(f64::INFINITY, f64::min);
    let mut ranked: Vec<Ranked> = tools
        .iter()
        .map(|tool| {
            let success = Share::of(tool.count - tool.errors, tool.count);
            let speed = if tool.p50_s > 0.0 { (fastest / tool.p50_s).sqrt() } else { 1.0 };
            Ranked {
                tool: tool.name.clone(),
                score: success.low * speed,
                success,
                failing: success.high < 0.9,
                ..Ranked::default()
            }
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.tool.cmp(&b.tool)));
    ranked
}
