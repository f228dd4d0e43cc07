//! What stands around every page: the names of the pages, what is seen and how well, and the keys.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
};

use super::{
    keymap::{Action, BINDINGS, Binding},
    page::{Context, PageId},
    split_top,
    table::{put, unicode_width},
    text,
    theme::{Theme, Tone},
    world::World,
};
use crate::output::{escape, hist::units};

/// Cells between the names of two pages.
const TAB_GAP: u16 = 2;

/// The page whose name stands for this one: one connection is reached from all of them.
fn tab_of(page: PageId) -> PageId {
    if page == PageId::Connection { PageId::Connections } else { page }
}

/// Where what is.
#[derive(Clone, Debug, Default)]
pub struct Areas {
    tabs: Rect,
    status: Rect,
    /// The page's own.
    pub page: Rect,
    /// Keys, what there is to say, or the filter line.
    pub bottom: Rect,
    places: Vec<(PageId, Rect)>,
}

impl Areas {
    /// Of a screen, with so many lines at the bottom and this page.
    pub fn of(area: Rect, bottom: u16, shown: PageId) -> Self {
        let (tabs, rest) = split_top(area, 1);
        let (status, rest) = split_top(rest, 1);
        let (page, bottom) = split_top(rest, rest.height.saturating_sub(bottom));
        let mut places = Vec::new();
        let mut x = tabs.x;
        // `1 Overview`, and a gap; narrow screens have the numbers, and the name of what is shown.
        let width_of = |page: PageId| u16::try_from(page.name().len() + 2).unwrap_or(u16::MAX);
        let widths = PageId::NUMBERED.map(width_of);
        let gaps = TAB_GAP * u16::try_from(widths.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let has_names = widths.iter().sum::<u16>().saturating_add(gaps) <= tabs.width;
        for (page, width) in PageId::NUMBERED.into_iter().zip(widths) {
            let width = if has_names || page == tab_of(shown) { width } else { 1 };
            let width = width.min(tabs.right().saturating_sub(x));
            places.push((page, Rect { x, width, ..tabs }));
            x = x.saturating_add(width).saturating_add(TAB_GAP).min(tabs.right());
        }
        Self { tabs, status, page, bottom, places }
    }

    /// The page whose name is there.
    pub fn tab_at(&self, at: Position) -> Option<PageId> {
        self.places.iter().find(|(_, area)| area.contains(at)).map(|(page, _)| *page)
    }
}

/// The names of the pages.
pub fn draw_tabs(areas: &Areas, buffer: &mut Buffer, context: &Context<'_>, shown: PageId) {
    let theme = context.theme;
    for (number, (page, area)) in (1..).zip(&areas.places) {
        let is_shown = *page == tab_of(shown);
        let style = if is_shown { theme.title().add_modifier(Modifier::REVERSED) } else { theme.text() };
        let name = if area.width > 1 { format!("{number} {}", page.name()) } else { number.to_string() };
        put(buffer, *area, &name, style, false, context);
    }
    let used = areas.places.last().map_or(0, |(_, area)| area.right().saturating_add(2));
    let rest = Rect { x: used, width: areas.tabs.right().saturating_sub(used), ..areas.tabs };
    let about = context.world.about();
    let mut name = format!("tcptrace {} {}", about.source, escape::text(&about.host));
    if unicode_width(&name) > usize::from(rest.width) {
        name.clone_from(&about.source);
    }
    put(buffer, rest, name.trim_end(), theme.dim(), true, context);
}

/// What is seen, how well, and what was missed while the picture stands still.
pub fn draw_status(areas: &Areas, buffer: &mut Buffer, context: &Context<'_>, live: Option<&dyn World>) {
    let theme = context.theme;
    let world = context.world;
    let parts = match live {
        Some(live) => missed(live, world, theme),
        None => seen(world, theme),
    };
    let mut rest = areas.status;
    for (text, style) in parts {
        if rest.is_empty() {
            break;
        }
        put(buffer, rest, &text, style, false, context);
        let used = u16::try_from(unicode_width(&text)).unwrap_or(u16::MAX).saturating_add(2).min(rest.width);
        rest = Rect { x: rest.x + used, width: rest.width - used, ..rest };
    }
}

/// A part of a line, and how it looks.
type Part = (String, Style);

/// What was missed since the picture stands still.
fn missed(live: &dyn World, world: &dyn World, theme: Theme) -> Vec<Part> {
    let mut parts = Vec::new();
    let (then, now) = (world.overview(), live.overview());
    let since = live.now().ktime.since(world.now().ktime).unwrap_or(0);
    let missed = |of: u64, before: u64| text::count(of.saturating_sub(before));
    parts.push((
        format!(
            "PAUSED {} ago; since then {} transitions, {} opened, {} closed",
            units::time(since),
            missed(now.transitions, then.transitions),
            missed(now.opened_total, then.opened_total),
            missed(now.closed_total, then.closed_total),
        ),
        theme.tone(Tone::Warning),
    ));
    if now.lost > then.lost {
        let lost = missed(now.lost, then.lost);
        parts.push((format!("{lost} LOST"), theme.tone(Tone::Critical)));
    }
    parts
}

/// What is seen, and how well.
fn seen(world: &dyn World, theme: Theme) -> Vec<Part> {
    let overview = world.overview();
    let mut parts = Vec::new();
    let open = overview.states.iter().map(|state| state.count).sum();
    parts.push((format!("{} open", text::count(open)), theme.strong()));
    parts.push((format!("{} transitions/s", text::count(overview.transitions_per_s)), theme.text()));
    if overview.lost > 0 {
        let ago = overview.lost_at.and_then(|at| world.now().ktime.since(at));
        let ago = ago.map_or_else(String::new, |ago| format!(", {} ago", units::time(ago)));
        parts.push((format!("{} LOST{ago}", text::count(overview.lost)), theme.tone(Tone::Critical)));
    } else {
        parts.push(("0 lost".to_owned(), theme.tone(Tone::Good)));
    }
    let found = world.found().findings.len();
    if found > 0 {
        let worst = world.found().findings.iter().map(|(_, finding)| tone_of(finding.severity)).max();
        let word = if found == 1 { "finding" } else { "findings" };
        parts.push((format!("{found} {word}"), theme.tone(worst.unwrap_or(Tone::Info))));
    }
    parts.push((format!("own CPU {}", text::percent(overview.own_cpu)), theme.dim()));
    parts.push((units::time(world.now().elapsed_ns), theme.dim()));
    if !world.about().ways.is_empty() {
        parts.push((world.about().ways.clone(), theme.dim()));
    }
    if !world.about().selection.is_empty() {
        parts.push((escape::text(&world.about().selection).into_owned(), theme.tone(Tone::Info)));
    }
    parts
}

/// How urgent a severity is.
pub fn tone_of(severity: &str) -> Tone {
    match severity {
        "critical" => Tone::Critical,
        "warning" => Tone::Warning,
        _ => Tone::Info,
    }
}

/// What there is to say, or else the keys that matter most.
pub fn draw_bottom(
    areas: &Areas,
    buffer: &mut Buffer,
    context: &Context<'_>,
    said: Option<&str>,
    ignored: &[Action],
) {
    if let Some(said) = said {
        put(buffer, areas.bottom, said, context.theme.tone(Tone::Warning), false, context);
        return;
    }
    let mut rest = areas.bottom;
    // Those that help when nothing else does are there on the narrowest screen, too.
    let is_first = |binding: &&Binding| matches!(binding.action, Action::Help | Action::Quit);
    let others = BINDINGS.iter().filter(|binding| !is_first(binding) && !ignored.contains(&binding.action));
    for binding in BINDINGS.iter().filter(is_first).chain(others) {
        let Some(word) = binding.short else { continue };
        let key = binding.label.split(' ').next().unwrap_or_default();
        let needs = u16::try_from(key.len() + 1 + word.len()).unwrap_or(u16::MAX);
        if needs > rest.width {
            break;
        }
        put(buffer, rest, key, context.theme.label().add_modifier(Modifier::BOLD), false, context);
        let after = u16::try_from(key.len() + 1).unwrap_or(u16::MAX).min(rest.width);
        let place = Rect { x: rest.x + after, width: rest.width - after, ..rest };
        put(buffer, place, word, context.theme.dim(), false, context);
        let used = needs.saturating_add(2).min(rest.width);
        rest = Rect { x: rest.x + used, width: rest.width - used, ..rest };
    }
}
