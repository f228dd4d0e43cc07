//! All formats at once, and what must hold of whatever they write.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
};

use serde_json::Value;
use tcptrace::{
    model::{
        Candidate, Connection, Filter, Held, Observation, Owner, SocketKey,
        findings::{Thresholds, thresholds::Given},
        histogram::By,
    },
    output::{
        Beside, Csv, Json, Moment, Names, Notice, Sink, Summary, Text, TextOptions,
        diagram::{DiagramFormat, DiagramReporter},
        findings::{
            FindingReporter, Findings, FindingsJson, FindingsOptions, FindingsText, FindingsTextOptions,
            LookoutOptions,
        },
        hist::{Earlier, Hist, HistCsv, HistJson, HistOptions, HistText, HistTextOptions, Reporter},
    },
};

use crate::is_dangerous;

/// A buffer that can be read while a format writes to it.
#[derive(Clone, Debug, Default)]
pub struct Shared(Rc<RefCell<Vec<u8>>>);

impl Shared {
    /// What was written, as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("all formats are UTF-8")
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the formats have written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    text: Shared,
    json: Shared,
    csv: Shared,
    hist_text: Shared,
    hist_json: Shared,
    hist_csv: Shared,
    diagram: Shared,
    findings_text: Shared,
    findings_json: Shared,
}

impl Written {
    /// That it is harmless, and can be read by a program. With the number of transitions that were shown.
    pub fn check(&self, shown: u64) {
        let [text, json, csv] = [&self.text, &self.json, &self.csv].map(Shared::text);
        let [hist_text, hist_json, hist_csv] =
            [&self.hist_text, &self.hist_json, &self.hist_csv].map(Shared::text);
        let [diagram, findings_text, findings_json] =
            [&self.diagram, &self.findings_text, &self.findings_json].map(Shared::text);
        let others = [&diagram, &findings_text, &findings_json];
        for written in [&text, &json, &csv, &hist_text, &hist_json, &hist_csv].into_iter().chain(others) {
            let dangerous = written.chars().find(|c| *c != '\n' && is_dangerous(*c));
            assert_eq!(dangerous, None, "{written}");
        }
        let is_transition = |line: &&str| !line.starts_with(['#', ' ']);
        let transitions = text.lines().filter(is_transition).count();
        assert_eq!(u64::try_from(transitions).ok(), Some(shown));
        let objects: Vec<Value> =
            json.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect();
        let transitions = objects.iter().filter(|object| object["type"] == "transition").count();
        assert_eq!(u64::try_from(transitions).ok(), Some(shown));
        assert!(objects.iter().all(|object| object["schema_version"] == 1));
        // Fails where a record has another number of fields than the one before.
        for csv in [csv, hist_csv] {
            for record in csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes()).records() {
                record.expect("is a record");
            }
        }
        for line in findings_json.lines() {
            let object: Value = serde_json::from_str(line).expect("a line is an object");
            let of_rule = object["rule"].is_string() && object["meaning"] != "" && object["remedy"] != "";
            assert!(object["type"] != "finding" || of_rule, "{line}");
        }
        let count = |object: &Value| object["count"].as_u64().expect("is a number");
        let lines = hist_json.lines().map(|line| serde_json::from_str(line).expect("a line is an object"));
        let histograms: Vec<Value> = lines.filter(|object: &Value| object["type"] == "histogram").collect();
        assert_eq!(histograms.iter().map(count).sum::<u64>(), shown);
        for histogram in &histograms {
            let of = histogram["transitions"].as_array().expect("is a list").iter().map(count).sum::<u64>();
            assert_eq!(of, count(histogram));
        }
        let is_read = Earlier::read(&hist_json, By::Port).is_ok();
        assert_eq!(is_read, !histograms.is_empty(), "{hist_json}");
    }
}

