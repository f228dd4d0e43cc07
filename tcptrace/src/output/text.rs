//! A line a transition, for people: `TIME PID COMM IP LADDR LPORT RADDR RPORT OLDSTATE -> NEWSTATE MS`.

use std::{
    fmt::{self, Display},
    io::{self, Write},
    num::NonZero,
};

use anstyle::{AnsiColor, Color, Style};
use jiff::{Timestamp, tz::TimeZone};

use super::{Audit, Beside, Moment, Names, Notice, Sink, Summary, SynCookies, escape};
use crate::model::{
    Cgroup, ClosedBy, Dwell, EndCause, KtimeNs, LostAt, Observation, Owner, OwnerIs, Role, Runtime, TcpState,
    Workload,
};

/// How the lines look.
#[derive(Clone, Debug)]
pub struct TextOptions {
    /// Names of the columns first.
    pub header: bool,
    /// Colours.
    pub color: bool,
    /// More columns and room for v6 addresses.
    pub wide: bool,
    /// Wall clock in this zone instead of seconds since the start.
    pub wall_clock: Option<TimeZone>,
}

/// Writes text lines.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    options: TextOptions,
}

impl<W: Write> Text<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W, options: TextOptions) -> Self {
        Self { out, options }
    }

    const fn address_width(&self) -> usize {
        if self.options.wide { 39 } else { 15 }
    }

    fn time(&self, at: Moment) -> String {
        time(at, self.options.wall_clock.as_ref())
    }
}

/// When, since the start or by the clock of a zone.
fn time(at: Moment, wall_clock: Option<&TimeZone>) -> String {
    match wall_clock {
        None => {
            let micros = at.elapsed_ns / 1000;
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
        }
        Some(zone) => Timestamp::from_nanosecond(at.unix_ns).map_or_else(
            |_| "-".to_owned(),
            |moment| moment.to_zoned(zone.clone()).strftime("%H:%M:%S%.6f").to_string(),
        ),
    }
}

/// The value, or `-`. Fills the column itself: a string for each would be half of the time that a line takes.
fn known<T: Display>(value: Option<T>) -> Known<T> {
    Known(value)
}

/// See [`known`].
struct Known<T>(Option<T>);

impl<T: Display> Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.pad("-"),
        }
    }
}

/// Milliseconds with microseconds, a lower bound marked.
fn milliseconds(dwell: Option<Dwell>) -> String {
    let Some(dwell) = dwell else { return "-".to_owned() };
    let micros = dwell.ns() / 1000;
    let mark = match dwell {
        Dwell::AtLeast(_) => ">=",
        Dwell::Jiffy(_) => "~",
        Dwell::Exact(_) => "",
    };
    format!("{mark}{}.{:03}", micros / 1000, micros % 1000)
}

/// A name fit for a column. That of a listener's owner is in parentheses: it may be another process that accepts.
fn name(owner: Owner) -> String {
    let comm = escape::comm_word(&owner.task.comm);
    if owner.is == OwnerIs::Listener { format!("({comm})") } else { comm.into_owned() }
}

/// A namespace by its name, where somebody has given it one.
fn namespace(netns: Option<NonZero<u32>>, names: &Names) -> String {
    let given = names.netns.as_ref().filter(|name| name.is_given);
    given.map_or_else(|| known(netns).to_string(), |name| escape::word(&name.text).into_owned())
}

/// What a cgroup is for those who run things in it: the container, the unit, or its path.
fn workload(cgroup: &Cgroup) -> String {
    let name = match &cgroup.workload {
        Workload { container: Some(container), .. } => {
            let runtime = container.runtime.map_or("container", Runtime::name);
            format!("{runtime}:{}", container.short_id())
        }
        Workload { unit: Some(unit), .. } => unit.clone(),
        _ => cgroup.path.clone(),
    };
    escape::word(&name).into_owned()
}

#[expect(clippy::cast_precision_loss, reason = "2^52 ns are 52 days, then microseconds are lost")]
fn seconds_since(since: KtimeNs, at: Moment) -> f64 {
    at.ktime.since(since).unwrap_or(0) as f64 / 1e9
}

/// Colours follow what an operator looks for: who has yet to act, and what ended badly.
fn style(state: TcpState, cause: Option<EndCause>) -> Style {
    let color = match (state, cause) {
        (TcpState::Established, _) => AnsiColor::Green,
        (TcpState::CloseWait | TcpState::LastAck, _) => AnsiColor::Yellow,
        (TcpState::SynSent | TcpState::SynRecv | TcpState::Listen, _) => AnsiColor::Cyan,
        (TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::TimeWait, _) => {
            AnsiColor::Blue
        }
        (_, Some(EndCause::ResetLocal | EndCause::ResetRemote | EndCause::Refused | EndCause::Timeout)) => {
            AnsiColor::Red
        }
        (TcpState::Close, _) => return Style::new().dimmed(),
    };
    Style::new().fg_color(Some(Color::Ansi(color)))
}

