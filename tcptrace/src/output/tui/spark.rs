//! Numbers over time as upright bars, the newest at the right.

use ratatui::{buffer::Buffer, layout::Rect, style::Style, widgets::Sparkline, widgets::Widget as _};

use super::page::Context;

/// Draws the last of the values, as many as there are cells across. The highest of those that are seen fills the height, and what
/// is more than nothing is seen.
pub fn draw(area: Rect, buffer: &mut Buffer, context: &Context<'_>, values: &[u64], style: Style) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let shown = &values[values.len().saturating_sub(usize::from(area.width))..];
    let most = u128::from(shown.iter().copied().max().unwrap_or(0).max(1));
    let steps = u64::from(area.height) * 8;
    let level = |value: &u64| match value {
        0 => 0,
        value => u64::try_from(u128::from(*value) * u128::from(steps) / most).unwrap_or(steps).max(1),
    };
    let width = u16::try_from(shown.len()).unwrap_or(area.width);
    let at_right = Rect { x: area.right() - width, width, ..area };
    Sparkline::default()
        .data(shown.iter().map(level).collect::<Vec<u64>>())
        .max(steps)
        .bar_set(context.glyphs.bars.clone())
        .style(style)
        .render(at_right, buffer);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tui::{
        glyphs,
        tests::fixture::{Scene, world},
        theme::Theme,
    };

    fn drawn(values: &[u64], width: u16) -> String {
        let world = world(Scene::Empty);
        let context = Context { world: &world, theme: Theme::default(), glyphs: &glyphs::UNICODE };
        let area = Rect::new(0, 0, width, 1);
        let mut buffer = Buffer::empty(area);
        draw(area, &mut buffer, &context, values, Style::new());
        buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    #[test]
    fn the_newest_is_at_the_right_and_little_is_more_than_nothing() {
        assert_eq!(drawn(&[], 4), "    ");
        assert_eq!(drawn(&[0, 1, 8], 5), "   ▁█");
        assert_eq!(drawn(&[9_999_999, 0, 1, 1_000_000], 3), " ▁█");
        assert_eq!(drawn(&[u64::MAX, u64::MAX / 2 + 1], 2), "█▄");
    }
}
