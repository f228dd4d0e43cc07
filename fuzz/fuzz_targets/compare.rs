//! Files that `--compare` reads: whatever is in them, what is written is harmless, and can be read by a program.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tcptrace::{
    model::{Counters, KtimeNs, histogram, snapshot},
    output::{
        Moment, Sink as _, Summary,
        hist::{CompareJson, CompareText, Earlier, Hist, HistOptions, Reporter},
        snapshot::{Comparison, SnapshotReport, write_comparison, write_json_comparison, write_text},
    },
};
use tcptrace_fuzz::{formats::Shared, is_dangerous};

const NOW: Moment = Moment { ktime: KtimeNs(2_000_000_000), unix_ns: 0, elapsed_ns: 1_000_000_000 };

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(bytes) else { return Corpus::Reject };
    let (mut people, mut programs) = (Vec::new(), Vec::new());
    let mut errors = Vec::new();
    match Earlier::read(text, histogram::By::Port) {
        Ok(earlier) => {
            people.push(compared(|out| Box::new(CompareText::new(out, earlier.clone()))));
            programs.push(compared(|out| Box::new(CompareJson::new(out, earlier.clone()))));
        }
        Err(error) => errors.push(error.to_string()),
    }
    match SnapshotReport::read(text, snapshot::By::Port) {
        Ok(report) => {
            let comparison = Comparison::new(&report, &report);
            people.push(written(|out| write_comparison(out, &comparison)));
            people.push(written(|out| write_text(out, &report)));
            programs.push(written(|out| write_json_comparison(out, 0, &comparison)));
        }
        Err(error) => errors.push(error.to_string()),
    }
    for text in errors.iter().chain(&people).chain(&programs) {
        assert_eq!(text.chars().find(|c| *c != '\n' && is_dangerous(*c)), None, "{text}");
    }
    for line in programs.iter().flat_map(|text| text.lines()) {
        let object: Value = serde_json::from_str(line).expect("a line is an object");
        assert!(object["type"] == "comparison" || object["type"] == "summary", "{line}");
    }
    if errors.len() < 2 { Corpus::Keep } else { Corpus::Reject }
});

/// What is written when nothing has happened since.
fn compared(reporter: impl Fn(Shared) -> Box<dyn Reporter>) -> String {
    let out = Shared::default();
    let options = HistOptions { by: histogram::By::Port, shown: 2, states: None, has_intervals: false };
    let mut hist = Hist::new(options, reporter(out.clone()));
    hist.begin()
        .and_then(|()| hist.end(NOW, &Summary::new(&Counters::default(), 0)))
        .expect("memory takes it");
    out.text()
}

fn written(write: impl Fn(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("memory takes it");
    String::from_utf8(out).expect("all formats are UTF-8")
}
