//! What was measured, for people and for programs.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::sample::Samples;

/// Which side of the limit is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    AtMost,
    AtLeast,
}

/// What a row should be. Of the ratio where the row has one, else of the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    side: Side,
    limit: f64,
}

impl Target {
    pub(crate) const fn at_most(limit: f64) -> Self {
        Self { side: Side::AtMost, limit }
    }

    pub(crate) const fn at_least(limit: f64) -> Self {
        Self { side: Side::AtLeast, limit }
    }

    fn is_met_by(self, value: f64) -> bool {
        match self.side {
            Side::AtMost => value <= self.limit,
            Side::AtLeast => value >= self.limit,
        }
    }
}

/// A ratio to another row.
#[derive(Clone, Debug, PartialEq)]
struct Ratio {
    value: f64,
    to: String,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Stable: programs rely on it.
    name: String,
    /// For people.
    what: String,
    unit: &'static str,
    samples: Samples,
    ratio: Option<Ratio>,
    target: Option<Target>,
    note: Option<String>,
}

impl Row {
    pub(crate) fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        unit: &'static str,
        samples: Samples,
    ) -> Self {
        Self { name: name.into(), what: what.into(), unit, samples, ratio: None, target: None, note: None }
    }

    /// One that could not be measured, and why: never silently missing.
    pub(crate) fn absent(name: impl Into<String>, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(name, what, "", Samples::default()).note(why)
    }

    /// The median of the rounds' ratios, where there are any.
    pub(crate) fn ratio(mut self, ratios: &Samples, to: impl Into<String>) -> Self {
        self.ratio = ratios.median().map(|value| Ratio { value, to: to.into() });
        self
    }

    pub(crate) const fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Whether the target is met; `None` where there is none, or nothing to judge.
    fn is_met(&self) -> Option<bool> {
        let judged = self.ratio.as_ref().map(|ratio| ratio.value).or_else(|| self.samples.median())?;
        Some(self.target?.is_met_by(judged))
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "what": self.what,
            "median": self.samples.median(),
            "min": self.samples.min(),
            "max": self.samples.max(),
            "rounds": self.samples.len(),
            "unit": if self.unit.is_empty() { Value::Null } else { self.unit.into() },
            "ratio": self.ratio.as_ref().map(|ratio| ratio.value),
            "ratio_to": self.ratio.as_ref().map(|ratio| &ratio.to),
            "target": self.target.map(|target| match target.side {
                Side::AtMost => json!({ "at_most": target.limit }),
                Side::AtLeast => json!({ "at_least": target.limit }),
            }),
            "met": self.is_met(),
            "note": self.note,
        })
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: Option<f64>| value.map(short).unwrap_or_default();
        let range = match (self.samples.min(), self.samples.max()) {
            (Some(min), Some(max)) if self.samples.len() > 1 => format!("{} .. {}", short(min), short(max)),
            _ => String::new(),
        };
        let ratio =
            self.ratio.as_ref().map_or_else(String::new, |r| format!("{} x {}", short(r.value), r.to));
        let target = self.target.map_or_else(String::new, |target| {
            let sign = match target.side {
                Side::AtMost => "<=",
                Side::AtLeast => ">=",
            };
            let verdict = match self.is_met() {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "not measured",
            };
            format!("{sign} {} {verdict}", short(target.limit))
        });
        let median = number(self.samples.median());
        [self.what.clone(), format!("{median} {}", self.unit).trim().to_owned(), range, ratio, target, {
            self.note.clone().unwrap_or_default()
        }]
    }
}

/// The rows of one measurement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// What was measured and how.
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    /// The machine, a line each: what, value.
    pub(crate) machine: Vec<(&'static str, String)>,
    pub(crate) sections: Vec<Section>,
}

impl Table {
    /// For programs. Names, units and meanings stay the same within a schema version.
    pub(crate) fn json(&self) -> Value {
        let machine: serde_json::Map<_, _> =
            self.machine.iter().map(|(what, value)| ((*what).to_owned(), value.clone().into())).collect();
        let rows: Vec<_> = self.sections.iter().flat_map(|section| &section.rows).map(Row::json).collect();
        json!({ "schema_version": 1, "machine": machine, "rows": rows })
    }

