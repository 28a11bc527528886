//! The report: one pass over the columns for all figures, and a look at the newest runs for what only single spans tell.

use std::collections::BTreeMap;

use agentvitals::semconv::{attr, operation};
use agentvitals::statistics::spearman;

use super::figures::{Figures, middle};
use super::runs::Runs;
use super::stats::{self, Ask, Grouped, Prepared, Spent, Wanted, grouped};
use super::{Queries, parallel};
use crate::query::engine::{Control, QueryError};
use crate::query::report::{
    CostLine, Costs, Line, Ranked, Report, ReportRequest, Share, Step, Together, recommend,
};
use crate::query::request::StatsRequest;
use crate::query::traceql::{Field, Intrinsic, Scope};

const NANOS: f64 = 1e9;
/// A second, nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// A day, nanoseconds.
const DAY: i64 = 86_400_000_000_000;
/// Steps of the trend.
const STEPS: i64 = 24;
/// Conversations that are shown.
const CONVERSATIONS: usize = 50;
/// A mean above this is slow, seconds.
const SLOW: f64 = 3.0;

/// What a span is, by its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Agent = 0,
    Model = 1,
    Tool = 2,
    Workflow = 3,
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
    let window = window(request)?;
    if request.brief {
        let mut report = figures(queries, request, window, control)?;
        report.recommendations = recommend(&report, Vec::new());
        return Ok(report);
    }
    // Runs are read one after the other, what spans come to in part as well: at the same time, neither waits for the other.
    let runs = || Runs::read(queries, request, window, control);
    let (runs, mut report) = parallel::both(runs, || figures(queries, request, window, control))?;
    runs.fill(&mut report);
    report.recommendations = recommend(&report, runs.found);
    Ok(report)
}

/// What all spans of a window come to.
fn figures(
    queries: &Queries,
    request: &ReportRequest,
    (start, end): (i64, i64),
    control: &Control,
) -> Result<Report, QueryError> {
    let step = step(end.saturating_sub(start));
    let (asks, spenders) = (asks(step, !request.brief), spenders(request.brief));
    let wanted = Wanted { asks: &asks, spenders: &spenders };
    let mut answers = grouped(queries, &asked(request, (start, end)), &wanted, control)?;
    let groups = std::mem::take(&mut answers.groups);
    let [lines, steps, errors]: [Vec<Grouped>; 3] = groups.try_into().unwrap_or_default();
    let mut book = Book::default();
    lines.iter().for_each(|group| book.enter(group));
    book.enter_agents(&answers.spenders(0, control)?);
    steps.iter().for_each(|group| book.enter_step(group));
    let mut report = book.report(start, end);
    (report.q, report.scanned) = (request.q.clone(), answers.scanned);
    report.correlations = correlations(&steps);
    report.errors = super::errors::clusters(&errors, &mut report);
    report.ranking = ranking(&report.tools);
    if !request.brief {
        report.costs.by_conversation = conversations(answers.spenders(1, control)?, &report.costs.total);
    }
    Ok(report)
}

/// Finds out of what does not change what such reports, brief and not, come to: the next ones have little left to read.
pub(super) fn prepare(
    queries: &Queries,
    request: &ReportRequest,
    prepared: &mut Prepared,
    control: &Control,
) -> Result<(), QueryError> {
    let (start, end) = window(request)?;
    let step = step(end.saturating_sub(start));
    let [whole, brief] = [false, true].map(|brief| (asks(step, !brief), spenders(brief)));
    let [whole, brief] = [&whole, &brief].map(|(asks, spenders)| Wanted { asks, spenders });
    stats::prepare(queries, &asked(request, (start, end)), (&whole, &brief), prepared, control)
}

/// Its start and end: the last day unless it is told.
fn window(request: &ReportRequest) -> Result<(i64, i64), QueryError> {
    let end = request.end.unwrap_or_else(crate::clock::unix_nanos);
    let start = request.start.unwrap_or_else(|| end.saturating_sub(DAY));
    if start >= end {
        return Err(QueryError::invalid(format!(
            "the window begins at {start} and ends at {end}: expected a start before its end"
        )));
    }
    Ok((start, end))
}

/// The length of the trend's steps: of windows of at least a minute whole seconds, so that "the last day" has the same whenever
/// it is asked for, however long the question was on its way.
fn step(length: i64) -> i64 {
    let step = (length / STEPS).max(1);
    if length < 60 * SECOND { step } else { step.saturating_add(SECOND / 2) / SECOND * SECOND }
}

fn asked(request: &ReportRequest, (start, end): (i64, i64)) -> StatsRequest {
    StatsRequest { q: request.q.clone(), start: Some(start), end: Some(end), ..StatsRequest::default() }
}

/// By what it is told what was spent; what brief ones leave out is the last.
fn spenders(brief: bool) -> Vec<Field> {
    let conversation = (!brief).then(|| field(attr::CONVERSATION_ID));
    [field(attr::AGENT_NAME)].into_iter().chain(conversation).collect()
}

fn field(key: &str) -> Field {
    Field::Attribute { scope: Scope::Span, key: key.to_owned() }
}

