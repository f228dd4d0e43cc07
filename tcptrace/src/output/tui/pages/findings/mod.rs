//! The page Findings: what is wrong now and what was, each with its evidence and what to do.

mod detail;
mod list;
mod selected;

use ratatui::{
    buffer::Buffer,
    layout::{Margin, Position, Rect},
    text::Line,
    widgets::{Block, Paragraph, Widget as _},
};
use serde_json::{Value, json};

use self::selected::Selected;
use crate::output::{
    Rfc3339, escape,
    findings::words::wrapped,
    hist::units,
    tui::{
        keymap::Action,
        page::{Context, Outcome, Page, Target},
        split_top,
        table::{Clicked, Table, put},
        text,
        theme::Tone,
        world::Found,
    },
};

/// From this width on, a finding is shown below the list even while it is read.
const WIDE: u16 = 120;

/// From this width on, it is shown beside the list, so wide.
const BESIDE: (u16, u16) = (240, 126);

/// The page.
#[derive(Debug, Default)]
pub struct FindingsPage {
    table: Table,
    /// Which finding is selected, wherever it is in the list by now.
    selected: Option<Selected>,
    /// The keys are the finding's, not the list's.
    is_opened: bool,
    /// The first line of the finding that is seen.
    top: usize,
    /// Where the finding was drawn last, and how many of its lines are seen of how many.
    detail: Rect,
    lines: (usize, usize),
    /// Where the line is that leads to the sockets.
    leads: Option<Rect>,
}

impl FindingsPage {
    /// Keeps to the finding that is selected, wherever it has gone.
    fn follow(&mut self, found: &Found) {
        if let Some(row) = self.selected.as_ref().and_then(|selected| selected.row(found)) {
            self.table.selected = row;
        }
        self.table.selected = self.table.selected.min(list::len(found).saturating_sub(1));
        self.select(found);
    }

    fn select(&mut self, found: &Found) {
        let selected = list::entry(found, self.table.selected).map(|entry| Selected::of(&entry));
        let is_another = match (&self.selected, &selected) {
            (Some(before), Some(now)) => !before.is_about_the_same(now),
            (before, now) => before.is_some() != now.is_some(),
        };
        if is_another {
            self.top = 0;
        }
        self.is_opened &= selected.is_some();
        self.selected = selected;
    }

    fn open(&mut self, found: &Found) -> Outcome {
        let Some(entry) = list::entry(found, self.table.selected) else { return Outcome::Ignored };
        if !self.is_opened {
            self.is_opened = true;
            return Outcome::Done;
        }
        match detail::filter_line(entry.finding) {
            Some(line) => Outcome::Go(Target::Connections(line)),
            None => {
                Outcome::Say("This finding names nothing that connections could be filtered by".to_owned())
            }
        }
    }

    fn scroll(&mut self, action: Action) -> Outcome {
        let (seen, all) = self.lines;
        let last = all.saturating_sub(seen);
        self.top = match action {
            Action::Up => self.top.saturating_sub(1),
            Action::Down => self.top + 1,
            Action::PageUp => self.top.saturating_sub(seen.max(1)),
            Action::PageDown => self.top + seen.max(1),
            Action::Top => 0,
            Action::Bottom => last,
            Action::Back | Action::Left => {
                self.is_opened = false;
                return Outcome::Done;
            }
            _ => return Outcome::Ignored,
        }
        .min(last);
        Outcome::Done
    }

