//! A pipeline as it is put to traces: its filters by number, which columns tell of each span, and its stages, which look at
//! whole traces.

use super::ancestry;
use crate::query::engine::{Must, QueryError};
use crate::query::exec::filter::Condition;
use crate::query::traceql::{
    Aggregate, BinaryOp, Compiled, Datum, Expr, Field, Filter, Intrinsic, Literal, MOST_FILTERS, Pipeline,
    Scalar, Scope, Spanset, SpansetOp, Stage, datum, is_duration,
};

/// A pipeline that can be put to traces.
pub(super) struct Program {
    pub(super) leaves: Vec<Leaf>,
    pub(super) steps: Vec<Step>,
    /// The fields that are read of each span of a trace: first those that tell whether it is in the answer, then those that are
    /// only shown.
    pub(super) fields: Vec<Field>,
    /// How many of them tell.
    pub(super) telling: usize,
    /// What is shown of each span that is found: what the query names.
    pub(super) shown: Vec<Field>,
    /// Spans of which every trace in the answer has one, if how they are related tells more than filters.
    pub(super) witness: Option<Witness>,
    /// How many filters that are implied have a place beside those that are written.
    spare: usize,
}

/// Spans that are told by how they are related, and the filters that they are made of.
pub(super) struct Witness {
    pub(super) set: ancestry::Set,
    pub(super) conditions: Vec<Condition>,
}

impl Witness {
    fn of(pipeline: &Pipeline) -> Result<Option<Self>, QueryError> {
        let Some((set, filters)) = ancestry::Set::witness(pipeline) else { return Ok(None) };
        let conditions = filters.iter().map(Condition::new).collect::<Result<_, _>>()?;
        Ok(Some(Self { set, conditions }))
    }
}

/// A span filter of a query.
pub(super) struct Leaf {
    /// What single spans can tell of it.
    pub(super) condition: Condition,
    /// What a span must have that fulfils it.
    pub(super) must: Vec<Must>,
    /// All of it, if other spans of the trace have to be asked too.
    pub(super) rest: Option<Value>,
}

/// What is made of a span: an expression, and where its fields are in those of the program.
pub(super) struct Value {
    pub(super) compiled: Compiled,
    pub(super) fields: Vec<usize>,
    /// Whether it is a time in nanoseconds.
    pub(super) is_duration: bool,
}

/// A set of spans.
pub(super) enum Set {
    /// The spans that fulfil a filter; only traces have some of which each of these filters is fulfilled by some span.
    Leaf(usize, u64),
    Pipeline(Vec<Step>),
    Related(SpansetOp, Box<Self>, Box<Self>),
}

/// A stage.
pub(super) enum Step {
    Spans(Set),
    Where {
        op: BinaryOp,
        left: Number,
        right: Number,
        /// The filter that some span of every set fulfils for which it holds.
        implies: Option<usize>,
    },
    By(Value, String),
    Coalesce,
}

/// A number of a set.
pub(super) enum Number {
    Literal(Datum<'static>),
    Count,
    Aggregate(Aggregate, Value, String),
    Of(Vec<Step>, Box<Self>),
    Binary { op: BinaryOp, left: Box<Self>, right: Box<Self>, times: bool },
}

impl Program {
    pub(super) fn new(pipeline: &Pipeline) -> Result<Self, QueryError> {
        let mut program = Self {
            leaves: Vec::new(),
            steps: Vec::new(),
            fields: Vec::new(),
            telling: 0,
            shown: Vec::new(),
            witness: Witness::of(pipeline)?,
            spare: MOST_FILTERS.saturating_sub(pipeline.filters()),
        };
        program.steps = program.stages(pipeline)?;
        program.telling = program.fields.len();
        for field in program.shown.clone() {
            program.field(&field);
        }
        Ok(program)
    }

    /// One that shows nothing, and reads these fields of spans that are in the answer.
    pub(super) fn of(pipeline: &Pipeline, fields: &[Field]) -> Result<Self, QueryError> {
        let mut program = Self::new(pipeline)?;
        program.fields.truncate(program.telling);
        program.shown.clear();
        for field in fields {
            program.field(field);
        }
        Ok(program)
    }

