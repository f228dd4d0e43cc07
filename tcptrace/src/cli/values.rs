//! Values of flags that are not lists.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// A span of time: `90s`, `5m`, `1h 30m`, `500ms`, or a number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let accepted = || format!("`{text}` is no span of time; accepted are such as 90, 90s, 5m, 1h30m, 500ms");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| accepted());
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(accepted)
}

/// A span of time that is not nothing.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval.is_zero() {
        Err(format!("`{text}` is no interval; it must be longer than nothing"))
    } else {
        Ok(interval)
    }
}

/// A number of keys, at least 1.
pub(crate) fn entries(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= 100_000);
    number.ok_or_else(|| format!("`{text}` is no number of keys; accepted are numbers from 1 to 100000"))
}

/// A number of connections, at least 1.
pub(crate) fn connections(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("`{text}` is no number of connections; accepted are numbers from 1"))
}

/// A number of synthetic connections.
pub(crate) fn demo_connections(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= 1_000_000);
    number.ok_or_else(|| {
        format!("`{text}` is no number of synthetic connections; accepted are numbers from 1 to 1000000")
    })
}

/// A number of synthetic events a second.
pub(crate) fn demo_rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.parse().ok().filter(|number: &NonZeroU32| number.get() <= 100_000);
    number.ok_or_else(|| {
        format!("`{text}` is no number of events a second; accepted are numbers from 1 to 100000")
    })
}

/// A size of the ring buffer in bytes: a power of two from 4 KiB to 1 GiB, with K, M or G.
pub(crate) fn ring_size(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" => Some(0),
        "K" | "k" | "KiB" => Some(10),
        "M" | "m" | "MiB" => Some(20),
        "G" | "g" | "GiB" => Some(30),
        _ => None,
    };
    digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(1 << unit?))
        .filter(|size| size.is_power_of_two() && (1 << 12..=1 << 30).contains(size))
        .ok_or_else(|| {
            format!("`{text}` is no size of a ring buffer; accepted are powers of two from 4K to 1G")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, millis) in [
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("2", 2_000),
            ("0.5", 500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1s", "soon", "-3", "nan", "inf", "5 lightyears"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_of_the_ring() {
        for (text, size) in
            [("4096", 4096), ("4K", 4096), ("8M", 8 << 20), ("16MiB", 16 << 20), ("1G", 1 << 30)]
        {
            assert_eq!(ring_size(text), Ok(size), "{text}");
        }
        for text in ["", "0", "5000", "2K", "3M", "2G", "8T", "M", "-4K", "99999999999G", "ß"] {
            assert!(ring_size(text).is_err(), "{text}");
        }
    }
}
