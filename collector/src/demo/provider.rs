//! Who serves a recorded model, in the words of the conventions.

use std::borrow::Cow;

/// Parts of model ids and of recorded provider names, and the provider that each stands for. Prefixes of
/// routers come first: `azure/gpt-4.1` is served by Azure.
const KNOWN: &[(&str, &str)] = &[
    ("azure/", "azure.ai.openai"),
    ("bedrock/", "aws.bedrock"),
    ("vertex", "gcp.vertex_ai"),
    ("groq/", "groq"),
    ("google", "gcp.gemini"),
    ("gemini", "gcp.gemini"),
    ("claude", "anthropic"),
    ("anthropic", "anthropic"),
    ("deepseek", "deepseek"),
    ("xai/", "x_ai"),
    ("x-ai/", "x_ai"),
    ("grok", "x_ai"),
    ("mistral", "mistral_ai"),
    ("command-r", "cohere"),
    ("sonar", "perplexity"),
    ("gpt-", "openai"),
    ("chatgpt", "openai"),
    ("openai", "openai"),
];

/// The provider that the conventions' values have no name for.
const CUSTOM: &str = "custom";

/// The provider of a model: by what was recorded of it, or else by the model's id. It is
/// [`CUSTOM`] when neither tells; a recorded name that the conventions do not know is used as it is.
pub(super) fn of(model: &str, recorded: Option<&str>) -> Cow<'static, str> {
    let known = |text: &str| {
        let text = text.to_ascii_lowercase();
        KNOWN.iter().find(|(part, _)| text.contains(part)).map(|(_, provider)| *provider)
    };
    // OpenAI's models of the o series have no part that could not be a part of other ids.
    let o_series = || {
        let mut id = model.rsplit('/').next()?.bytes();
        (id.next() == Some(b'o') && id.next().is_some_and(|byte| byte.is_ascii_digit())).then_some("openai")
    };
    match recorded.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => known(name).map_or_else(|| name.to_lowercase().replace(' ', "_").into(), Cow::Borrowed),
        None => known(model).or_else(o_series).unwrap_or(CUSTOM).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn providers_are_told_by_recorded_names_and_by_model_ids() {
        let cases = [
            ("gpt-4.1", None, "openai"),
            ("ft:gpt-4o-mini-2024-07-18:acme:bot:abc123", None, "openai"),
            ("o4-mini", None, "openai"),
            ("azure/gpt-4.1", None, "azure.ai.openai"),
            ("claude-sonnet-4-5", None, "anthropic"),
            ("google/gemini-3-pro-preview", Some("Google AI Studio"), "gcp.gemini"),
            ("@google/gemini-2.5-pro", None, "gcp.gemini"),
            ("xai/grok-4", None, "x_ai"),
            ("deepseek/deepseek-chat", None, "deepseek"),
            ("some-model", Some("Anthropic"), "anthropic"),
            ("some-model", Some("Some Body"), "some_body"),
            ("orca-2", None, "custom"),
        ];
        for (model, recorded, expected) in cases {
            assert_eq!(of(model, recorded), expected, "{model} {recorded:?}");
        }
    }
}
