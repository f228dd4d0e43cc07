//! The lines of the page: who and what it is, the states of its life one below the other, and what the present one means.

use ratatui::{
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    Seen,
    life::{Life, Stay, When},
};
use crate::{
    model::{Dwell, Family, KtimeNs, Role, TcpState},
    output::{
        Moment, escape,
        explain::{Heading, Language, state_page, wrap::wrap},
        hist::units,
        tui::{
            page::Context,
            pages::{
                connections::{cookie, place, state, times},
                staleness, words,
            },
            table::unicode_width,
            text::{self, UNKNOWN},
            theme::Tone,
            world::Kind,
        },
    },
};

/// Cells of the names at the left.
const LABEL: usize = 9;

/// Cells of the columns of the time line, but for the bar.
const TIME: usize = 17;
const AFTER: usize = 10;
const STATE: usize = 11;
const STAYED: usize = 10;

/// From this width on there is room for notes behind the bars, of so many cells.
const WIDE: usize = 110;
const NOTE: usize = 24;

/// What CLOSE is that a descriptor holds.
const HELD: &str =
    "The kernel has closed the socket, and a descriptor still holds it: the program has yet to call close().";

/// The same after a loss.
const DOUBTFUL: &str = "The kernel has closed the socket, and a descriptor has held it. Records were lost since then: it may have been let go.";

/// Adds up lines.
struct Lines<'a> {
    all: Vec<Line<'static>>,
    width: usize,
    context: &'a Context<'a>,
}

/// All lines, in this width, as things were at the moment at which it was seen last.
pub(super) fn all(
    seen: &Seen,
    is_gone: bool,
    width: usize,
    height: usize,
    context: &Context<'_>,
) -> Vec<Line<'static>> {
    let mut lines = Lines { all: Vec::new(), width: width.max(1), context };
    if is_gone {
        let ago = context.world.now().ktime.since(seen.at.ktime);
        let ago = ago.map_or_else(String::new, |ago| format!(", {} ago", units::time(ago)));
        let text = format!("GONE: nothing is known of it any more. So it was when it was last seen{ago}:");
        lines.paragraph(&text, context.theme.tone(Tone::Warning));
    }
    lines.title(seen);
    lines.facts(seen);
    lines.blank();
    lines.time_line(seen);
    lines.blank();
    let has_stack = seen.stack.as_ref().is_some_and(|frames| !frames.is_empty());
    if has_stack {
        lines.stack(seen);
    }
    lines.meaning(seen, height.saturating_sub(usize::from(!has_stack)));
    if !has_stack {
        lines.stack(seen);
    }
    lines.more(seen, height);
    lines.all
}

