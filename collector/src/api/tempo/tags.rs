//! Names and values of attributes.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::messages::{TagNames, TagNamesV2, TagScope, TagValue, TagValues, TagValuesV2};
use super::{Asked, invalid, reply};
use crate::api::ApiState;
use crate::api::error::TempoError;
use crate::api::routes::{Parameters, answer};
use crate::query::tags::{DistinctAnswer, DistinctRequest, TagNamesAnswer, TagNamesRequest};
use crate::query::traceql::{Field, Intrinsic, Scope, intrinsic_names, parse_field, parse_filter};

const SCOPES: [&str; 5] = ["span", "resource", "event", "link", "instrumentation"];
/// The scope of what every span has.
const INTRINSIC: &str = "intrinsic";

/// The intrinsics that are offered: the others are of use to programs only.
fn intrinsics() -> impl Iterator<Item = String> {
    intrinsic_names().filter(|name| !name.starts_with("nestedSet") && *name != "parent").map(str::to_owned)
}

/// Which scope is asked for; none for all.
fn scope(asked: &Asked) -> Result<Option<&str>, TempoError> {
    match asked.text("scope") {
        None | Some("none") => Ok(None),
        Some(scope) if scope == INTRINSIC || SCOPES.contains(&scope) => Ok(Some(scope)),
        Some(scope) => Err(invalid(format!("invalid scope: {scope}"))),
    }
}

/// A filter that is being typed may be none yet: then nothing is left out.
fn filter(asked: &Asked) -> String {
    asked.text("q").filter(|q| parse_filter(q).is_ok()).unwrap_or_default().to_owned()
}

async fn known_names(state: ApiState, asked: &Asked) -> Result<TagNamesAnswer, TempoError> {
    let (start, end) = asked.range()?;
    if scope(asked)? == Some(INTRINSIC) {
        return Ok(TagNamesAnswer::default());
    }
    let request = TagNamesRequest { q: filter(asked), start, end };
    let found = answer(state, request, |answers, request, control| answers.tag_names(request, control));
    found.await.map_err(TempoError)
}

pub(super) async fn names(
    State(state): State<ApiState>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    Ok(reply(&headers, &all_names(state, &Asked::new(parameters)?).await?))
}

pub(super) async fn all_names(state: ApiState, asked: &Asked) -> Result<TagNames, TempoError> {
    let wanted = scope(asked)?;
    let known = known_names(state, asked).await?;
    let of_scope = |scope: &str| wanted.is_none_or(|wanted| wanted == scope);
    let mut names: BTreeSet<String> =
        known.scopes.into_iter().filter(|(scope, _)| of_scope(scope)).flat_map(|(_, names)| names).collect();
    // Only if they are asked for, as in Tempo.
    if wanted == Some(INTRINSIC) {
        names.extend(intrinsics());
    }
    let limit = asked.limit()?.unwrap_or(usize::MAX);
    Ok(TagNames { tag_names: names.into_iter().take(limit).collect() })
}

pub(super) async fn scoped_names(
    State(state): State<ApiState>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    Ok(reply(&headers, &names_by_scope(state, &Asked::new(parameters)?).await?))
}

pub(super) async fn names_by_scope(state: ApiState, asked: &Asked) -> Result<TagNamesV2, TempoError> {
    let wanted = scope(asked)?;
    let limit = asked.limit()?.unwrap_or(usize::MAX);
    let mut known = known_names(state, asked).await?;
    let mut scopes = Vec::new();
    for scope in SCOPES.into_iter().filter(|scope| wanted.is_none_or(|wanted| wanted == *scope)) {
        if let Some(mut tags) = known.scopes.remove(scope) {
            tags.truncate(limit);
            scopes.push(TagScope { name: scope.to_owned(), tags });
        }
    }
    if wanted.is_none_or(|wanted| wanted == INTRINSIC) {
        scopes.push(TagScope { name: INTRINSIC.to_owned(), tags: intrinsics().take(limit).collect() });
    }
    Ok(TagNamesV2 { scopes })
}

fn keywords(values: &[&str]) -> Vec<TagValue> {
    let value = |value: &&str| TagValue { kind: "keyword".to_owned(), value: (*value).to_owned() };
    values.iter().map(value).collect()
}

/// The values of a field; of ids and times there is nothing to choose from.
async fn found(state: ApiState, asked: &Asked, field: &Field) -> Result<Vec<TagValue>, TempoError> {
    let (start, end) = asked.range()?;
    let limit = asked.limit()?;
    let roots = "{ nestedSetParent < 0 }";
    let (field, q) = match field {
        Field::Intrinsic(Intrinsic::Status) => return Ok(keywords(&["ok", "error", "unset"])),
        Field::Intrinsic(Intrinsic::Kind) => {
            return Ok(keywords(&["client", "server", "producer", "consumer", "internal", "unspecified"]));
        }
        Field::Intrinsic(Intrinsic::RootName) => ("name".to_owned(), roots.to_owned()),
        Field::Intrinsic(Intrinsic::RootServiceName) => {
            ("resource.service.name".to_owned(), roots.to_owned())
        }
        Field::Intrinsic(
            Intrinsic::Name
            | Intrinsic::StatusMessage
            | Intrinsic::EventName
            | Intrinsic::ScopeName
            | Intrinsic::ScopeVersion,
        )
        | Field::Attribute {
            scope:
                Scope::Any | Scope::Span | Scope::Resource | Scope::Event | Scope::Link | Scope::Instrumentation,
            ..
        } => (field.to_string(), filter(asked)),
        _ => return Ok(Vec::new()),
    };
    let request = DistinctRequest { q, start, end, fields: vec![field], limit };
    let found = answer(state, request, |answers, request, control| answers.distinct(request, control));
    let DistinctAnswer { values, .. } = found.await.map_err(TempoError)?;
    let shown = values.into_iter().flatten();
    Ok(shown.map(|value| TagValue { kind: value.kind.to_owned(), value: value.value }).collect())
}

pub(super) async fn values(
    State(state): State<ApiState>,
    Path(tag): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    Ok(reply(&headers, &texts_of(state, &Asked::new(parameters)?, &tag).await?))
}

pub(super) async fn texts_of(state: ApiState, asked: &Asked, tag: &str) -> Result<TagValues, TempoError> {
    // The names that this version of the API has for what is no attribute.
    let field = match tag {
        "name" => Field::Intrinsic(Intrinsic::Name),
        "status.code" | "status" => Field::Intrinsic(Intrinsic::Status),
        "root.name" => Field::Intrinsic(Intrinsic::RootName),
        "root.service.name" => Field::Intrinsic(Intrinsic::RootServiceName),
        _ => Field::Attribute { scope: Scope::Any, key: tag.to_owned() },
    };
    let values: BTreeSet<String> =
        found(state, asked, &field).await?.into_iter().map(|value| value.value).collect();
    Ok(TagValues { tag_values: values.into_iter().collect() })
}

pub(super) async fn typed_values(
    State(state): State<ApiState>,
    Path(tag): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    Ok(reply(&headers, &values_of(state, &Asked::new(parameters)?, &tag).await?))
}

pub(super) async fn values_of(state: ApiState, asked: &Asked, tag: &str) -> Result<TagValuesV2, TempoError> {
    let field = parse_field(tag)
        .map_err(|error| invalid(format!("please provide a valid tagName: {tag:?}: {error}")))?;
    Ok(TagValuesV2 { tag_values: found(state, asked, &field).await? })
}
