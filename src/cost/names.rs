//! The many names of providers and models.

/// Provider names of the conventions, and others in use, to the ids of the price list. Only names that the list
/// does not know, or would take for another provider (`azure.ai.openai` contains `openai`).
const PROVIDERS: &[(&str, &str)] = &[
    ("aws.bedrock", "aws"),
    ("aws_bedrock", "aws"),
    ("az.ai.inference", "azure"),
    ("az.ai.openai", "azure"),
    ("azure.ai.inference", "azure"),
    ("azure.ai.openai", "azure"),
    ("azure_ai", "azure"),
    ("azure_openai", "azure"),
    ("azureopenai", "azure"),
    ("fireworks_ai", "fireworks"),
    ("gcp.gen_ai", "google"),
    ("gcp.gemini", "google"),
    ("gcp.vertex_ai", "google"),
    ("mistral_ai", "mistral"),
    ("moonshot_ai", "moonshotai"),
    ("perplexity_ai", "perplexity"),
    ("together.ai", "together"),
    ("voyage_ai", "voyageai"),
    ("x.ai", "x-ai"),
    ("x_ai", "x-ai"),
    ("xai", "x-ai"),
    ("z.ai", "zai"),
    ("z_ai", "zai"),
    ("zhipu", "zhipuai"),
    ("zhipu_ai", "zhipuai"),
];

/// Parts before a slash that name no provider and may be cut off.
#[cfg(feature = "prices")]
const NEUTRAL: &[&str] = &["models", "publishers", "litellm", "litellm_proxy"];

/// More parts than this are not cut off a model's name.
const MAX_PREFIXES: usize = 4;

/// The id of a provider in the price list; other names stay as they are.
pub(super) fn provider_id(name: &str) -> &str {
    PROVIDERS
        .iter()
        .find(|(alias, _)| alias.eq_ignore_ascii_case(name))
        .map_or(name, |(_, provider)| *provider)
}

/// Whether two names stand for the same provider.
pub(super) fn same_provider(one: &str, other: &str) -> bool {
    provider_id(one).eq_ignore_ascii_case(provider_id(other))
}

/// Whether this names no provider and says nothing about the model.
#[cfg(feature = "prices")]
pub(super) fn is_neutral(prefix: &str) -> bool {
    NEUTRAL.iter().any(|neutral| neutral.eq_ignore_ascii_case(prefix))
}

/// `@google/gemini-3` as (`google`, `gemini-3`), and so on for what follows.
pub(super) fn prefixes(model: &str) -> impl Iterator<Item = (&str, &str)> {
    let cut = |model: &str| -> Option<(usize, usize)> {
        let slash = model.find('/')?;
        let at = usize::from(model.starts_with('@'));
        (slash > at && slash + 1 < model.len()).then_some((at, slash))
    };
    let mut rest = model;
    std::iter::from_fn(move || {
        let (from, slash) = cut(rest)?;
        let prefix = &rest[from..slash];
        rest = &rest[slash + 1..];
        Some((prefix, rest))
    })
    .take(MAX_PREFIXES)
}

/// The name without any prefix.
pub(super) fn bare(model: &str) -> &str {
    prefixes(model).last().map_or(model, |(_, rest)| rest)
}

/// Whether the id is that of a fine-tuned model, whose price is its owner's own.
#[cfg(feature = "prices")]
pub(super) fn is_fine_tuned(model: &str) -> bool {
    let bare = bare(model).as_bytes();
    bare.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"ft:"))
}