impl Lines<'_> {
    fn blank(&mut self) {
        self.all.push(Line::default());
    }

    fn paragraph(&mut self, text: &str, style: Style) {
        let lines = wrap(text, self.width).into_iter().map(|line| Line::styled(line, style));
        self.all.extend(lines);
    }

    /// A name, and what there is to say, in as many lines as it takes.
    fn fact(&mut self, label: &'static str, text: &str, style: Style) {
        let room = self.width.saturating_sub(LABEL).max(1);
        let mut label = label;
        for line in wrap(text, room) {
            let name = Span::styled(format!("{label:LABEL$}"), self.context.theme.label());
            self.all.push(Line::from(vec![name, Span::styled(line, style)]));
            label = "";
        }
    }

    fn title(&mut self, seen: &Seen) {
        let (theme, glyphs) = (self.context.theme, self.context.glyphs);
        let row = &seen.row;
        let now = seen.at.ktime;
        let gap = || Span::raw("  ");
        let age = seen.age(glyphs);
        let since = match row.kind {
            Kind::Closed => format!("{age} ago"),
            Kind::Open | Kind::Held => format!("for {age}"),
        };
        let owner = text::owner(row.owner.as_ref()).into_owned();
        let owner = if owner == UNKNOWN { "owner not known".to_owned() } else { owner };
        let mut spans = vec![
            Span::styled(owner, theme.title()),
            gap(),
            Span::styled(state(row), theme.state(row.state()).add_modifier(Modifier::BOLD)),
            Span::raw(" "),
        ];
        let stale = staleness::of(row, now);
        spans.push(Span::styled(since, stale.map_or(theme.text(), |stale| theme.staleness(stale.share))));
        if let Some(stale) = stale.filter(|stale| stale.thousandths >= 1000) {
            let text = format!("{} of what is normal", times(stale, self.context));
            spans.extend([gap(), Span::styled(text, theme.staleness(stale.share))]);
        }
        self.all.push(Line::from(spans));
    }

    fn facts(&mut self, seen: &Seen) {
        let theme = self.context.theme;
        let row = &seen.row;
        let connection = &row.connection;
        let end = |end| text::endpoint(end, connection.family);
        let (ours, theirs) = (end(connection.local), end(connection.remote));
        let arrow = self.context.glyphs.right;
        let sides = match connection.role {
            _ if connection.state == TcpState::Listen => format!("listens on {ours}"),
            Some(Role::Server) => format!("peer {theirs} {arrow} ours {ours}"),
            Some(Role::Client) => format!("ours {ours} {arrow} peer {theirs}"),
            None => format!("ours {ours}, peer {theirs}"),
        };
        self.fact("sides", &sides, theme.strong());
        let ip = if connection.family == Family::V4 { "IPv4" } else { "IPv6" };
        let protocol = if connection.mptcp { "MPTCP" } else { "TCP" };
        let role = match connection.state {
            TcpState::Listen => "a listener",
            _ => words::role(connection.role),
        };
        self.fact("role", &format!("{role}; {protocol} over {ip}"), theme.text());
        let owner = match &row.owner {
            None => "not known".to_owned(),
            Some(owner) => {
                let comm = escape::comm(&owner.task.comm);
                let (pid, tid) = (owner.task.pid, owner.task.tid);
                let thread = if tid == pid { String::new() } else { format!(", thread {tid}") };
                format!("{comm}, pid {pid}{thread}: {}", words::owner_is(owner.is))
            }
        };
        self.fact("owner", &owner, theme.text());
        let cgroup = seen.names.cgroup.as_deref().map(|cgroup| escape::text(&cgroup.path).into_owned());
        let place = place(&seen.names);
        let runs = match cgroup {
            Some(path) if path != place => format!("{place}, cgroup {path}"),
            Some(path) => format!("cgroup {path}"),
            None => UNKNOWN.to_owned(),
        };
        self.fact("runs in", &runs, theme.text());
        let netns = connection.netns.map_or_else(|| UNKNOWN.to_owned(), |inode| inode.to_string());
        let name = seen.names.netns.as_ref().map(|name| format!(" ({})", escape::text(&name.text)));
        let uid = connection.uid().map_or_else(|| UNKNOWN.to_owned(), |uid| uid.to_string());
        let socket = format!("uid {uid}, netns {netns}{}, cookie {}", name.unwrap_or_default(), cookie(row));
        self.fact("socket", &socket, theme.text());
        let origin = format!("{}: {}", connection.origin.name(), words::origin(connection.origin));
        self.fact("origin", &origin, theme.text());
        self.fact("closing", &closing(seen), theme.text());
    }

    fn time_line(&mut self, seen: &Seen) {
        let (theme, glyphs) = (self.context.theme, self.context.glyphs);
        let life = Life::of(&seen.row, seen.at.ktime);
        let used = TIME + 1 + AFTER + 3 + STATE + 1 + STAYED + 2;
        let note = if self.width >= WIDE { NOTE } else { 0 };
        let room = self.width.saturating_sub(used + note);
        let mark = if life.is_total_at_least { glyphs.at_least } else { "" };
        let share = if life.total_ns > 0 {
            format!("SHARE OF {mark}{}, LINEAR", units::time(life.total_ns))
        } else {
            String::new()
        };
        let heading = format!(
            "{:>TIME$} {:>AFTER$}   {:STATE$} {:>STAYED$}  {share}",
            "ENTERED UTC", "AFTER", "STATE", "STAYED"
        );
        self.all.push(Line::styled(heading, theme.label()));
        let mut has_closed = false;
        for stay in &life.stays {
            if stay.follows_dropped {
                let text = format!("{:>TIME$} states in between were not remembered", glyphs.ellipsis);
                self.all.push(Line::styled(text, theme.tone(Tone::Warning)));
            }
            let style = theme.state(stay.state);
            let is_end = stay.is_present && stay.state == TcpState::Close;
            let point = if stay.is_present && !is_end { glyphs.cursor } else { glyphs.moment };
            let name = if is_end { state(&seen.row) } else { stay.state.name() };
            let stayed = if is_end && seen.row.kind == Kind::Closed {
                String::new()
            } else {
                dwell(stay.stayed, glyphs.at_least)
            };
            let after = match stay.offset {
                Some(Dwell::Exact(0)) => "start".to_owned(),
                offset => dwell(offset, glyphs.at_least),
            };
            let mut spans = vec![
                Span::styled(format!("{:>TIME$} ", entered(stay.began, seen.at)), theme.text()),
                Span::styled(format!("{after:>AFTER$} "), theme.dim()),
                Span::styled(format!("{point} {name:STATE$} "), style),
                Span::styled(format!("{stayed:>STAYED$}  "), theme.text()),
            ];
            if is_end && seen.row.kind == Kind::Closed {
                let ended = seen.row.connection.end_cause.map_or("", |cause| cause.name());
                spans.push(Span::styled(ended, theme.dim()));
            } else {
                let bar = self.bar(stay, life.total_ns, room);
                let len = unicode_width(&bar);
                spans.push(Span::styled(bar, style));
                let closed_by = seen.row.connection.closed_by;
                if let Some(by) =
                    closed_by.filter(|_| note > 0 && !has_closed && words::is_closing(stay.state))
                {
                    let gap = room.saturating_sub(len) + 1;
                    spans.push(Span::styled(format!("{:gap$}{}", "", words::closed_by(by)), theme.dim()));
                }
            }
            has_closed |= words::is_closing(stay.state);
            self.all.push(Line::from(spans));
        }
    }

    /// From where in the life to where, as far as known.
    fn bar(&self, stay: &Stay, total_ns: u64, room: usize) -> String {
        let glyphs = self.context.glyphs;
        #[expect(clippy::cast_precision_loss, reason = "a picture")]
        let share = |ns: u64| if total_ns == 0 { 0.0 } else { ns as f64 / total_ns as f64 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of the width of a terminal"
        )]
        let start = (share(stay.offset.map_or(0, Dwell::ns)) * room as f64) as usize;
        let start = start.min(room.saturating_sub(1));
        let bar = stay.stayed.map_or_else(
            || "?".to_owned(),
            |stayed| glyphs.bar(share(stayed.ns()), u16::try_from(room).unwrap_or(u16::MAX)),
        );
        let bar: String = bar.chars().take(room - start).collect();
        format!("{:start$}{bar}", "")
    }

    /// What the state means: all that `explain` says, or, where there is no room, its first sentence.
    fn meaning(&mut self, seen: &Seen, height: usize) {
        let meaning = match seen.row.kind {
            Kind::Held if seen.row.is_doubtful => DOUBTFUL.to_owned(),
            Kind::Held => HELD.to_owned(),
            Kind::Closed => "The connection is over.".to_owned(),
            Kind::Open => state_page(seen.row.state(), Language::En).paragraph(Heading::Meaning),
        };
        let needs = wrap(&meaning, self.width.saturating_sub(LABEL).max(1)).len();
        let first = meaning.split_once(". ").map(|(first, _)| format!("{first}."));
        let text = match first {
            Some(first) if self.all.len() + needs > height => first,
            _ => meaning,
        };
        self.fact("meaning", &text, self.context.theme.text());
    }

    /// More about the state, as long as there is room.
    fn more(&mut self, seen: &Seen, height: usize) {
        if seen.row.kind == Kind::Closed {
            return;
        }
        let page = state_page(seen.row.state(), Language::En);
        // The meaning is told, and commands leave names open.
        let others = [Heading::Meaning, Heading::Commands].map(|heading| heading.name(Language::En));
        let more = page.sections.iter().filter(|section| !others.contains(&section.heading));
        for section in more.filter(|section| !section.lines.is_empty()) {
            if self.all.len() + section.lines.len() + 2 > height {
                break;
            }
            self.blank();
            self.all.push(Line::styled(section.heading.to_owned(), self.context.theme.label()));
            self.all.extend(section.lines.iter().map(|line| Line::raw((*line).to_owned())));
        }
    }

    fn stack(&mut self, seen: &Seen) {
        let theme = self.context.theme;
        match &seen.stack {
            Some(frames) if !frames.is_empty() => {
                let mut label = "stack";
                for frame in frames {
                    self.fact(label, frame, theme.text());
                    label = "";
                }
            }
            _ if self.context.world.about().has_stacks => {
                self.fact("stack", "that of no call on this socket is known", theme.dim());
            }
            _ => self.fact("stack", "stacks are not taken; `tcptrace watch --stacks` does", theme.dim()),
        }
    }
}