    /// Reads what is told of every trace that is found, too.
    pub(super) fn with_summary(mut self) -> Self {
        for field in [Field::Intrinsic(Intrinsic::Name), service(), Field::Intrinsic(Intrinsic::Status)] {
            self.field(&field);
        }
        self
    }

    /// Where the values of a field are.
    pub(super) fn place(&self, field: &Field) -> Option<usize> {
        self.fields.iter().position(|known| known == field)
    }

    /// The number of a field that is read, and of those that it is made of.
    fn field(&mut self, field: &Field) -> usize {
        for needed in needed(field) {
            if !self.fields.contains(&needed) {
                self.fields.push(needed);
            }
        }
        self.fields.iter().position(|known| known == field).unwrap_or_else(|| {
            self.fields.push(field.clone());
            self.fields.len() - 1
        })
    }

    fn show(&mut self, field: &Field) {
        if !self.shown.contains(field) {
            self.shown.push(field.clone());
        }
    }

    fn value(&mut self, expr: &Expr) -> Result<Value, QueryError> {
        let compiled = Filter { expr: Some(expr.clone()) }.compile()?;
        let fields = compiled.fields().to_vec();
        fields.iter().for_each(|field| self.show(field));
        let fields = fields.iter().map(|field| self.field(field)).collect();
        Ok(Value { compiled, fields, is_duration: is_duration(expr) })
    }

    fn stages(&mut self, pipeline: &Pipeline) -> Result<Vec<Step>, QueryError> {
        let mut steps = Vec::with_capacity(pipeline.stages.len());
        // What all spans of the sets fulfil.
        let mut filter = None;
        for stage in &pipeline.stages {
            steps.push(match stage {
                Stage::Spans(set) => {
                    filter = match set {
                        Spanset::Filter(filter) => filter.expr.as_ref(),
                        _ => None,
                    };
                    Step::Spans(self.set(set)?)
                }
                Stage::Where { op, left, right } => {
                    let implied = implied(*op, left, right).map(|implied| both(filter, implied));
                    let implies = implied.and_then(|implied| self.implied(implied));
                    Step::Where { op: *op, left: self.number(left)?, right: self.number(right)?, implies }
                }
                Stage::By(expr) => Step::By(self.value(expr)?, format!("by({expr})")),
                Stage::Coalesce => Step::Coalesce,
                Stage::Select(fields) => {
                    fields.iter().for_each(|field| self.show(field));
                    continue;
                }
            });
        }
        Ok(steps)
    }

    fn set(&mut self, set: &Spanset) -> Result<Set, QueryError> {
        Ok(match set {
            Spanset::Filter(filter) => Set::Leaf(self.leaf(filter)?, self.of_roots(filter)),
            Spanset::Pipeline(pipeline) => Set::Pipeline(self.stages(pipeline)?),
            Spanset::Related { op, left, right } => {
                let (left, right) = (self.set(left)?, self.set(right)?);
                Set::Related(*op, Box::new(left), Box::new(right))
            }
        })
    }

    fn leaf(&mut self, filter: &Filter) -> Result<usize, QueryError> {
        filter.with_roots().fields().iter().for_each(|field| self.show(field));
        self.told(filter)
    }

    /// The filters that roots fulfil if a filter asks for their name or service.
    fn of_roots(&mut self, filter: &Filter) -> u64 {
        let parts = filter.expr.clone().map(|expr| expr.links(BinaryOp::And)).unwrap_or_default();
        let implied = parts.into_iter().filter_map(of_root).filter_map(|part| self.implied(part));
        implied.fold(0, |all, leaf| all | 1 << leaf)
    }

    /// A filter that is not written. It takes no place from those that are.
    fn implied(&mut self, expr: Expr) -> Option<usize> {
        self.spare = self.spare.checked_sub(1)?;
        self.told(&Filter { expr: Some(expr) }).ok()
    }

