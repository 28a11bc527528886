//! Operators on JSON, as PostgreSQL has them: `->`, `->>` and `?`.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, StringViewBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef};
use arrow_schema::DataType;
use datafusion::arrow::compute::cast;
use datafusion::common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::sqlparser::ast::BinaryOperator;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExpressionPlacement, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::value::Value;

/// What is asked of a member of an object, or of an element of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Get {
    /// Its value as text: `->>`.
    Text,
    /// Its value as JSON: `->`.
    Json,
    /// Whether it is there: `?`.
    Exists,
}

/// A function of a text that is JSON and of a key or number.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    get: Get,
    signature: Signature,
}

impl Member {
    fn new(get: Get) -> Self {
        Self { get, signature: Signature::any(2, Volatility::Immutable) }
    }

    /// Whether it is `->>`.
    pub(super) const fn is_text(&self) -> bool {
        matches!(self.get, Get::Text)
    }
}

impl ScalarUDFImpl for Member {
    fn name(&self) -> &str {
        match self.get {
            Get::Text => "json_get_text",
            Get::Json => "json_get",
            Get::Exists => "json_exists",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let operator = match self.get {
            Get::Text => "->>",
            Get::Json => "->",
            Get::Exists => "?",
        };
        match args {
            [object, Expr::Literal(key, _)] if key.try_as_str().is_some() => {
                let key = key.try_as_str().flatten().unwrap_or_default();
                Ok(format!("{} {operator} '{key}'", object.schema_name()))
            }
            [object, key] => Ok(format!("{} {operator} {}", object.schema_name(), key.schema_name())),
            _ => Ok(self.name().to_owned()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let text = |kind: &DataType| {
            matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
        };
        let [object, key] = arguments else { return exec_err!("{} takes an object and a key", self.name()) };
        if !text(object) {
            return exec_err!(
                "the left side of an operator on JSON is {object}, expected a text that is JSON"
            );
        }
        if !text(key) && !key.is_integer() {
            return exec_err!("the right side of an operator on JSON is {key}, expected a key or a number");
        }
        Ok(if self.get == Get::Exists { DataType::Boolean } else { DataType::Utf8View })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let [objects, keys] = arguments.args.as_slice() else {
            return exec_err!("{} takes an object and a key", self.name());
        };
        let objects = cast(&objects.to_array(rows)?, &DataType::Utf8View)?;
        let objects = objects.as_string_view();
        let place = |at: usize| (!objects.is_null(at)).then(|| objects.value(at));
        let made = match keys {
            ColumnarValue::Scalar(key) => {
                let key = Key::of(key);
                self.column((0..rows).map(|row| key.as_ref()?.member(place(row)?)))
            }
            ColumnarValue::Array(keys) => {
                let key = |row| Key::of(&ScalarValue::try_from_array(keys, row).ok()?);
                self.column((0..rows).map(|row| key(row)?.member(place(row)?)))
            }
        };
        if scalar {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?))
        } else {
            Ok(ColumnarValue::Array(made))
        }
    }

    fn placement(&self, arguments: &[ExpressionPlacement]) -> ExpressionPlacement {
        match arguments {
            // Next to where rows are read, where it is a column.
            [
                ExpressionPlacement::Column | ExpressionPlacement::MoveTowardsLeafNodes,
                ExpressionPlacement::Literal,
            ] => ExpressionPlacement::MoveTowardsLeafNodes,
            _ => ExpressionPlacement::KeepInPlace,
        }
    }
}

impl Member {
    /// The answers for what was found in each row: no object or key is `None`.
    fn column(&self, found: impl Iterator<Item = Option<Option<Value>>>) -> ArrayRef {
        match self.get {
            Get::Exists => {
                let mut out = BooleanBuilder::new();
                found.for_each(|found| out.append_option(found.map(|value| value.is_some())));
                Arc::new(out.finish())
            }
            get => {
                let text = |value: Value| if get == Get::Text { shown(value) } else { Some(value.to_text()) };
                let mut out = StringViewBuilder::new();
                found.for_each(|found| out.append_option(found.flatten().and_then(text)));
                Arc::new(out.finish())
            }
        }
    }
}

/// What is asked for in an object or array.
enum Key {
    Name(String),
    Number(i64),
}

impl Key {
    fn of(key: &ScalarValue) -> Option<Self> {
        if let Some(name) = key.try_as_str() {
            return Some(Self::Name(name?.to_owned()));
        }
        match key.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(number) => Some(Self::Number(number?)),
            _ => None,
        }
    }

    /// The member, if the text is an object or array.
    fn member(&self, text: &str) -> Option<Option<Value>> {
        match (Value::parse(text)?, self) {
            (Value::Map(entries), Self::Name(name)) => {
                Some(entries.into_iter().find(|(key, _)| key == name).map(|(_, value)| value))
            }
            (Value::Array(mut values), Self::Number(number)) => {
                let from_end = |number: i64| i64::try_from(values.len()).ok()?.checked_add(number);
                let at = if *number < 0 { from_end(*number) } else { Some(*number) };
                let at = at.and_then(|at| usize::try_from(at).ok()).filter(|&at| at < values.len());
                Some(at.map(|at| values.swap_remove(at)))
            }
            (Value::Array(values), Self::Name(name)) => {
                let element =
                    values.into_iter().find(|value| matches!(value, Value::String(text) if text == name));
                Some(element)
            }
            _ => Some(None),
        }
    }
}

/// A value as `->>` shows it: texts as they are, nothing for null, anything else as JSON.
pub(super) fn shown(value: Value) -> Option<String> {
    match value {
        Value::Empty => None,
        Value::String(text) => Some(text),
        Value::Double(number) if number.is_finite() => Some(Value::Double(number).to_text()),
        other => match other.to_json() {
            serde_json::Value::String(text) => Some(text),
            json => Some(json.to_string()),
        },
    }
}

/// Plans the operators as functions.
#[derive(Debug)]
pub(super) struct Operators {
    text: Arc<ScalarUDF>,
    json: Arc<ScalarUDF>,
    exists: Arc<ScalarUDF>,
}

impl Operators {
    pub(super) fn new() -> Self {
        let function = |get| Arc::new(ScalarUDF::new_from_impl(Member::new(get)));
        Self { text: function(Get::Text), json: function(Get::Json), exists: function(Get::Exists) }
    }

    /// The functions by name.
    pub(super) fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        vec![Arc::clone(&self.text), Arc::clone(&self.json), Arc::clone(&self.exists)]
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let function = match &expr.op {
            BinaryOperator::LongArrow => &self.text,
            BinaryOperator::Arrow => &self.json,
            BinaryOperator::Question => &self.exists,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let call = ScalarFunction::new_udf(Arc::clone(function), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// The column and the key, if an expression is `column ->> 'key'`.
pub(super) fn member_as_text(expr: &Expr) -> Option<(&datafusion::common::Column, &str)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    match (call.func.inner().downcast_ref::<Member>()?, call.args.as_slice()) {
        (member, [Expr::Column(column), Expr::Literal(key, _)]) if member.is_text() => {
            Some((column, key.try_as_str()??))
        }
        _ => None,
    }
}
