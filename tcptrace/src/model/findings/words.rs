//! Numbers in evidence.

/// A span of time: `850 ms`, `12.3 s`, `4 min 10 s`, `2 h 5 min`. Cut off, never rounded up.
pub(super) fn span(ns: u64) -> String {
    let (ms, s) = (ns / 1_000_000, ns / 1_000_000_000);
    match s {
        0 => format!("{ms} ms"),
        1..=9 => format!("{s}.{} s", ms / 100 % 10),
        10..=119 => format!("{s} s"),
        120..=7199 => join(s / 60, "min", s % 60, "s"),
        7200..=172_799 => join(s / 3600, "h", s / 60 % 60, "min"),
        _ => join(s / 86_400, "d", s / 3600 % 24, "h"),
    }
}

fn join(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// How many of a hundred, cut off.
pub(super) const fn percent(part: u64, of: u64) -> u64 {
    match of {
        0 => 0,
        of => part.saturating_mul(100) / of,
    }
}

/// How long until `used` reaches `limit` when it grows by `per_minute`; `None` when it does not grow, or in years.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a forecast"
)]
pub(super) fn time_left(used: u64, limit: u64, per_minute: Option<f64>) -> Option<u64> {
    let minutes = limit.saturating_sub(used) as f64 / per_minute.filter(|slope| *slope > 0.0)?;
    (minutes < 1e6).then_some((minutes * 60e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_cut_off() {
        for (ns, text) in [
            (0, "0 ms"),
            (999_999_999, "999 ms"),
            (1_999_999_999, "1.9 s"),
            (12_345_000_000, "12 s"),
            (119_900_000_000, "119 s"),
            (250_000_000_000, "4 min 10 s"),
            (7_500_000_000_000, "2 h 5 min"),
            (172_800_000_000_000, "2 d"),
        ] {
            assert_eq!(span(ns), text);
        }
    }

    #[test]
    fn time_is_left_while_it_grows() {
        assert_eq!(time_left(50, 100, Some(50.0)), Some(60_000_000_000));
        assert_eq!(time_left(100, 100, Some(1.0)), Some(0));
        for slope in [None, Some(0.0), Some(-1.0), Some(1e-9), Some(f64::NAN)] {
            assert_eq!(time_left(50, 100, slope), None, "{slope:?}");
        }
        assert_eq!((percent(1, 3), percent(5, 0), percent(u64::MAX, 1)), (33, 0, u64::MAX));
    }
}
