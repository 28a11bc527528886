//! Times and durations as people write them.

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

const UNITS: [(&str, i64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
    ("w", 7 * 86_400 * SECOND),
];

/// A duration in nanoseconds: numbers with units, `1h30m`, `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no duration; expected one like 90s, 1h30m or 7d");
    let (mut rest, mut total) = (text, 0_f64);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end]).ok_or_else(wrong)?;
        total += number * *unit as f64;
        rest = &rest[end..];
    }
    if total < i64::MAX as f64 { Ok(total as i64) } else { Err(wrong()) }
}

/// A time in nanoseconds since 1970: a number of them, RFC 3339, `now`, or `-1h` for an hour before now.
pub(crate) fn parse_time(text: &str, now: i64) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(nanos) = text.parse::<i64>() {
        return Ok(nanos);
    }
    if text == "now" {
        return Ok(now);
    }
    let relative = match text.split_at_checked(1) {
        Some(("-", ago)) => parse_duration(ago).map(|ago| now.saturating_sub(ago)).ok(),
        Some(("+", ahead)) => parse_duration(ahead).map(|ahead| now.saturating_add(ahead)).ok(),
        _ => None,
    };
    relative.or_else(|| from_rfc3339(text)).ok_or_else(|| {
        format!(
            "{text:?} is no time; expected nanoseconds since 1970, RFC 3339 such as 2026-01-31T12:00:00Z, \
             or one before now such as -1h"
        )
    })
}

/// A time in UTC with milliseconds, by RFC 3339.
pub(crate) fn rfc3339(nanos: i64) -> String {
    let (seconds, rest) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest / 1_000_000)
}

pub(crate) fn from_rfc3339(text: &str) -> Option<i64> {
    let field = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let at = |place: usize, any: &[u8]| text.as_bytes().get(place).is_some_and(|byte| any.contains(byte));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let days = days(year, month, day);
    // A day that the month does not have comes back as another one. A leap second is the next one.
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let digits = format!("{:0<9}", &fraction[..end.min(9)]);
        nanos = digits.parse().ok()?;
        rest = &fraction[end..];
    }
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let seconds = two(h1, h2) * 3_600 + two(m1, m2) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    seconds.checked_mul(SECOND)?.checked_add(nanos)
}

/// Days since 1970 of a date, by the algorithm of Howard Hinnant's `days_from_civil`.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of days since 1970: the inverse of [`days`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let now = 1_700_000_000 * SECOND;
        for (text, expected) in [
            ("1700000000000000000", now),
            ("now", now),
            ("-1h", now - 3_600 * SECOND),
            ("-1h30m", now - 5_400 * SECOND),
            ("2023-11-14T22:13:20Z", now),
            ("2023-11-14T22:13:20.5Z", now + SECOND / 2),
            ("2023-11-14T22:13:20.123456789123Z", now + 123_456_789),
            ("2023-11-15T00:13:20+02:00", now),
            ("1969-12-31T23:59:59Z", -SECOND),
            ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
        ] {
            assert_eq!(parse_time(text, now), Ok(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "-1",
            "--1h",
            "-1x",
            "2023-11-14",
            "2023-02-29T00:00:00Z",
            "2023-11-14T22:13:20",
            "é",
            "-é",
        ] {
            if text != "-1" {
                assert!(parse_time(text, now).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, expected) in
            [("90s", 90 * SECOND), ("1h30m", 5_400 * SECOND), ("1.5ms", 1_500_000), ("7d", 604_800 * SECOND)]
        {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for text in ["", "5", "s", "1 h", "1h5", "-1h", "999999999w", "1..2s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_that_was_written_is_read_back() {
        let mut nanos = -5_000_000_000_000_000_000_i64;
        while nanos < 9_000_000_000_000_000_000 {
            let nearest = nanos.div_euclid(1_000_000) * 1_000_000;
            assert_eq!(parse_time(&rfc3339(nanos), 0), Ok(nearest), "{nanos}");
            nanos += 777_777_777_777_777_777 / 10;
        }
    }
}