impl<W: Write> Sink for Text<W> {
    fn begin(&mut self) -> io::Result<()> {
        if !self.options.header {
            return Ok(());
        }
        let width = self.address_width();
        let time_width = if self.options.wall_clock.is_some() { 15 } else { 12 };
        write!(
            self.out,
            "{:<time_width$} {:>7} {:<17} {:>2} {:<width$} {:>5} {:<width$} {:>5} {:<11} -> {:<11} {:>12}",
            "TIME", "PID", "COMM", "IP", "LADDR", "LPORT", "RADDR", "RPORT", "OLDSTATE", "NEWSTATE", "MS"
        )?;
        if self.options.wide {
            write!(
                self.out,
                " {:<6} {:<6} {:<12} {:>10} {:>10} {:>8} {:<8} WORKLOAD",
                "ROLE", "CLOSER", "CAUSE", "UID", "NETNS", "COOKIE", "ORIGIN"
            )?;
        }
        writeln!(self.out)
    }

    fn wants_names(&self) -> bool {
        self.options.wide
    }

    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        let Observation { transition, connection, dwell, owner, .. } = observed;
        let names = beside.names;
        let width = self.address_width();
        let time_width = if self.options.wall_clock.is_some() { 15 } else { 12 };
        let style =
            if self.options.color { style(transition.new, connection.end_cause) } else { Style::new() };
        write!(
            self.out,
            "{:<time_width$} {:>7} {:<17} {:>2} {:<width$} {:>5} {:<width$} {:>5} {:<11} -> {style}{:<11}{style:#} {:>12}",
            self.time(at),
            known(owner.map(|owner| owner.task.pid)),
            known(owner.map(name)),
            connection.family.number(),
            known(connection.local.addr),
            known(connection.local.port),
            known(connection.remote.addr),
            known(connection.remote.port),
            transition.old,
            transition.new,
            milliseconds(*dwell),
        )?;
        if self.options.wide {
            write!(
                self.out,
                " {:<6} {:<6} {:<12} {:>10} {:>10} {:>8} {:<8} {}",
                known(connection.role.map(Role::name)),
                known(connection.closed_by.map(ClosedBy::name)),
                known(connection.end_cause.map(EndCause::name)),
                known(connection.uid()),
                namespace(connection.netns, names),
                // As `ss -e` shows it after `sk:`.
                known(transition.key.cookie().map(NonZero::get).map(|cookie| format!("{cookie:x}"))),
                connection.origin.name(),
                known(names.cgroup.as_deref().map(workload)),
            )?;
        }
        for frame in beside.stack.filter(|_| beside.is_new_stack).unwrap_or_default() {
            write!(self.out, "\n    at {}", escape::frame(frame))?;
        }
        writeln!(self.out)
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        write_notice(&mut self.out, at, self.options.wall_clock.as_ref(), notice)
    }

    fn end(&mut self, _: Moment, _: &Summary) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line that is no transition.
pub(super) fn write_notice(
    out: &mut impl Write,
    at: Moment,
    wall_clock: Option<&TimeZone>,
    notice: &Notice<'_>,
) -> io::Result<()> {
    write!(out, "# {} ", time(at, wall_clock))?;
    match notice {
        Notice::Lost(lost) => {
            let reason = match lost.at {
                LostAt::Ring => "the ring buffer was full, see --ring-size",
                LostAt::Recursion => "the BPF program was interrupted by itself",
                LostAt::Decode => "they could not be decoded",
            };
            writeln!(out, "lost {} records: {reason}", lost.count)
        }
        Notice::Audit(Audit { sockets, drift }) => {
            writeln!(out, "audit: {sockets} sockets in the kernel's tables, {drift} were not as we knew them")
        }
        Notice::SynCookies(SynCookies { netns, sent, received, failed }) => writeln!(
            out,
            "half-open connections that cannot be seen: {sent} SYNs were answered with cookies in netns {netns} \
                 ({received} valid cookies came back, {failed} invalid ones)"
        ),
        Notice::Held(_, held, owner, _) => {
            let connection = &held.connection;
            writeln!(
                out,
                "closed but held{} for {}{:.3} s: pid {} {} {} {} {} {} {}",
                if held.is_doubtful { " (unless let go unseen)" } else { "" },
                if held.is_doubtful { "at most " } else { "" },
                seconds_since(held.since, at),
                known(owner.map(|owner| owner.task.pid)),
                known(owner.map(name)),
                known(connection.local.addr),
                known(connection.local.port),
                known(connection.remote.addr),
                known(connection.remote.port),
                known(connection.end_cause.map(EndCause::name)),
            )
        }
    }
}
