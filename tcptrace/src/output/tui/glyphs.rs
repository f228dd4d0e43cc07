//! The characters that lines, bars and arrows are made of: of Unicode, or of ASCII alone.

use ratatui::symbols::{bar, border};

/// One set of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Nothing but ASCII.
    pub is_ascii: bool,
    /// Bars of eighths, upright.
    pub bars: bar::Set<'static>,
    /// Frames.
    pub border: border::Set<'static>,
    /// The same, stronger.
    pub strong: border::Set<'static>,
    /// A whole cell of a lying bar.
    pub full: &'static str,
    /// The rest of it.
    pub empty: &'static str,
    /// Parts of a cell, from one eighth to seven, for the end of a lying bar; empty where there are none.
    pub parts: &'static [&'static str],
    /// A line to the right.
    pub across: &'static str,
    /// An arrow to the right.
    pub right: &'static str,
    /// An arrow down.
    pub down: &'static str,
    /// The head of an arrow to the left, one cell.
    pub head_left: &'static str,
    /// The head of an arrow to the right, one cell.
    pub head_right: &'static str,
    /// The head of an arrow up.
    pub head_up: &'static str,
    /// A line that another one leaves upwards.
    pub branch_up: &'static str,
    /// Sorted with the small first.
    pub ascending: &'static str,
    /// Sorted with the large first.
    pub descending: &'static str,
    /// What was cut off.
    pub ellipsis: &'static str,
    /// Between words of one line.
    pub dot: &'static str,
    /// What is selected.
    pub cursor: &'static str,
    /// A row that is kept in sight.
    pub pin: &'static str,
    /// At least.
    pub at_least: &'static str,
    /// A moment on a time line.
    pub moment: &'static str,
    /// A time line between moments.
    pub upright: &'static str,
}

/// Box drawing, blocks and arrows, which all fonts for terminals have.
pub const UNICODE: Glyphs = Glyphs {
    is_ascii: false,
    bars: bar::NINE_LEVELS,
    border: border::PLAIN,
    strong: border::THICK,
    full: "█",
    empty: "·",
    parts: &["▏", "▎", "▍", "▌", "▋", "▊", "▉"],
    across: "─",
    right: "→",
    down: "▼",
    head_left: "◀",
    head_right: "▶",
    head_up: "▲",
    branch_up: "┴",
    ascending: "▲",
    descending: "▼",
    ellipsis: "…",
    dot: "·",
    cursor: "▶",
    pin: "◆",
    at_least: "≥",
    moment: "●",
    upright: "│",
};

/// ASCII.
pub const ASCII: Glyphs = Glyphs {
    is_ascii: true,
    bars: bar::Set {
        full: "#",
        seven_eighths: "#",
        three_quarters: "+",
        five_eighths: "+",
        half: "=",
        three_eighths: "-",
        one_quarter: "-",
        one_eighth: ".",
        empty: " ",
    },
    border: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    },
    strong: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "=",
        horizontal_bottom: "=",
    },
    full: "#",
    empty: ".",
    parts: &[],
    across: "-",
    right: "->",
    down: "v",
    head_left: "<",
    head_right: ">",
    head_up: "^",
    branch_up: "+",
    ascending: "^",
    descending: "v",
    ellipsis: "~",
    dot: "-",
    cursor: ">",
    pin: "*",
    at_least: ">=",
    moment: "o",
    upright: "|",
};

impl Glyphs {
    /// A lying bar of `width` cells of which `share` (0 to 1) is filled. What is more than nothing is seen.
    pub fn bar(&self, share: f64, width: u16) -> String {
        let width = usize::from(width);
        let steps = self.parts.len() + 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of the width of a terminal"
        )]
        let mut filled = (share.clamp(0.0, 1.0) * (width * steps) as f64).round() as usize;
        if share > 0.0 {
            filled = filled.max(1);
        }
        let (whole, part) = (filled / steps, filled % steps);
        let mut text = self.full.repeat(whole.min(width));
        if let Some(part) =
            part.checked_sub(1).and_then(|part| self.parts.get(part)).filter(|_| whole < width)
        {
            text.push_str(part);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(UNICODE.bar(0.0, 10), "");
        assert_eq!(UNICODE.bar(0.000_001, 10), "▏");
        assert_eq!(UNICODE.bar(0.5, 9), "████▌");
        assert_eq!(UNICODE.bar(2.0, 3), "███");
        assert_eq!(UNICODE.bar(f64::NAN, 3), "");
        assert_eq!(ASCII.bar(0.01, 10), "#");
        assert_eq!(ASCII.bar(1.0, 4), "####");
        assert_eq!(ASCII.bar(0.7, 0), "");
    }

    #[test]
    fn ascii_is_ascii() {
        let text = format!("{ASCII:?}");
        assert!(text.is_ascii(), "{text}");
    }
}
