//! Makes of `SELECT key, COUNT(*), AVG(number) .. GROUP BY key` a sum over what was counted where the rows are read
//! ([`super::grouped`]): DataFusion would hash the text of every row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column as Named, Result};
use datafusion::datasource::{DefaultTableSource, source_as_provider};
use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Cast, Expr, LogicalPlan, LogicalPlanBuilder, cast, col};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::columns::{Base, Column};
use super::grouped::{Grouped, KEY, ROWS, is_key, is_measure, named};
use super::json::member_as_text;
use super::table::SqlTable;
use crate::query::engine::TimeRange;

/// The rule.
#[derive(Debug)]
pub(super) struct CountWhereRead;

impl OptimizerRule for CountWhereRead {
    fn name(&self) -> &str {
        "count_where_read"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        match rewritten(aggregate)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// What the columns of a plan are of a table, and which of its rows there are.
struct Origin {
    table: Arc<dyn datafusion::catalog::TableProvider>,
    columns: HashMap<Named, Expr>,
    filters: Vec<Expr>,
}

impl Origin {
    fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let table = source_as_provider(&scan.source).ok()?;
                table.downcast_ref::<SqlTable>()?;
                if scan.fetch.is_some() {
                    return None;
                }
                let own = |(of, field): (Option<&_>, &Arc<arrow_schema::Field>)| {
                    let column = Named::from((of, field));
                    (column.clone(), Expr::Column(Named::from_name(column.name)))
                };
                let columns: HashMap<Named, Expr> = plan.schema().iter().map(own).collect();
                // Those of the scan are asked again by a filter above it.
                Some(Self { table, columns, filters: Vec::new() })
            }
            LogicalPlan::Filter(filter) => {
                let mut origin = Self::of(&filter.input)?;
                let condition = origin.inlined(&filter.predicate)?;
                let conditions = datafusion::logical_expr::utils::split_conjunction(&condition);
                origin.filters.extend(conditions.into_iter().cloned());
                Some(origin)
            }
            LogicalPlan::Projection(projection) => {
                let mut origin = Self::of(&projection.input)?;
                let exprs = projection.expr.iter().map(|expr| origin.inlined(expr));
                let exprs: Vec<Expr> = exprs.collect::<Option<_>>()?;
                origin.columns = plan.schema().iter().map(Named::from).zip(exprs).collect();
                Some(origin)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let mut origin = Self::of(&alias.input)?;
                let inner = alias.input.schema().iter().map(Named::from);
                let pairs = plan.schema().iter().map(Named::from).zip(inner);
                let moved: Option<HashMap<Named, Expr>> =
                    pairs.map(|(outer, inner)| Some((outer, origin.columns.remove(&inner)?))).collect();
                origin.columns = moved?;
                Some(origin)
            }
            _ => None,
        }
    }

    /// An expression over the columns of the table.
    fn inlined(&self, expr: &Expr) -> Option<Expr> {
        let mut unknown = false;
        let made = expr.clone().transform_up(|expr| {
            Ok(match &expr {
                Expr::Column(column) => match self.columns.get(column) {
                    Some(origin) => Transformed::yes(origin.clone()),
                    None => {
                        unknown = true;
                        Transformed::no(expr)
                    }
                },
                _ => Transformed::no(expr),
            })
        });
        let made = made.ok()?.data;
        if unknown { None } else { Some(unaliased(made)) }
    }
}

fn unaliased(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => unaliased(*alias.expr),
        other => other,
    }
}

/// The column of a table that an expression is.
fn column(table: &SqlTable, expr: &Expr) -> Option<Column> {
    match expr {
        Expr::Column(named) => table.column(&named.name).cloned(),
        other => {
            let (named, key) = member_as_text(other)?;
            Some(Column::attribute(Base::named(&named.name)?, key))
        }
    }
}