    /// Targets that are missed.
    pub(crate) fn missed(&self) -> usize {
        let rows = self.sections.iter().flat_map(|section| &section.rows);
        rows.filter(|row| row.is_met() == Some(false)).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, value) in &self.machine {
            writeln!(f, "{what}: {value}")?;
        }
        let heads = ["", "MEDIAN", "MIN .. MAX", "RATIO", "TARGET", ""].map(str::to_owned);
        let cells: Vec<_> = self.sections.iter().flat_map(|section| &section.rows).map(Row::cells).collect();
        let width = |column: usize| {
            let all = cells.iter().chain([&heads]).map(|row| row[column].chars().count());
            all.max().unwrap_or(0)
        };
        let widths: [usize; 6] = std::array::from_fn(width);
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String; 6]| {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                write!(text, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", text.trim_end())
        };
        let mut cells = cells.iter();
        for section in &self.sections {
            writeln!(f, "\n{}", section.title)?;
            line(f, &heads)?;
            for row in cells.by_ref().take(section.rows.len()) {
                line(f, row)?;
            }
        }
        Ok(())
    }
}

/// Three digits that count, at least.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (sign, plain) = text.strip_prefix('-').map_or(("", text.as_str()), |plain| ("-", plain));
    let (whole, rest) = plain.split_once('.').map_or((plain, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(rest) = rest {
        grouped.push('.');
        grouped += rest;
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let ours: Samples = [300.0, 320.0, 310.0].into_iter().collect();
        let floor: Samples = [200.0, 200.0, 200.0].into_iter().collect();
        Row::new("kernel.state", "state", "ns", ours.clone()).ratio(&ours.ratio_to(&floor), "bare record")
    }

    #[test]
    fn numbers_are_short() {
        let pairs = [
            (0.0, "0"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.0, "1,234"),
            (12_345_678.0, "12,345,678"),
            (-4321.0, "-4,321"),
            (-0.5, "-0.50"),
        ];
        for (value, text) in pairs {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_target_is_judged_by_the_ratio_where_there_is_one() {
        assert_eq!(row().is_met(), None);
        assert_eq!(row().target(Target::at_most(1.6)).is_met(), Some(true));
        assert_eq!(row().target(Target::at_most(1.5)).is_met(), Some(false));
        assert_eq!(row().target(Target::at_least(1.5)).is_met(), Some(true));
        let lost = Row::new("user.lost", "lost", "records", [0.0].into_iter().collect());
        assert_eq!(lost.target(Target::at_most(0.0)).is_met(), Some(true));
        assert_eq!(Row::absent("a", "b", "not installed").target(Target::at_most(0.0)).is_met(), None);
    }

    #[test]
    fn json_has_every_row_and_says_what_is_absent() {
        let absent = Row::absent("kernel.tcpstates", "tcpstates", "not installed");
        let rows = vec![row().target(Target::at_most(1.25)), absent];
        let table = Table {
            machine: vec![("cpu", "a fast one".to_owned())],
            sections: vec![Section { title: "kernel".to_owned(), rows }],
        };
        let json = table.json();
        assert_eq!(json["machine"]["cpu"], "a fast one");
        assert_eq!(json["rows"][0]["name"], "kernel.state");
        assert_eq!(json["rows"][0]["median"], 310.0);
        assert_eq!(json["rows"][0]["ratio"], 1.55);
        assert_eq!(json["rows"][0]["target"]["at_most"], 1.25);
        assert_eq!(json["rows"][0]["met"], false);
        assert!(json["rows"][1]["median"].is_null());
        assert_eq!(json["rows"][1]["note"], "not installed");
        assert_eq!(table.missed(), 1);
        let text = table.to_string();
        assert!(text.contains("310 ns"), "{text}");
        assert!(text.contains("<= 1.25 MISSED"), "{text}");
        assert!(text.contains("not installed"), "{text}");
    }
}