    /// A filter of which nothing is shown.
    fn told(&mut self, filter: &Filter) -> Result<usize, QueryError> {
        let filter = filter.with_roots();
        let (known, is_all) = filter.of_one_span();
        let rest = filter.expr.filter(|_| !is_all).map(|expr| self.value(&expr)).transpose()?;
        // There is a bit for each.
        if self.leaves.len() == MOST_FILTERS {
            let message =
                format!("the query has more than {MOST_FILTERS} span filters, which is not answered");
            return Err(QueryError::Unsupported { message, at: None });
        }
        self.leaves.push(Leaf { condition: Condition::new(&known)?, must: known.musts(), rest });
        Ok(self.leaves.len() - 1)
    }

    fn number(&mut self, scalar: &Scalar) -> Result<Number, QueryError> {
        Ok(match scalar {
            Scalar::Literal(literal) => Number::Literal(datum(literal)),
            Scalar::Count => Number::Count,
            Scalar::Aggregate { aggregate, of } => {
                Number::Aggregate(*aggregate, self.value(of)?, scalar.to_string())
            }
            Scalar::Of { spans, scalar } => Number::Of(self.stages(spans)?, Box::new(self.number(scalar)?)),
            Scalar::Binary { op, left, right } => {
                let times = is_time(left) || is_time(right);
                let (left, right) = (Box::new(self.number(left)?), Box::new(self.number(right)?));
                Number::Binary { op: *op, left, right, times }
            }
        })
    }

    /// Whether a trace with spans that fulfil these filters may be in the answer.
    pub(super) fn may_match(&self, fulfilled: u64) -> bool {
        may_match(&self.steps, fulfilled)
    }

    /// The filters of which every span in the answer fulfils one.
    pub(super) fn left(&self) -> u64 {
        left(&self.steps)
    }

    /// The filters that some span of every trace in the answer fulfils.
    pub(super) fn required(&self) -> impl Iterator<Item = usize> {
        (0..self.leaves.len()).filter(|leaf| !self.may_match(!(1 << leaf)))
    }
}

/// What the root fulfils by itself where a span fulfils a comparison of the root's name or service.
fn of_root(expr: Expr) -> Option<Expr> {
    let Expr::Binary { op, left, right } = expr else { return None };
    let field = match *left {
        Expr::Field(Field::Intrinsic(Intrinsic::RootName)) => Field::Intrinsic(Intrinsic::Name),
        Expr::Field(Field::Intrinsic(Intrinsic::RootServiceName)) => service(),
        _ => return None,
    };
    if !matches!(*right, Expr::Literal(Literal::String(_))) {
        return None;
    }
    let equal = |left, right| Expr::Binary { op: BinaryOp::Eq, left: Box::new(left), right: Box::new(right) };
    let is_root = equal(Expr::Field(Field::Intrinsic(Intrinsic::ParentId)), Expr::Literal(Literal::Nil));
    let told = Expr::Binary { op, left: Box::new(Expr::Field(field)), right };
    Some(both(Some(&is_root), told))
}

fn both(left: Option<&Expr>, right: Expr) -> Expr {
    match left {
        Some(left) => {
            Expr::Binary { op: BinaryOp::And, left: Box::new(left.clone()), right: Box::new(right) }
        }
        None => right,
    }
}

/// What some span fulfils if this holds of several: the largest of their values is more than a number only if one is, and so is
/// the mean.
fn implied(op: BinaryOp, left: &Scalar, right: &Scalar) -> Option<Expr> {
    use BinaryOp as Op;
    let (op, aggregate, of, literal) = match (left, right) {
        (Scalar::Aggregate { aggregate, of }, Scalar::Literal(literal)) => (op, aggregate, of, literal),
        (Scalar::Literal(literal), Scalar::Aggregate { aggregate, of }) => {
            let turned = match op {
                Op::Less => Op::Greater,
                Op::LessEq => Op::GreaterEq,
                Op::Greater => Op::Less,
                Op::GreaterEq => Op::LessEq,
                other => other,
            };
            (turned, aggregate, of, literal)
        }
        _ => return None,
    };
    let literal = match (aggregate, op) {
        (_, Op::NotEq) | (Aggregate::Sum, _) | (Aggregate::Avg, Op::Eq) => return None,
        // A mean is rounded: a little more room, so that it is never beyond what all values are.
        (Aggregate::Avg, _) => {
            let (number, sign) =
                (number(literal)?, if matches!(op, Op::Greater | Op::GreaterEq) { -1.0 } else { 1.0 });
            Literal::Float(number + sign * (1.0 + number.abs() * 1e-9))
        }
        _ => literal.clone(),
    };
    Some(Expr::Binary { op, left: Box::new(of.clone()), right: Box::new(Expr::Literal(literal)) })
}

#[expect(clippy::cast_precision_loss, reason = "there is room left for that")]
const fn number(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Int(number) | Literal::Duration(number) => Some(*number as f64),
        Literal::Float(number) => Some(*number),
        _ => None,
    }
}

