//! Times as people say them.

/// Three digits and a unit: `812 ns`, `12.3 us`, `200 ms`, `61.4 s`, `12.5 min`, `3.20 h`, `5.10 d`. Cut off, never rounded up: an
/// age of 59.99 s is not yet 60 s.
pub fn time(ns: u64) -> String {
    const UNITS: [(u64, &str); 7] = [
        (1, "ns"),
        (1_000, "us"),
        (1_000_000, "ms"),
        (1_000_000_000, "s"),
        (60_000_000_000, "min"),
        (3_600_000_000_000, "h"),
        (86_400_000_000_000, "d"),
    ];
    // Two minutes are still seconds: 60 s of TIME_WAIT are known as that.
    let fits = |(unit, name): &&(u64, &str)| match *name {
        "min" | "h" | "d" => ns >= 2 * unit,
        _ => ns >= *unit,
    };
    let (unit, name) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
    let whole = ns / unit;
    let digits = match (whole, *unit) {
        (_, 1) | (100.., _) => 0,
        (10..=99, _) => 1,
        _ => 2,
    };
    let scale = 10_u64.pow(digits);
    let fraction = u128::from(ns % unit) * u128::from(scale) / u128::from(*unit);
    match digits {
        0 => format!("{whole} {name}"),
        _ => format!("{whole}.{fraction:0width$} {name}", width = digits as usize),
    }
}

/// An edge between two bars: a round number, without what a fraction would add.
pub fn edge(ns: u64) -> String {
    const UNITS: [(u64, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "min"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let (unit, name) = UNITS
        .iter()
        .find(|(unit, _)| ns >= *unit && ns.is_multiple_of(*unit))
        .unwrap_or(&UNITS[UNITS.len() - 1]);
    format!("{} {name}", ns / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        for (ns, text) in [
            (0, "0 ns"),
            (812, "812 ns"),
            (1_000, "1.00 us"),
            (12_345, "12.3 us"),
            (200_000_000, "200 ms"),
            (59_999_999_999, "59.9 s"),
            (61_423_000_000, "61.4 s"),
            (119_999_999_999, "119 s"),
            (750_000_000_000, "12.5 min"),
            (11_520_000_000_000, "3.20 h"),
            (440_640_000_000_000, "5.10 d"),
            (u64::MAX, "213503 d"),
        ] {
            assert_eq!(time(ns), text);
        }
    }

    #[test]
    fn edges_are_round() {
        use crate::model::histogram::dwells::EDGES;
        for (ns, text) in
            [(1_000, "1 us"), (500_000_000, "500 ms"), (60_000_000_000, "1 min"), (7_200_000_000_000, "2 h")]
        {
            assert_eq!(edge(ns), text);
        }
        let mut names: Vec<String> = EDGES.iter().map(|ns| edge(*ns)).collect();
        assert!(names.iter().all(|name| name.len() <= 6), "{names:?}");
        names.dedup();
        assert_eq!(names.len(), EDGES.len());
    }
}
