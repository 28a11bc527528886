//! Durations as text, as Tempo shows them.

/// A duration as Go writes it: `1h2m3.5s`, `1.5ms`, `800ns`.
pub(crate) fn go_duration(nanos: i64) -> String {
    let (sign, size) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let decimal = |unit: u64| {
        let fraction = format!("{:0width$}", size % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0').to_owned();
        if fraction.is_empty() { String::new() } else { format!(".{fraction}") }
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}{}µs", size / 1_000, decimal(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}{}ms", size / 1_000_000, decimal(1_000_000)),
        _ => {
            let seconds = size / 1_000_000_000;
            let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
            let mut text = sign.to_owned();
            if hours > 0 {
                text.push_str(&format!("{hours}h"));
            }
            if seconds >= 60 {
                text.push_str(&format!("{minutes}m"));
            }
            format!("{text}{}{}s", seconds % 60, decimal(1_000_000_000))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (800, "800ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_234_567_890, "1.23456789s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_500_000, "-1.5ms"),
        ];
        for (nanos, text) in cases {
            assert_eq!(go_duration(nanos), text);
        }
    }
}
