//! Numbers, durations and texts as they are written in a query: as in Go, whose rules the language took over.

use super::lexer::Token;

/// Nanoseconds of the units of which only whole ones are written, largest first, each once: `1d12h`.
const WHOLE_UNITS: &[(&str, u128)] = &[
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];
/// Nanoseconds of the units that may have a fraction, in any order: `1.5s`, `1h30m`.
const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const DAY: u128 = 86_400_000_000_000;

/// A text in quotes, and how long it is with them; or what is wrong with it, and where.
pub(super) fn quoted(rest: &str) -> Result<(String, usize), (usize, String)> {
    let unfinished = || (0, "the text that begins here does not end".to_owned());
    if let Some(raw) = rest.strip_prefix('`') {
        let end = raw.find('`').ok_or_else(unfinished)?;
        return Ok((raw[..end].replace('\r', ""), end + 2));
    }
    let (mut out, mut at) = (String::new(), 1);
    loop {
        let c = rest[at..].chars().next().ok_or_else(unfinished)?;
        match c {
            '"' => return Ok((out, at + 1)),
            '\n' => return Err((0, "the text that begins here does not end in its line".to_owned())),
            '\\' => {
                let (escaped, length) = escape(&rest[at..]).ok_or_else(|| {
                    let shown: String = rest[at..].chars().take(2).collect();
                    (
                        at,
                        format!(
                            "`{shown}` stands for no character; write `\\{shown}`, or the text in backticks"
                        ),
                    )
                })?;
                out.push(escaped);
                at += length;
            }
            c => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
}

/// The character that begins with a backslash, and how long it is written.
fn escape(rest: &str) -> Option<(char, usize)> {
    let code = |from: usize, digits: usize, radix: u32| {
        let text = rest.get(from..from + digits)?;
        let number = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric())
            .then(|| u32::from_str_radix(text, radix).ok())??;
        Some((char::from_u32(number)?, from + digits))
    };
    let simple = |c| Some((c, 2));
    match rest.as_bytes().get(1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'n' => simple('\n'),
        b't' => simple('\t'),
        b'r' => simple('\r'),
        b'a' => simple('\u{7}'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'v' => simple('\u{b}'),
        // Single bytes beyond ASCII are no characters of their own.
        b'x' => code(2, 2, 16).filter(|(c, _)| c.is_ascii()),
        b'0'..=b'7' => code(1, 3, 8).filter(|(c, _)| c.is_ascii()),
        b'u' => code(2, 4, 16),
        b'U' => code(2, 8, 16),
        _ => None,
    }
}

/// A number, or a duration such as `1h30m` or `1.5s`, and how long it is written.
pub(super) fn number(rest: &str) -> Result<(Token, usize), String> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(rest);
    let mut whole = true;
    if rest[length..].starts_with('.') {
        whole = false;
        length += 1 + digits(&rest[length + 1..]);
    }
    let in_duration = |c: char| c.is_ascii_digit() || c == '.' || "nsuµmhdwy".contains(c);
    let longest = rest.find(|c: char| !in_duration(c)).unwrap_or(rest.len());
    if longest > length
        && let Some(nanos) = whole_units(&rest[..longest]).or_else(|| units(&rest[..longest]))
    {
        return match i64::try_from(nanos) {
            Ok(nanos) => Ok((Token::Duration(nanos), longest)),
            Err(_) => Err("the duration is longer than 292 years".to_owned()),
        };
    }
    if let Some(after) = rest[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(after.starts_with(['+', '-']));
        let exponent = digits(&after[sign..]);
        if exponent > 0 {
            whole = false;
            length += 1 + sign + exponent;
        }
    }
    if rest[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_')).unwrap_or(rest.len());
        return Err(format!(
            "{:?} is no number and no duration (units: ns, us, ms, s, m, h, and whole d, w, y)",
            &rest[..end]
        ));
    }
    let text = &rest[..length];
    if whole {
        return text
            .parse()
            .map(|number| (Token::Int(number), length))
            .map_err(|_| format!("{text} does not fit into 64 bits"));
    }
    match text.parse() {
        Ok(number) if f64::is_finite(number) => Ok((Token::Float(number), length)),
        _ => Err(format!("{text:?} is no number that can be held")),
    }
}

fn whole_units(mut text: &str) -> Option<u128> {
    let (mut nanos, mut units) = (0_u128, WHOLE_UNITS);
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let number: u128 = text[..digits].parse().ok()?;
        let unit = &text[digits..];
        let unit = &unit[..unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len())];
        let place = units.iter().position(|(known, _)| *known == unit)?;
        nanos = nanos.checked_add(number.checked_mul(units[place].1)?)?;
        units = &units[place + 1..];
        text = &text[digits + unit.len()..];
    }
    Some(nanos)
}

fn units(mut text: &str) -> Option<u128> {
    let mut nanos = 0_u128;
    while !text.is_empty() {
        let number = &text[..text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?];
        let unit = &text[number.len()..];
        let unit = &unit[..unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len())];
        let (_, factor) = UNITS.iter().find(|(known, _)| *known == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // No unit has more nanoseconds than these digits can tell.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        nanos = nanos.checked_add(whole.checked_mul(*factor)?)?.checked_add(part * factor / scale)?;
        text = &text[number.len() + unit.len()..];
    }
    Some(nanos)
}
