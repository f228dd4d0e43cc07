//! The TCP state machine with what was observed on its arrows.

mod dot;
mod svg;
mod text;

use std::io::{self, Write};

use super::{
    Moment, Notice,
    hist::{Report, Reporter, units::time},
};
use crate::model::TcpState;

/// How to draw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiagramFormat {
    /// For terminals.
    Text,
    /// A picture.
    Svg,
    /// For Graphviz.
    Dot,
}

/// What was observed.
#[derive(Clone, Debug)]
pub struct Diagram {
    seconds: f64,
    arrows: Vec<Arrow>,
}

/// All transitions of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrow {
    from: TcpState,
    to: TcpState,
    count: u64,
    /// Median of the time in the state that was left.
    p50_ns: Option<u64>,
}

impl Arrow {
    /// `200, 3.01 us`, short enough for every format.
    fn label(&self) -> String {
        match self.p50_ns {
            Some(ns) => format!("{}, {}", short(self.count), time(ns)),
            None => short(self.count),
        }
    }

    /// 1 for what was seen once, 7 for a million times.
    fn weight(&self) -> u32 {
        self.count.checked_ilog10().map_or(0, |digits| digits + 1)
    }
}

impl Diagram {
    /// Of all keys of a report.
    pub fn of(report: &Report) -> Self {
        let arrows = report.all.arrows().into_iter();
        let arrows = arrows.map(|(from, to, arrow)| Arrow {
            from,
            to,
            count: arrow.count,
            p50_ns: arrow.stays.quantile(0.5),
        });
        Self { seconds: report.seconds, arrows: arrows.collect() }
    }

    /// One drawn as text, or as the text of a file.
    pub fn draw(&self, format: DiagramFormat) -> String {
        match format {
            DiagramFormat::Text => text::draw(self),
            DiagramFormat::Svg => svg::draw(self),
            DiagramFormat::Dot => dot::draw(self),
        }
    }

    /// That from one state to another; not observed, it has a count of 0.
    fn arrow(&self, from: TcpState, to: TcpState) -> Arrow {
        let found = self.arrows.iter().find(|arrow| (arrow.from, arrow.to) == (from, to));
        found.copied().unwrap_or(Arrow { from, to, count: 0, p50_ns: None })
    }

    /// Those that are not among the arrows that are always drawn: resets, timeouts, what no kernel should do.
    fn others(&self, drawn: &[(TcpState, TcpState)]) -> Vec<Arrow> {
        self.arrows.iter().filter(|arrow| !drawn.contains(&(arrow.from, arrow.to))).copied().collect()
    }

    /// What is observed, in words.
    fn title(&self) -> String {
        let count: u64 = self.arrows.iter().map(|arrow| arrow.count).sum();
        format!(
            "{count} transitions in {:.1} s: count, median of the time in the state that was left",
            self.seconds
        )
    }
}

/// The state machine as text, with nothing on its arrows but what leads along them.
pub fn plain() -> String {
    text::picture(|_, _| String::new())
}

/// The arrows that are always drawn: RFC 9293, figure 5, with what Linux makes of it.
pub(in crate::output) const USUAL: [(TcpState, TcpState); 16] = {
    use TcpState::{
        Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
        TimeWait,
    };
    [
        (Close, Listen),
        (Close, SynSent),
        (Listen, SynRecv),
        (SynSent, SynRecv),
        (SynSent, Established),
        (SynRecv, Established),
        (Established, FinWait1),
        (Established, CloseWait),
        (FinWait1, FinWait2),
        (FinWait1, Closing),
        (FinWait1, TimeWait),
        (FinWait2, TimeWait),
        (Closing, TimeWait),
        (TimeWait, Close),
        (CloseWait, LastAck),
        (LastAck, Close),
    ]
};

/// At most five digits, or three and a letter, cut off.
pub(in crate::output) fn short(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if count < 100_000 {
        return count.to_string();
    }
    let (unit, letter) = UNITS.into_iter().find(|(unit, _)| count >= *unit).unwrap_or((1, ""));
    let (whole, hundredths) = (count / unit, count % unit / (unit / 100));
    match whole {
        0..10 => format!("{whole}.{hundredths:02}{letter}"),
        10..100 => format!("{whole}.{}{letter}", hundredths / 10),
        _ => format!("{whole}{letter}"),
    }
}

/// Draws it at the end.
pub struct DiagramReporter<W> {
    out: W,
    format: DiagramFormat,
}

impl<W: Write> DiagramReporter<W> {
    /// Writes to `out`.
    pub const fn new(out: W, format: DiagramFormat) -> Self {
        Self { out, format }
    }
}

impl<W: Write> Reporter for DiagramReporter<W> {
    fn report(&mut self, _: Moment, report: &Report) -> io::Result<()> {
        // Several pictures in one file would be none.
        if report.is_total || self.format == DiagramFormat::Text {
            self.out.write_all(Diagram::of(report).draw(self.format).as_bytes())?;
        }
        Ok(())
    }

    fn notice(&mut self, _: Moment, _: &Notice<'_>) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use TcpState::{
        Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
    };

    use super::*;

    /// A busy server that closes first, and some that did not end well.
    fn busy() -> Diagram {
        let arrow = |(from, to), count, p50_ns| Arrow { from, to, count, p50_ns };
        Diagram {
            seconds: 60.0,
            arrows: vec![
                arrow((Close, Listen), 1, None),
                arrow((Close, SynSent), 212, None),
                arrow((Listen, SynRecv), 1_234_567, None),
                arrow((SynRecv, Established), 1_234_001, Some(23_400)),
                arrow((SynSent, Established), 200, Some(812_345)),
                arrow((Established, FinWait1), 1_200_000, Some(1_230_000_000)),
                arrow((Established, CloseWait), 34_201, Some(999_000_000)),
                arrow((FinWait1, FinWait2), 1_199_000, Some(41_000)),
                arrow((FinWait1, TcpState::Closing), 7, Some(41_000)),
                arrow((FinWait2, TimeWait), 1_198_000, Some(45_000)),
                arrow((TimeWait, Close), 800_000, Some(60_400_000_000)),
                arrow((CloseWait, LastAck), 34_000, Some(3_000)),
                arrow((LastAck, Close), 34_000, Some(31_000)),
                arrow((SynSent, Close), 12, Some(127_000_000_000)),
                arrow((Established, Close), 451, Some(5_000_000_000)),
            ],
        }
    }

    #[test]
    fn drawn_in_all_formats() {
        let empty = Diagram { seconds: 1.0, arrows: Vec::new() };
        insta::assert_snapshot!("text", busy().draw(DiagramFormat::Text));
        insta::assert_snapshot!("text_empty", empty.draw(DiagramFormat::Text));
        insta::assert_snapshot!("dot", busy().draw(DiagramFormat::Dot));
        insta::assert_snapshot!("svg", busy().draw(DiagramFormat::Svg));
    }

    #[test]
    fn usual_arrows_are_legal() {
        assert!(USUAL.iter().all(|(from, to)| from.leads_to(*to)));
        let states = USUAL.iter().flat_map(|(from, to)| [*from, *to]);
        let mut states: Vec<TcpState> = states.collect();
        states.sort_unstable();
        states.dedup();
        assert_eq!(states.len(), TcpState::ALL.len());
    }

    #[test]
    fn short_counts() {
        for (count, text) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (1_234_567, "1.23M"),
            (98_765_432, "98.7M"),
            (u64::MAX, "18446744073G"),
        ] {
            assert_eq!(short(count), text);
        }
    }
}