    fn draw_detail(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let Some(entry) = list::entry(context.world.found(), self.table.selected) else { return };
        let theme = context.theme;
        self.detail = area;
        let text = inside(area);
        let (lines, leads) = detail::lines(entry, text.width, context);
        let (title, keys) = if self.is_opened {
            (
                theme.title(),
                if leads.is_some() { "Enter: its sockets  Esc: the list" } else { "Esc: the list" },
            )
        } else {
            (theme.dim(), "Enter: read it")
        };
        let block = Block::bordered()
            .border_set(context.glyphs.border)
            .border_style(if self.is_opened { theme.label() } else { theme.dim() })
            .title_top(Line::styled(format!(" {} ", entry.finding.rule), title))
            .title_top(Line::styled(format!(" {keys} "), theme.dim()).right_aligned());
        let seen = usize::from(text.height);
        self.lines = (seen, lines.len());
        self.top = self.top.min(lines.len().saturating_sub(seen));
        let top = self.top;
        let block = if lines.len() > seen {
            let place =
                format!(" lines {} to {} of {} ", top + 1, (top + seen).min(lines.len()), lines.len());
            block.title_bottom(Line::styled(place, theme.dim()).right_aligned())
        } else {
            block
        };
        self.leads = leads
            .and_then(|line| u16::try_from(line.checked_sub(top)?).ok())
            .filter(|line| *line < text.height)
            .map(|line| Rect { y: text.y + line, height: 1, ..text });
        let shown: Vec<Line<'_>> = lines.into_iter().skip(top).take(seen).collect();
        block.render(area, buffer);
        // Those that stay as they are may be longer.
        let is_cut = |line: &Line<'_>| line.width() > usize::from(text.width);
        let cut: Vec<u16> = (text.y..).zip(&shown).filter(|(_, line)| is_cut(line)).map(|(y, _)| y).collect();
        Paragraph::new(shown).render(text, buffer);
        for y in cut {
            let last = Rect { x: text.right().saturating_sub(1), y, width: 1, height: 1 };
            put(buffer, last, context.glyphs.ellipsis, theme.dim(), false, context);
        }
    }
}

/// Inside of a frame, with a gap left and right.
fn inside(area: Rect) -> Rect {
    area.inner(Margin { horizontal: 2, vertical: 1 })
}

/// What was looked at, and what could not be seen.
fn looked(found: &Found, context: &Context<'_>, most: usize) -> Vec<(String, Tone)> {
    let ago = found.looked.and_then(|at| context.world.now().ktime.since(at)).map(units::time);
    let sockets = match found.sockets {
        1 => "1 socket".to_owned(),
        sockets => format!("{} sockets", text::count(sockets)),
    };
    let is_wrong = !found.findings.is_empty();
    let looked = match ago {
        None => "Nothing was looked at yet".to_owned(),
        Some(ago) if is_wrong => format!("{sockets} were looked at {ago} ago"),
        Some(ago) if found.sockets == 0 => format!("There was no socket to look at {ago} ago"),
        Some(ago) => format!("Nothing is wrong with the {sockets} that were looked at {ago} ago"),
    };
    let tone = if is_wrong || found.looked.is_none() || found.sockets == 0 { Tone::Info } else { Tone::Good };
    let mut lines = vec![(looked, tone)];
    let room = most.saturating_sub(1);
    let shown = if found.not_seen.len() > room { room.saturating_sub(1) } else { room };
    lines.extend(
        found
            .not_seen
            .iter()
            .take(shown)
            .map(|not_seen| (format!("Not seen: {}", escape::text(not_seen)), Tone::Warning)),
    );
    let left = found.not_seen.len().saturating_sub(shown);
    if left > 0 {
        let things = if left == 1 { "thing" } else { "things" };
        let more = if shown == 0 { "" } else { "more " };
        let text = format!("{left} {more}{things} could not be seen (key e writes what to a file)");
        match lines.first_mut().filter(|_| room == 0) {
            Some((looked, _)) => {
                looked.push_str("; ");
                looked.push_str(&text);
            }
            None => lines.push((text, Tone::Warning)),
        }
    }
    lines
}

impl Page for FindingsPage {
    fn act(&mut self, action: Action, context: &Context<'_>) -> Outcome {
        let found = context.world.found();
        self.follow(found);
        match action {
            Action::Open => return self.open(found),
            _ if self.is_opened => return self.scroll(action),
            Action::Right => return self.open(found),
            // The worst comes first.
            Action::Left | Action::Sort | Action::Reverse => return Outcome::Ignored,
            _ => {}
        }
        if !self.table.act(action, list::len(found), 0) {
            return Outcome::Ignored;
        }
        self.select(found);
        Outcome::Done
    }

