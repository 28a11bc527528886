//! Reads `attributes->>'key'` where rows are read, as a column of its own, so that no row is parsed for it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column as Named, Result};
use datafusion::datasource::{DefaultTableSource, source_as_provider};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::columns::{Base, Column};
use super::json::member_as_text;
use super::table::SqlTable;

/// The rule. It looks at what is next to where rows are read: members are moved there by rules before it.
#[derive(Debug)]
pub(super) struct ReadMembers;

impl OptimizerRule for ReadMembers {
    fn name(&self) -> &str {
        "read_members"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let [input] = plan.inputs()[..] else { return Ok(Transformed::no(plan)) };
        // What a filter lets through is as it was read.
        let (filter, scan) = match input {
            LogicalPlan::TableScan(scan) => (None, scan),
            LogicalPlan::Filter(filter) => match filter.input.as_ref() {
                LogicalPlan::TableScan(scan) => (Some(filter), scan),
                _ => return Ok(Transformed::no(plan)),
            },
            _ => return Ok(Transformed::no(plan)),
        };
        let exprs = plan.expressions();
        let Some(scan) = with_members(scan, &exprs)? else { return Ok(Transformed::no(plan)) };
        let scan = LogicalPlan::TableScan(scan);
        let names = NamePreserver::new(&plan);
        let exprs = exprs.into_iter().map(|expr| {
            let name = names.save(&expr);
            Ok(name.restore(as_columns(expr)?))
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let input = match filter {
            None => scan,
            Some(filter) => {
                let filter = LogicalPlan::Filter(filter.clone());
                filter.with_new_exprs(filter.expressions(), vec![scan])?
            }
        };
        Ok(Transformed::yes(plan.with_new_exprs(exprs, vec![input])?))
    }
}

/// A scan that reads the members that expressions name too; none if they name none.
fn with_members(scan: &TableScan, exprs: &[Expr]) -> Result<Option<TableScan>> {
    let Ok(provider) = source_as_provider(&scan.source) else { return Ok(None) };
    let Some(table) = provider.downcast_ref::<SqlTable>() else { return Ok(None) };
    let mut members: Vec<Column> = Vec::new();
    for expr in exprs {
        expr.apply(|expr| {
            members.extend(member(expr).map(|(base, _, key)| Column::attribute(base, key)));
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    if members.is_empty() {
        return Ok(None);
    }
    let table = table.with(members.iter().cloned());
    let projection = scan.projection.as_ref().map(|places| {
        let mut places = places.clone();
        for member in &members {
            if let Some(place) = table.place(&member.name).filter(|place| !places.contains(place)) {
                places.push(place);
            }
        }
        places
    });
    let source = Arc::new(DefaultTableSource::new(Arc::new(table)));
    let scan = TableScanBuilder::new(scan.table_name.clone(), source)
        .with_projection(projection)
        .with_filters(scan.filters.clone())
        .with_fetch(scan.fetch);
    scan.build().map(Some)
}

/// The column and the key, if an expression is a member that can be read.
fn member(expr: &Expr) -> Option<(Base, &Named, &str)> {
    let (column, key) = member_as_text(expr)?;
    Some((Base::named(&column.name)?, column, key))
}

/// The same expression over the columns that hold its members.
fn as_columns(expr: Expr) -> Result<Expr> {
    let made = expr.transform_up(|expr| {
        let named = member(&expr).map(|(base, column, key)| {
            Named::new(column.relation.clone(), Column::attribute(base, key).name)
        });
        Ok(match named {
            Some(column) => Transformed::yes(Expr::Column(column)),
            None => Transformed::no(expr),
        })
    });
    Ok(made?.data)
}