fn is_time(scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Literal(literal) => is_duration(&Expr::Literal(literal.clone())),
        Scalar::Aggregate { of, .. } => is_duration(of),
        Scalar::Of { scalar, .. } => is_time(scalar),
        _ => false,
    }
}

fn may_match(steps: &[Step], fulfilled: u64) -> bool {
    steps.iter().all(|step| match step {
        Step::Spans(set) => set.may_match(fulfilled),
        Step::Where { left, right, implies, .. } => {
            implies.is_none_or(|leaf| fulfilled >> leaf & 1 == 1)
                && left.may_match(fulfilled)
                && right.may_match(fulfilled)
        }
        Step::By(..) | Step::Coalesce => true,
    })
}

/// The filters of which every span that is left fulfils one.
fn left(steps: &[Step]) -> u64 {
    let last = steps.iter().rev().find_map(|step| match step {
        Step::Spans(set) => Some(set.left()),
        _ => None,
    });
    last.unwrap_or(u64::MAX)
}

impl Set {
    fn left(&self) -> u64 {
        match self {
            Self::Leaf(leaf, _) => 1 << leaf,
            Self::Pipeline(steps) => left(steps),
            Self::Related(op, left, right) => match op {
                SpansetOp::And | SpansetOp::Or => left.left() | right.left(),
                op if op.is_union() => left.left() | right.left(),
                _ => right.left(),
            },
        }
    }

    fn may_match(&self, fulfilled: u64) -> bool {
        match self {
            Self::Leaf(leaf, roots) => fulfilled >> leaf & 1 == 1 && fulfilled & roots == *roots,
            Self::Pipeline(steps) => may_match(steps, fulfilled),
            Self::Related(SpansetOp::Or, left, right) => {
                left.may_match(fulfilled) || right.may_match(fulfilled)
            }
            Self::Related(op, _, right) if op.is_negated() => right.may_match(fulfilled),
            Self::Related(_, left, right) => left.may_match(fulfilled) && right.may_match(fulfilled),
        }
    }
}

impl Number {
    fn may_match(&self, fulfilled: u64) -> bool {
        match self {
            Self::Of(steps, _) => may_match(steps, fulfilled),
            Self::Binary { left, right, .. } => left.may_match(fulfilled) && right.may_match(fulfilled),
            _ => true,
        }
    }
}

/// What a field that is about the whole trace is made of.
fn needed(field: &Field) -> Vec<Field> {
    let attribute = |scope, key: &str| Field::Attribute { scope, key: key.to_owned() };
    match field {
        Field::Attribute { scope: Scope::Parent, key } => vec![attribute(Scope::Any, key)],
        Field::Attribute { scope: Scope::ParentSpan, key } => vec![attribute(Scope::Span, key)],
        Field::Attribute { scope: Scope::ParentResource, key } => vec![attribute(Scope::Resource, key)],
        Field::Intrinsic(Intrinsic::RootName) => vec![Field::Intrinsic(Intrinsic::Name)],
        Field::Intrinsic(Intrinsic::RootServiceName) => vec![service()],
        _ => Vec::new(),
    }
}

/// The attribute that names a service.
pub(in crate::query::exec) fn service() -> Field {
    Field::Attribute { scope: Scope::Resource, key: "service.name".to_owned() }
}