    fn click(&mut self, at: Position, context: &Context<'_>) -> Outcome {
        let found = context.world.found();
        self.follow(found);
        if self.detail.contains(at) {
            let leads = self.leads.is_some_and(|leads| leads.contains(at));
            return if leads || !self.is_opened {
                self.is_opened |= leads;
                self.open(found)
            } else {
                Outcome::Done
            };
        }
        match self.table.click(at) {
            Some(Clicked::Row { is_selected, .. }) => {
                self.is_opened = is_selected;
                self.select(found);
                Outcome::Done
            }
            _ => Outcome::Ignored,
        }
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let found = context.world.found();
        self.follow(found);
        // None of the columns is sorted by.
        self.table.sort = usize::MAX;
        (self.detail, self.leads) = (Rect::default(), None);
        let rows = list::len(found);

        let most = usize::from(area.height / 5).max(1);
        let width = usize::from(area.width).max(1);
        let looked: Vec<(String, Tone)> = looked(found, context, most)
            .into_iter()
            .flat_map(|(text, tone)| wrapped(&text, width).into_iter().map(move |line| (line, tone)))
            .collect();
        let height = u16::try_from(looked.len()).unwrap_or(u16::MAX).min(area.height);
        let is_alone = rows == 0;
        // Where there is nothing else, it stands at the top.
        let (main, below) =
            if is_alone { (Rect::default(), area) } else { split_top(area, area.height - height) };
        for (y, (line, tone)) in (below.y..below.bottom()).zip(&looked) {
            put(buffer, Rect { y, height: 1, ..below }, line, context.theme.tone(*tone), false, context);
        }
        if is_alone || main.is_empty() {
            return;
        }

        let lines = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1);
        let (of_list, of_detail) = if main.width >= BESIDE.0 {
            let left = main.width - BESIDE.1;
            (Rect { width: left - 1, ..main }, Rect { x: main.x + left, width: BESIDE.1, ..main })
        } else if self.is_opened && main.width < WIDE {
            (Rect::default(), main)
        } else {
            let least = if self.is_opened { main.height / 3 } else { main.height / 2 };
            split_top(main, lines.min(least.max(2)))
        };
        let columns = list::columns(of_list.width);
        let mut cell = |row, column| list::cell(found, row, column, context);
        self.table.draw(of_list, buffer, context, columns, rows, &mut cell);
        if of_detail.height > 2 {
            self.draw_detail(of_detail, buffer, context);
        }
    }

    fn ignores(&self) -> &'static [Action] {
        &[Action::Sort, Action::Freeze, Action::Clear]
    }

    fn export(&self, context: &Context<'_>) -> Value {
        let (now, found) = (context.world.now(), context.world.found());
        let ts = |unix_ns| Rfc3339::new(unix_ns).as_str().to_owned();
        let looked = found.looked.and_then(|at| now.ktime.since(at));
        let list = |is_over: bool| -> Vec<Value> {
            let name = if is_over { "over_at" } else { "found_at" };
            let of = if is_over { &found.over } else { &found.findings };
            of.iter().map(|(since, finding)| json!({ name: ts(since.unix_ns), "finding": finding })).collect()
        };
        json!({
            "page": "findings",
            "at": ts(now.unix_ns),
            "looked_at": looked.map(|ago| ts(now.unix_ns - i128::from(ago))),
            "sockets": looked.map(|_| found.sockets),
            "findings": list(false),
            "over": list(true),
            "not_seen": found.not_seen,
        })
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("Enter", "read the finding that is selected; once more: list the sockets that it is about"),
            ("Esc", "from a finding back to the list"),
            ("SEVERITY", "info, warning or critical, the worst first; `over`: it was found, and is no more"),
            ("RULE", "which rule has found it; `tcptrace explain RULE` tells all about it"),
            ("ABOUT", "whose sockets: process, service port, which side of it, peer, network namespace"),
            ("COUNT", "how many sockets, or what else the rule counts"),
            (
                "OLDEST",
                "how long the oldest of them is so; with a mark it is a lower bound: it was so before the start",
            ),
            ("A MINUTE", "by how many they grow in a minute; `=`: they do not; `-`: not known yet"),
            ("SINCE", "how long ago it was found, or was found to be over"),
            ("Not seen", "what could not be looked at, where something may be wrong all the same"),
        ]
    }
}
