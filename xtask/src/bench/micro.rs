//! The micro-benchmarks of `bench/benches/micro.rs`, which divan runs and measures.

use anyhow::{Result, ensure};

use super::{
    kit::Kit,
    progress,
    table::{Row, Section},
};
use crate::workspace::{cargo, output};

/// Runs them and reads divan's table.
pub(crate) fn measure(kit: &Kit) -> Result<Section> {
    progress("micro-benchmarks");
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--locked", "--package", "tcptrace-bench", "--bench", "micro"]);
    bench.args(["--", "--color", "never"]);
    if kit.is_quick {
        bench.args(["--sample-count", "10"]);
    }
    let text = output(&mut bench)?;
    let rates = parse(&text);
    ensure!(!rates.is_empty(), "divan's table is not understood: {text}");
    let rows = rates
        .into_iter()
        .map(|(name, rate)| {
            let each = 1e9 / rate;
            Row::new(format!("micro.{name}"), name.replace('_', " "), "ns", [each].into_iter().collect())
                .note("median of divan's samples")
        })
        .collect();
    Ok(Section { title: "Steps of one event in user space, each alone (divan)".to_owned(), rows })
}

/// Names, and items a second by the median (the third column of the line after the one with the name).
fn parse(table: &str) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let mut lines = table.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("├─ ").or_else(|| line.strip_prefix("╰─ ")) else {
            continue;
        };
        let (Some(name), Some(next)) = (rest.split_whitespace().next(), lines.peek()) else { continue };
        if let Some(rate) = next.split('│').map(str::trim).filter_map(items_a_second).nth(2) {
            found.push((name.to_owned(), rate));
        }
    }
    found
}

/// `12.5 Mitem/s`
fn items_a_second(cell: &str) -> Option<f64> {
    let (number, unit) = cell.split_once(' ')?;
    let scale = match unit.trim().strip_suffix("item/s")? {
        "" => 1.0,
        "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_divans_table() {
        let table = "\
Timer precision: 20 ns
micro             fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ csv_row        242.1 µs      │ 306.8 µs      │ 247.1 µs      │ 250.6 µs      │ 100     │ 100
│                 41.3 Mitem/s  │ 32.59 Mitem/s │ 40.46 Mitem/s │ 39.89 Mitem/s │         │
╰─ text_row       2.1 ms        │ 3.8 ms        │ 2.1 ms        │ 2.6 ms        │ 100     │ 100
                  4.1 Mitem/s   │ 932.5 Kitem/s │ 950.5 Kitem/s │ 930.9 Kitem/s │         │
";
        assert_eq!(parse(table), [("csv_row".to_owned(), 40.46e6), ("text_row".to_owned(), 950.5e3)]);
        assert_eq!(parse("nothing\n"), []);
    }
}