/// Hands everything to all formats.
pub struct All {
    text: Text<Shared>,
    json: Json<Shared>,
    csv: Csv<Shared>,
    hists: [Hist; 4],
    findings: [Findings; 2],
    filter: Filter,
}

impl All {
    /// Writes to `written`; `filter` is what decides about what is written.
    pub fn new(written: &Written, filter: Filter) -> Self {
        let options = TextOptions { header: false, color: false, wide: true, wall_clock: None };
        Self {
            text: Text::new(written.text.clone(), options),
            json: Json::new(written.json.clone()),
            csv: Csv::new(written.csv.clone(), true),
            hists: [
                hist(HistText::new(written.hist_text.clone(), HistTextOptions { width: 80, color: false })),
                hist(HistJson::new(written.hist_json.clone())),
                hist(HistCsv::new(written.hist_csv.clone(), true)),
                hist(DiagramReporter::new(written.diagram.clone(), DiagramFormat::Svg)),
            ],
            findings: [
                findings(FindingsText::new(
                    written.findings_text.clone(),
                    FindingsTextOptions { width: 80, color: false, has_times: false },
                )),
                findings(FindingsJson::new(written.findings_json.clone())),
            ],
            filter,
        }
    }

    fn each(&mut self, mut write: impl FnMut(&mut dyn Sink) -> io::Result<()>) -> io::Result<()> {
        write(&mut self.text)?;
        write(&mut self.json)?;
        write(&mut self.csv)?;
        self.hists.iter_mut().try_for_each(|hist| write(hist))?;
        self.findings.iter_mut().try_for_each(|findings| write(findings))
    }
}

/// As much as can be found.
fn findings(reporter: impl FindingReporter + 'static) -> Findings {
    let mut thresholds = Thresholds::default();
    for (rule, key, _) in Thresholds::default().entries() {
        let least = Given { number: Some(1), span_ns: Some(0) };
        thresholds.set(rule, key, least).expect("there is such a threshold");
    }
    let lookout = LookoutOptions { thresholds, with_stacks: true, ..LookoutOptions::default() };
    let options = FindingsOptions { lookout, is_watch: false };
    Findings::new(options, Box::new(reporter))
}

/// Few keys, so that there are others.
fn hist(reporter: impl Reporter + 'static) -> Hist {
    let options = HistOptions { by: By::Port, shown: 2, states: None, has_intervals: false };
    Hist::new(options, Box::new(reporter))
}

impl Sink for All {
    fn begin(&mut self) -> io::Result<()> {
        self.each(|format| format.begin())
    }

    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        let (transition, connection) = (&observed.transition, &observed.connection);
        assert_eq!(connection.state, transition.new);
        // Nothing can have lasted longer than the time that there was.
        assert!(observed.dwell.is_none_or(|dwell| dwell.ns() <= transition.ts.0), "{observed:?}");
        // Who makes the call owns it.
        let owner = observed.owner.map(|owner| owner.task);
        assert!(transition.task.is_none() || owner == transition.task, "{observed:?}");
        // What the kernel half leaves out for this filter must not be what it asks for.
        assert!(self.filter.may_want(&Candidate::of(connection)), "{observed:?} {:?}", self.filter);
        self.each(|format| format.transition(at, observed, beside))
    }

    fn wants_open(&self) -> bool {
        true
    }

    fn open(
        &mut self,
        at: Moment,
        key: SocketKey,
        connection: &Connection,
        owner: Option<&Owner>,
        names: &Names,
    ) {
        for hist in &mut self.hists {
            hist.open(at, key, connection, owner, names);
        }
        for findings in &mut self.findings {
            findings.open(at, key, connection, owner, names);
        }
    }

    fn held(&mut self, at: Moment, key: SocketKey, held: &Held, owner: Option<&Owner>, names: &Names) {
        for findings in &mut self.findings {
            findings.held(at, key, held, owner, names);
        }
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        self.each(|format| format.notice(at, notice))
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        self.each(|format| format.end(at, summary))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.each(|format| format.flush())
    }
}
