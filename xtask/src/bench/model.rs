//! The synthetic source through decoder and table on one core: how the cost grows with the connections that are known.

use std::fs;

use anyhow::{Context as _, Result};

use super::{
    kit::{Kit, number},
    progress,
    sample::{Samples, float},
    table::{Row, Section, Target},
};

/// Connections in the table, and memory that it takes at most to measure them.
const SIZES: [(u64, &str, u64); 4] = [
    (10_000, "10k", 1 << 30),
    (100_000, "100k", 1 << 30),
    (1_000_000, "1M", 1 << 30),
    (10_000_000, "10M", 5 << 30),
];

/// Measures all sizes in each round.
pub(crate) fn measure(kit: &Kit) -> Result<Section> {
    let events = kit.size(5_000_000, 500_000);
    let sizes = &SIZES[..if kit.is_quick { 2 } else { SIZES.len() }];
    let mut measured: Vec<_> = sizes.iter().map(Entry::new).collect();
    for round in 1..=kit.rounds {
        for entry in &mut measured {
            if entry.skipped.is_none() {
                entry.skipped = skipped(entry.needs)?;
            }
            if entry.skipped.is_some() {
                continue;
            }
            progress(&format!("model: round {round} of {}: {} connections", kit.rounds, entry.name));
            let connections = entry.connections.to_string();
            let answer =
                kit.ask(&["model", "--connections", &connections, "--events", &events.to_string()])?;
            let value = |name| number(&answer, name).map(float);
            entry.rate.push(value("events")? / value("ns")? * 1e3);
            entry.histograms.push(value("histogram_events")? / value("histogram_ns")? * 1e3);
            entry.filling.push(value("fill_events")? / value("fill_ns")? * 1e3);
            entry.bytes.push(value("bytes")? / value("connections")?);
            entry.peak.push(value("peak_bytes")? / float(1 << 20));
        }
    }
    let title = format!(
        "Model: {events} synthetic records of connections that end and begin in any order, decoder and table, one core"
    );
    Ok(Section { title, rows: measured.iter().flat_map(rows).collect() })
}

/// One size.
struct Entry {
    connections: u64,
    name: &'static str,
    needs: u64,
    skipped: Option<String>,
    /// Millions of records a second.
    rate: Samples,
    /// The same with histograms by service port.
    histograms: Samples,
    /// The same as the first, while the table grows.
    filling: Samples,
    bytes: Samples,
    peak: Samples,
}

impl Entry {
    fn new(&(connections, name, needs): &(u64, &'static str, u64)) -> Self {
        let [rate, histograms, filling, bytes, peak] = std::array::from_fn(|_| Samples::default());
        Self { connections, name, needs, skipped: None, rate, histograms, filling, bytes, peak }
    }
}

fn rows(entry: &Entry) -> Vec<Row> {
    let Entry { name, rate, histograms, filling, bytes, peak, .. } = entry;
    let row = format!("model.{name}");
    let what = format!("{name} connections, records");
    if let (Some(why), 0) = (&entry.skipped, rate.len()) {
        return vec![Row::absent(row, what, why)];
    }
    vec![
        Row::new(format!("{row}.rate"), what, "M/s", rate.clone()).target(Target::at_least(5.0)),
        Row::new(format!("{row}.histograms"), "  the same with histograms", "M/s", histograms.clone())
            .target(Target::at_least(5.0)),
        Row::new(format!("{row}.filling"), "  the same while the table grows", "M/s", filling.clone()),
        Row::new(format!("{row}.bytes"), "  memory for a connection", "bytes", bytes.clone())
            .target(Target::at_most(200.0)),
        Row::new(format!("{row}.peak"), "  peak of the process", "MiB", peak.clone()),
    ]
}

/// Why it is not measured, if it is not.
fn skipped(needs: u64) -> Result<Option<String>> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let available = available(&meminfo).context("no MemAvailable in /proc/meminfo")?;
    Ok((available < needs).then(|| format!("skipped: needs {} GiB of free memory", needs >> 30)))
}

/// Bytes that programs may take.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory() {
        let meminfo = "MemTotal:       24647624 kB\nMemFree: 1 kB\nMemAvailable:   21230592 kB\n";
        assert_eq!(available(meminfo), Some(21_230_592 * 1024));
        assert_eq!(available("MemFree: 1 kB\n"), None);
    }
}
