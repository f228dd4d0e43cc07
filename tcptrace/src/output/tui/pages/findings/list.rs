//! The list of what was found: a row a finding, those that are over at its end.

use super::detail::Entry;
use crate::output::{
    findings::words::about,
    tui::{
        frame::tone_of,
        page::Context,
        table::{Cell, Column},
        text,
        world::Found,
    },
};

/// What a row shows.
const COLUMNS: [Column; 7] = [
    Column::words("SEVERITY", 8, "how bad it is, or that it is over"),
    Column::words("RULE", 21, "which rule has found it; `tcptrace explain RULE` tells all about it"),
    Column::words("ABOUT", 12, "whose sockets, and which").growing(),
    Column::numbers("COUNT", 7, "how many"),
    Column::numbers("OLDEST", 9, "the age of the oldest"),
    Column::numbers("A MINUTE", 8, "by how many they grow in a minute"),
    Column::numbers("SINCE", 9, "how long ago it was found, or was over"),
];

/// Narrower lists have no room for the last columns.
const ALL_COLUMNS: u16 = 88;

/// The columns for a width.
pub(super) fn columns(width: u16) -> &'static [Column] {
    if width < ALL_COLUMNS { &COLUMNS[..5] } else { &COLUMNS }
}

/// How many rows there are.
pub(super) fn len(found: &Found) -> usize {
    found.findings.len() + found.over.len()
}

/// One of them.
pub(super) fn entry(found: &Found, row: usize) -> Option<Entry<'_>> {
    let is_over = row >= found.findings.len();
    let of = if is_over { found.over.get(row - found.findings.len()) } else { found.findings.get(row) };
    of.map(|(since, finding)| Entry { since: *since, is_over, finding })
}

/// What stands in a cell.
pub(super) fn cell(found: &Found, row: usize, column: usize, context: &Context<'_>) -> Cell {
    let theme = context.theme;
    let Some(entry) = entry(found, row) else { return Cell::default() };
    let finding = entry.finding;
    let text = match column {
        0 if entry.is_over => "over".to_owned(),
        0 => finding.severity.to_owned(),
        1 => finding.rule.to_owned(),
        2 => about(finding),
        3 => text::count(finding.count),
        4 => text::age((age_ns(finding.age_s), finding.age_is == Some("at_least")), context.glyphs),
        5 => slope(finding.slope_per_min),
        _ => entry.ago(context.world.now()),
    };
    let style = match column {
        _ if entry.is_over => theme.dim(),
        0 => theme.tone(tone_of(finding.severity)),
        1 => theme.strong(),
        _ => theme.text(),
    };
    Cell::new(text, style)
}

fn age_ns(age_s: Option<f64>) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was a u64 of nanoseconds"
    )]
    age_s.map(|age| (age * 1e9).round() as u64)
}

/// `+18.2`, `-0.5`, `=`
fn slope(per_minute: Option<f64>) -> String {
    match per_minute {
        None => text::UNKNOWN.to_owned(),
        Some(slope) if slope.abs() < 0.05 => "=".to_owned(),
        Some(slope) => format!("{slope:+.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes() {
        assert_eq!(slope(None), "-");
        assert_eq!(slope(Some(-0.0)), "=");
        assert_eq!(slope(Some(18.2)), "+18.2");
        assert_eq!(slope(Some(-3.0)), "-3.0");
    }

    #[test]
    fn the_narrow_list_is_the_beginning_of_the_wide_one() {
        assert_eq!(columns(80).len(), 5);
        assert_eq!(columns(120).len(), COLUMNS.len());
    }
}
