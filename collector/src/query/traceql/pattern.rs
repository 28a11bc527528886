//! Regular expressions as Go reads them, which is what TraceQL's are, for an engine that differs in a few signs.

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled regular expression at most.
const REGEX_SIZE: usize = 1 << 20;

/// The expression of a pattern, which has to match a whole text, of any number of lines, as in Tempo.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    let whole = |pattern: &str| {
        RegexBuilder::new(&format!("^(?:{pattern})$"))
            .dot_matches_new_line(true)
            .size_limit(REGEX_SIZE)
            .build()
    };
    whole(&translated(pattern)).map_err(|error| {
        // What is wrong is shown in what was written, if that is wrong too.
        let error = whole(pattern).err().unwrap_or(error);
        format!("{pattern:?} is no regular expression: {error}")
    })
}

/// The pattern with these changed: `\d`, `\w`, `\s` and `\b` mean ASCII; a brace that repeats nothing, such as that in
/// `/api/{id}`, and a bracket or a doubled sign in a class, stand for themselves.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let (mut at, mut class) = (0, None);
    while let Some(c) = pattern[at..].chars().next() {
        let rest = &pattern[at..];
        let mut length = c.len_utf8();
        match (c, class) {
            ('\\', _) => length = escape(rest, class.is_some(), &mut out),
            ('[', None) => {
                // A bracket that closes is one of the class if it comes first.
                length =
                    ["[^]", "[]", "[^"].into_iter().find(|start| rest.starts_with(start)).map_or(1, str::len);
                out.push_str(match &rest[..length] {
                    "[]" => "[\\]",
                    "[^]" => "[^\\]",
                    other => other,
                });
                class = Some(());
            }
            ('[', Some(())) if rest.starts_with("[:") && rest.contains(":]") => {
                length = rest.find(":]").map_or(1, |end| end + 2);
                out.push_str(&rest[..length]);
            }
            ('[', Some(())) => out.push_str("\\["),
            (']', Some(())) => {
                out.push(']');
                class = None;
            }
            ('&' | '~', Some(())) => out.extend(['\\', c]),
            ('-', Some(())) if rest.starts_with("--") => out.push_str("\\-"),
            ('{', None) if !repeats(rest) => out.push_str("\\{"),
            (c, _) => out.push(c),
        }
        at += length;
    }
    out
}

/// Whether a brace begins `{2}`, `{2,}` or `{2,5}`.
fn repeats(rest: &str) -> bool {
    let Some((inner, _)) = rest[1..].split_once('}') else { return false };
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    !least.is_empty() && [least, most].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What begins with a backslash; returns how long it is.
fn escape(rest: &str, class: bool, out: &mut String) -> usize {
    const SETS: [(char, &str); 3] = [('d', "0-9"), ('w', "0-9A-Za-z_"), ('s', "\\t\\n\\f\\r ")];
    let Some(c) = rest[1..].chars().next() else {
        out.push('\\');
        return 1;
    };
    if let Some((_, set)) = SETS.iter().find(|(name, _)| *name == c.to_ascii_lowercase()) {
        match (c.is_ascii_uppercase(), class) {
            (false, true) => out.push_str(set),
            (negated, _) => out.extend([if negated { "[^" } else { "[" }, set, "]"]),
        }
        return 2;
    }
    match c {
        'b' if !class => out.push_str("(?-u:\\b)"),
        '<' | '>' => out.push(c),
        // To `\E` nothing is a sign.
        'Q' if !class => {
            let text = &rest[2..];
            let end = text.find("\\E");
            out.push_str(&regex::escape(&text[..end.unwrap_or(text.len())]));
            return end.map_or(rest.len(), |end| end + 4);
        }
        // What follows in braces belongs to it.
        'x' | 'p' | 'P' if rest[2..].starts_with('{') => {
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            out.push_str(&rest[..end]);
            return end;
        }
        c => out.extend(['\\', c]),
    }
    1 + c.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::regex;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text) in [
            ("GET /api/{id}", "GET /api/{id}"),
            ("{.*}", "{}"),
            ("a{2}b{1,}c{0,2}", "aabbcc"),
            ("a{,2}", "a{,2}"),
            ("x.y", "x\ny"),
            (r"\w+-\d+\s\D", "ab_1-42 x"),
            (r"[\w.]+@[^\W]+", "a.b@c"),
            (r"[^\s]+", "ünï"),
            ("[[a]+", "a["),
            ("[]a]+", "]a"),
            ("[^]a]", "b"),
            ("[a&&b]+", "a&b"),
            ("[a--]+", "a"),
            ("[[:alpha:]_]+", "a_b"),
            (r"\Qa.b{}\E+", "a.b{}}"),
            (r"\<tool\>", "<tool>"),
            (r".*\bplanner\b.*", "the planner."),
            (r"\x{1F642}|\x41", "A"),
            ("(?i)CHAT .*", "chat gpt-4o"),
            ("a|b", "b"),
            ("", ""),
        ] {
            assert!(regex(pattern).unwrap().is_match(text), "{pattern} of {text:?}");
        }
        for (pattern, text) in [
            ("chat", "chat gpt-4o"),
            (r"\w+", "ünï"),
            (r"\d", "٣"),
            ("a|b", "ab"),
            ("(?m)a$.*", "b\na"),
            ("a{2}", "aaa"),
        ] {
            assert!(!regex(pattern).unwrap().is_match(text), "{pattern} of {text:?}");
        }
        for pattern in ["(", "[ab", "*", "\\", r"(\w)\1"] {
            assert!(regex(pattern).is_err(), "{pattern}");
        }
    }
}