fn rewritten(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let [key] = aggregate.group_expr.as_slice() else { return Ok(None) };
    let Some(origin) = Origin::of(&aggregate.input) else { return Ok(None) };
    let Some(table) = origin.table.downcast_ref::<SqlTable>() else { return Ok(None) };
    let key = origin.inlined(key).and_then(|key| column(table, &key)).filter(|key| is_key(&key.from));
    let Some(key) = key else { return Ok(None) };
    let (mut present, mut time) = (false, TimeRange::ALL);
    for filter in &origin.filters {
        match filter {
            Expr::IsNotNull(inner) if column(table, inner).as_ref() == Some(&key) => present = true,
            other => match table.asked().time(other) {
                Some(range) => {
                    time = TimeRange { from: time.from.max(range.from), to: time.to.min(range.to) };
                }
                None => return Ok(None),
            },
        }
    }
    time.from = time.from.min(time.to);
    let mut sums = Sums::default();
    for expr in &aggregate.aggr_expr {
        if !sums.add(&origin, table, expr) {
            return Ok(None);
        }
    }
    let reading = table.reading().clone();
    let grouped =
        Grouped { table: table.table(), key, present, time, measures: sums.measures.clone(), reading };
    sums.plan(grouped, aggregate).map(Some)
}

/// The sums that aggregates are of what was counted.
#[derive(Default)]
struct Sums {
    measures: Vec<Column>,
    /// Of each aggregate what it is of the sums by name.
    wanted: Vec<Wanted>,
}

enum Wanted {
    Rows,
    Count(usize),
    Sum(usize),
    Avg(usize),
    Min(usize),
    Max(usize),
}

impl Sums {
    /// Adds an aggregate; false if it is of another kind.
    fn add(&mut self, origin: &Origin, table: &SqlTable, expr: &Expr) -> bool {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr.clone()) else {
            return false;
        };
        let plain = !params.distinct
            && params.filter.is_none()
            && params.order_by.is_empty()
            && params.null_treatment.is_none();
        let ([argument], true) = (params.args.as_slice(), plain) else { return false };
        if let Expr::Literal(value, _) = argument {
            self.wanted.push(Wanted::Rows);
            return func.name() == "count" && !value.is_null();
        }
        let argument = match origin.inlined(argument) {
            // An average of whole numbers is one of numbers.
            Some(Expr::Cast(Cast { expr, field }))
                if field.data_type() == &DataType::Float64 && func.name() == "avg" =>
            {
                Some(*expr)
            }
            other => other,
        };
        let measure = argument.and_then(|argument| column(table, &argument));
        let Some(measure) = measure.filter(|measure| is_measure(&measure.from)) else { return false };
        let place = self.measures.iter().position(|known| *known == measure).unwrap_or_else(|| {
            self.measures.push(measure);
            self.measures.len() - 1
        });
        self.wanted.push(match func.name() {
            "count" => Wanted::Count(place),
            "sum" => Wanted::Sum(place),
            "avg" => Wanted::Avg(place),
            "min" => Wanted::Min(place),
            "max" => Wanted::Max(place),
            _ => return false,
        });
        true
    }

    fn plan(self, grouped: Grouped, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let of = |what: &str, place: usize| named(what, place);
        let mut totals = vec![sum(col(ROWS)).alias(ROWS)];
        for place in 0..self.measures.len() {
            for what in ["count", "sum"] {
                totals.push(sum(col(of(what, place))).alias(of(what, place)));
            }
            totals.push(min(col(of("min", place))).alias(of("min", place)));
            totals.push(max(col(of("max", place))).alias(of("max", place)));
        }
        let float = |name: String| cast(col(name), DataType::Float64);
        let value = |wanted: &Wanted| match *wanted {
            Wanted::Rows => col(ROWS),
            Wanted::Count(place) => col(of("count", place)),
            Wanted::Sum(place) => col(of("sum", place)),
            Wanted::Avg(place) => float(of("sum", place)) / float(of("count", place)),
            Wanted::Min(place) => col(of("min", place)),
            Wanted::Max(place) => col(of("max", place)),
        };
        let values: Vec<Expr> = std::iter::once(col(KEY)).chain(self.wanted.iter().map(value)).collect();
        // By the names and types that the aggregate's columns have.
        let shown = aggregate.schema.iter().zip(values).map(|((qualifier, field), value)| {
            let value = cast(value, field.data_type().clone());
            value.alias_qualified(qualifier.cloned(), field.name())
        });
        let source = Arc::new(DefaultTableSource::new(Arc::new(grouped)));
        LogicalPlanBuilder::scan("counted", source, None)?
            .aggregate(vec![col(KEY)], totals)?
            .project(shown.collect::<Vec<_>>())?
            .build()
    }
}