/// Who closed, and why it ended.
fn closing(seen: &Seen) -> String {
    let connection = &seen.row.connection;
    let by = match connection.closed_by {
        Some(by) => words::closed_by(by),
        None if words::is_closing(seen.row.state()) => "who closed first is not known",
        None => "nobody has closed yet",
    };
    match connection.end_cause.filter(|_| seen.row.kind != Kind::Open) {
        Some(cause) => format!("{by}; end cause {}: {}", cause.name(), words::end_cause(cause)),
        None => by.to_owned(),
    }
}

/// A time, with what is known about it.
fn dwell(dwell: Option<Dwell>, at_least: &str) -> String {
    match dwell {
        None => UNKNOWN.to_owned(),
        Some(Dwell::Exact(ns)) => units::time(ns),
        Some(Dwell::Jiffy(ns)) => format!("~{}", units::time(ns)),
        Some(Dwell::AtLeast(ns)) => format!("{at_least}{}", units::time(ns)),
    }
}

/// The time of day in UTC, or, when that was a day or more ago, the date, too.
fn entered(when: When, seen: Moment) -> String {
    const DAY: u64 = 86_400_000_000_000;
    let clock = |at: KtimeNs| {
        let ago = seen.ktime.since(at).unwrap_or(0);
        let form = if ago < DAY { "%H:%M:%S%.3f" } else { "%m-%d %H:%M:%S" };
        let at = jiff::Timestamp::from_nanosecond(seen.unix_ns - i128::from(ago));
        at.map_or_else(|_| UNKNOWN.to_owned(), |at| at.strftime(form).to_string())
    };
    match when {
        When::At(at) => clock(at),
        When::About(at) => format!("~{}", clock(at)),
        When::By(at) => format!("by {}", clock(at)),
        When::Unknown => UNKNOWN.to_owned(),
    }
}
