//! The synthetic source through decoder, table and histograms, on one core: how fast, and how much memory a connection takes.

use std::{fs, hint::black_box, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tcptrace::{
    model::{
        KtimeNs, Limits, Observation, Sees, Table,
        histogram::{By, Histograms},
    },
    source::decode::decode,
};
use tcptrace_bench::synthetic::{CLOSING, OPENING, Synthetic, TICK_NS};
use tcptrace_common::RawRecord;

use crate::nanos;

/// Records at once, as many as tcptrace takes from the ring.
const BATCH: usize = 4096;

/// `connections` are sockets in the table: each loopback connection has two.
pub(crate) fn run(connections: usize, events: usize) -> Result<()> {
    let pairs = (connections / 2).max(1);
    let mut source = Synthetic::new(pairs);
    let mut bytes = vec![1; (BATCH + OPENING + CLOSING) * RawRecord::SIZE];
    bytes.clear();
    let limits = Limits { max_connections: connections * 2 + 100_000, ..Limits::default() };
    let mut table = Table::new(KtimeNs(0), limits);
    table.set_sees(Sees { minis: true, samples: false, resets: true, destruction: false, tables: true });

    let before = resident()?;
    let mut filling = Pass::default();
    for index in 0..source.len() {
        source.open(index, &mut bytes);
        if bytes.len() >= BATCH * RawRecord::SIZE || index + 1 == source.len() {
            filling.feed(&mut table, &mut bytes, source.now_ns())?;
        }
    }
    let grown = resident()?.saturating_sub(before);
    let held = table.len();
    ensure!(held == pairs * 2, "{held} connections in the table instead of {}", pairs * 2);

    // Turn by turn, so that both share the noise of the machine.
    let mut plain = Pass::default();
    let mut steady = Pass { histograms: Some(Histograms::new(By::Port, 20)), ..Pass::default() };
    while steady.events < events {
        for pass in [&mut plain, &mut steady] {
            while bytes.len() < BATCH * RawRecord::SIZE {
                let index = source.any();
                source.close(index, &mut bytes);
                source.open(index, &mut bytes);
            }
            pass.feed(&mut table, &mut bytes, source.now_ns())?;
        }
    }
    let counters = table.counters();
    ensure!(
        counters.gaps + counters.illegal + counters.evicted == 0,
        "the synthetic source makes sense: {counters:?}"
    );
    println!(
        "{}",
        json!({
            "connections": held,
            "bytes": grown,
            "peak_bytes": status_bytes("VmHWM:")?,
            "fill_events": filling.events,
            "fill_ns": nanos(filling.took),
            "events": plain.events,
            "ns": nanos(plain.took),
            "histogram_events": steady.events,
            "histogram_ns": nanos(steady.took),
            "transitions": counters.transitions,
        })
    );
    Ok(())
}

/// What was fed, and the time that took, without the time to make it.
#[derive(Default)]
struct Pass {
    events: usize,
    took: Duration,
    histograms: Option<Histograms>,
}

impl Pass {
    fn feed(&mut self, table: &mut Table, bytes: &mut Vec<u8>, now_ns: u64) -> Result<()> {
        let start = cpu();
        for record in bytes.chunks_exact(RawRecord::SIZE) {
            let event = decode(record, TICK_NS)?;
            table.apply(&event, &mut |observed| tell(&mut self.histograms, observed));
        }
        table.settle(KtimeNs(now_ns), &mut |observed| tell(&mut self.histograms, observed));
        self.took += cpu().saturating_sub(start);
        self.events += bytes.len() / RawRecord::SIZE;
        bytes.clear();
        Ok(())
    }
}

fn tell(histograms: &mut Option<Histograms>, observed: &Observation) {
    match histograms {
        Some(histograms) => {
            black_box(histograms.add(observed));
        }
        None => {
            black_box(observed);
        }
    }
}

/// Processor time of this thread: others on the machine do not count.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Memory of this process that is in use, in bytes.
fn resident() -> Result<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
