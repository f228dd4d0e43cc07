//! The steps of one event in user space, each alone: decoder, table, text row, JSON row.

use std::{
    hint::black_box,
    io::{self, Write as _},
};

use divan::{Bencher, counter::ItemsCount};
use tcptrace::{
    model::{
        Event, KtimeNs, Limits, Observation, Sees, Table,
        histogram::{By, Histograms},
    },
    output::{Beside, Csv, Json, Moment, Names, Sink, Text, TextOptions},
    source::decode::decode,
};
use tcptrace_bench::synthetic::{CLOSING, OPENING, Synthetic, TICK_NS};
use tcptrace_common::RawRecord;

/// Connections that come and go in one iteration.
const CONNECTIONS: usize = 1_000;

fn main() {
    divan::main();
    // divan does not say when its output could not be written.
    let _ = io::stdout().flush();
}

fn records() -> Vec<u8> {
    let mut source = Synthetic::new(CONNECTIONS);
    let mut bytes = Vec::new();
    for index in 0..CONNECTIONS {
        source.open(index, &mut bytes);
    }
    for index in 0..CONNECTIONS {
        source.close(index, &mut bytes);
    }
    bytes
}

fn events() -> Vec<Event> {
    records().chunks_exact(RawRecord::SIZE).filter_map(|record| decode(record, TICK_NS).ok()).collect()
}

fn table() -> Table {
    let mut table = Table::new(KtimeNs(0), Limits::default());
    table.set_sees(Sees { minis: true, samples: false, resets: true, destruction: false, tables: true });
    table
}

fn observations() -> Vec<Observation> {
    let mut table = table();
    let mut observed = Vec::new();
    for event in events() {
        table.apply(&event, &mut |observation| observed.push(*observation));
    }
    observed
}

#[divan::bench]
fn decode_record(bencher: Bencher<'_, '_>) {
    let records = records();
    bencher.counter(ItemsCount::new(CONNECTIONS * (OPENING + CLOSING))).bench_local(|| {
        for record in records.chunks_exact(RawRecord::SIZE) {
            let _ = black_box(decode(black_box(record), TICK_NS));
        }
    });
}

#[divan::bench]
fn table_apply(bencher: Bencher<'_, '_>) {
    let events = events();
    bencher.counter(ItemsCount::new(events.len())).with_inputs(table).bench_local_refs(|table| {
        for event in &events {
            table.apply(black_box(event), &mut |observed| {
                black_box(observed);
            });
        }
    });
}

#[divan::bench]
fn text_row(bencher: Bencher<'_, '_>) {
    let options = TextOptions { header: false, color: false, wide: false, wall_clock: None };
    rows(bencher, Text::new(io::sink(), options));
}

#[divan::bench]
fn json_row(bencher: Bencher<'_, '_>) {
    rows(bencher, Json::new(io::sink()));
}

#[divan::bench]
fn csv_row(bencher: Bencher<'_, '_>) {
    rows(bencher, Csv::new(io::sink(), false));
}

#[divan::bench]
fn histogram_add(bencher: Bencher<'_, '_>) {
    let observations = observations();
    let mut histograms = Histograms::new(By::Port, 20);
    bencher.counter(ItemsCount::new(observations.len())).bench_local(|| {
        for observed in &observations {
            black_box(histograms.add(black_box(observed)));
        }
    });
}

fn rows(bencher: Bencher<'_, '_>, mut format: impl Sink) {
    let observations = observations();
    let names = Names::default();
    bencher.counter(ItemsCount::new(observations.len())).bench_local(|| {
        for observed in &observations {
            let ktime = observed.transition.ts;
            let moment = Moment { ktime, unix_ns: 1_795_219_200_000_000_000, elapsed_ns: ktime.0 };
            let beside = Beside { names: &names, stack: None, is_new_stack: false };
            let _ = format.transition(moment, black_box(observed), beside);
        }
    });
}