/// What is read in the one pass: by what performed, by time, and errors by all that tells them apart. Not by all of this at
/// once, since there would be too many groups.
fn asks(step: i64, traces: bool) -> [Ask; 3] {
    let mut of_errors =
        [attr::OPERATION_NAME, attr::AGENT_NAME, attr::REQUEST_MODEL, attr::TOOL_NAME].map(field).to_vec();
    of_errors.extend([field(attr::ERROR_TYPE), Field::Intrinsic(Intrinsic::StatusMessage)]);
    of_errors.push(field(attr::WORKFLOW_NAME));
    let by_operation = || field(attr::OPERATION_NAME);
    [
        Ask { by: vec![by_operation()], performers: performers().to_vec(), ..Ask::default() },
        Ask { by: vec![by_operation()], step: Some(step), ..Ask::default() },
        Ask { by: of_errors, errors: true, traces, ..Ask::default() },
    ]
}

/// What tells who or what performed an operation, for those that are of a kind.
fn performers() -> [(&'static str, Field); 7] {
    [
        (operation::INVOKE_AGENT, attr::AGENT_NAME),
        (operation::EXECUTE_TOOL, attr::TOOL_NAME),
        (operation::INVOKE_WORKFLOW, attr::WORKFLOW_NAME),
        (operation::CHAT, attr::REQUEST_MODEL),
        (operation::TEXT_COMPLETION, attr::REQUEST_MODEL),
        (operation::GENERATE_CONTENT, attr::REQUEST_MODEL),
        (operation::EMBEDDINGS, attr::REQUEST_MODEL),
    ]
    .map(|(operation, key)| (operation, field(key)))
}

pub(super) fn text(group: &Grouped, place: usize) -> &str {
    group.by.get(place).and_then(serde_json::Value::as_str).unwrap_or("")
}

/// What is put together of the groups.
#[derive(Default)]
struct Book {
    totals: Figures,
    lines: [BTreeMap<String, Figures>; 4],
    cost: [BTreeMap<String, CostLine>; 2],
    total_cost: CostLine,
    steps: BTreeMap<i64, (Figures, Figures)>,
}

fn line(figures: &Figures, name: &str) -> Line {
    let group = figures.group(Vec::new(), None, None);
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
        cost_nano: figures.cost_nano,
        unpriced: figures.unpriced,
        slow: seconds(group.duration_ns.avg) > SLOW,
        durations: coarse(figures),
    }
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
        let (place, name) = (kind as usize, text(group, 1));
        self.totals.merge(&group.figures);
        self.lines[place].entry(name.to_owned()).or_default().merge(&group.figures);
        if kind == Kind::Model {
            let figures = &group.figures;
            let cost = CostLine {
                name: String::new(),
                requests: figures.count,
                tokens: figures.input_tokens.saturating_add(figures.output_tokens),
                cost_nano: figures.cost_nano,
                unpriced: figures.unpriced,
            };
            add(self.cost[0].entry(name.to_owned()).or_default(), &cost);
            add(&mut self.total_cost, &cost);
        }
    }

    fn enter_agents(&mut self, spenders: &[(&str, Spent)]) {
        for (agent, spent) in spenders {
            add(self.cost[1].entry((*agent).to_owned()).or_default(), &spent.line(String::new()));
        }
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
            let mut lines: Vec<Line> = lines.iter().map(|(name, figures)| line(figures, name)).collect();
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
            totals: line(&totals, "all"),
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

impl Spent {
    fn line(&self, name: String) -> CostLine {
        let Self { requests, tokens, cost_nano, unpriced } = *self;
        CostLine { name, requests, tokens, cost_nano, unpriced }
    }
}

fn add(line: &mut CostLine, more: &CostLine) {
    line.requests += more.requests;
    line.tokens = line.tokens.saturating_add(more.tokens);
    line.cost_nano = line.cost_nano.saturating_add(more.cost_nano);
    line.unpriced += more.unpriced;
}

/// Conversations, the dearest first; what is not told by its name is in the rest, so that all sum to the total.
fn conversations(mut spenders: Vec<(&str, Spent)>, total: &CostLine) -> Vec<CostLine> {
    let order =
        |a: &(&str, Spent), b: &(&str, Spent)| b.1.cost_nano.cmp(&a.1.cost_nano).then_with(|| a.0.cmp(b.0));
    let shown = CONVERSATIONS.min(spenders.len());
    if shown < spenders.len() {
        spenders.select_nth_unstable_by(shown, order);
    }
    spenders[..shown].sort_unstable_by(order);
    let line = |(name, spent): &(&str, Spent)| spent.line((*name).to_owned());
    let mut lines: Vec<CostLine> = spenders[..shown].iter().map(line).collect();
    if shown < spenders.len() {
        let mut rest = CostLine { name: "(others)".to_owned(), ..CostLine::default() };
        spenders[shown..].iter().for_each(|(_, spent)| add(&mut rest, &spent.line(String::new())));
        lines.push(rest);
    }
    debug_assert_eq!(lines.iter().map(|line| line.cost_nano).sum::<u64>(), total.cost_nano);
    lines
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
