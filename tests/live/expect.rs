//! What one side of a connection is expected to look like, and the comparison with its rows.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    capture::{Row, table},
    machine::Feature,
};

/// One side of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    /// All its states, in order.
    pub(crate) path: &'a str,
    pub(crate) family: u64,
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) role: Option<&'a str>,
    /// Who closed first, and the state by whose entry that is decided.
    pub(crate) closed_by: Option<(&'a str, &'a str)>,
    /// Why it ended; `None` for a listener, which just stops.
    pub(crate) end_cause: Option<&'a str>,
    /// The process that owns it, or its listener.
    pub(crate) owner: u32,
    /// Whether the port was chosen by the kernel in `connect`: then the first row cannot know it.
    pub(crate) ephemeral: bool,
    /// The classic hook knows no cookie, namespace, uid and error.
    pub(crate) classic: bool,
}

/// The client's side of a connection between v4 addresses, made by this process.
pub(crate) fn client(path: &str, local: SocketAddr, remote: SocketAddr) -> Side<'_> {
    Side {
        path,
        family: if local.is_ipv6() { 6 } else { 4 },
        local,
        remote: Some(remote),
        role: Some("client"),
        closed_by: None,
        end_cause: Some("unknown"),
        owner: std::process::id(),
        ephemeral: true,
        classic: false,
    }
}

/// The side of the socket that a listener of this process has spawned.
pub(crate) fn server(path: &str, local: SocketAddr, remote: SocketAddr) -> Side<'_> {
    Side { role: Some("server"), ephemeral: false, ..client(path, local, remote) }
}

/// A listener of this process.
pub(crate) fn listener(local: SocketAddr) -> Side<'static> {
    Side {
        remote: None,
        role: Some("server"),
        end_cause: None,
        ephemeral: false,
        ..client("CLOSE LISTEN CLOSE", local, local)
    }
}

impl<'a> Side<'a> {
    pub(crate) fn closed_by(self, who: &'a str, entering: &'a str) -> Self {
        Self { closed_by: Some((who, entering)), ..self }
    }

    pub(crate) fn end_cause(self, end_cause: &'a str) -> Self {
        Self { end_cause: Some(end_cause), ..self }
    }

    pub(crate) fn owner(self, owner: u32) -> Self {
        Self { owner, ..self }
    }

    pub(crate) fn bound(self) -> Self {
        Self { ephemeral: false, ..self }
    }

    pub(crate) fn classic(self, classic: bool) -> Self {
        Self { classic, ..self }
    }

    /// Compares; the error shows the rows.
    pub(crate) fn check(&self, rows: &[&Row]) -> Result<()> {
        self.compare(rows).with_context(|| {
            format!("{:?} {} -> {:?}:\n{}", self.role, self.local, self.remote, table(rows.iter().copied()))
        })
    }

    fn compare(&self, rows: &[&Row]) -> Result<()> {
        let states: Vec<&str> = self.path.split(' ').collect();
        let seen: Vec<(&str, &str)> = rows.iter().map(|row| (row.old.as_str(), row.new.as_str())).collect();
        let expected: Vec<(&str, &str)> = states.windows(2).map(|pair| (pair[0], pair[1])).collect();
        ensure!(seen == expected, "expected {expected:?}\n   seen {seen:?}");

        let mut closed = false;
        for (i, row) in rows.iter().enumerate() {
            let previous = i.checked_sub(1).map(|i| rows[i]);
            let here = || format!("row {i}, {} -> {}", row.old, row.new);
            self.compare_addresses(row, previous.is_none()).with_context(here)?;
            compare_duration(row, previous).with_context(here)?;

            ensure!(row.pid == Some(self.owner), "pid {:?} instead of {}, {}", row.pid, self.owner, here());
            ensure!(row.comm.is_some(), "no comm with the pid, {}", here());

            closed |= self.closed_by.is_some_and(|(_, entering)| row.new == entering);
            let closed_by = self.closed_by.map(|(who, _)| who).filter(|_| closed);
            // What the old kernels' hook cannot tell (a reset from an end) must not be guessed, but may be null.
            let unsure = self.classic && row.closed_by.is_none() && row.new == "CLOSE";
            ensure!(
                row.closed_by.as_deref() == closed_by || unsure,
                "closed_by {:?} instead of {closed_by:?}, {}",
                row.closed_by,
                here()
            );
            let end_cause = self.end_cause.filter(|_| row.new == "CLOSE");
            ensure!(
                row.end_cause.as_deref() == end_cause
                    || self.classic && end_cause.is_some() && row.end_cause.as_deref() == Some("unknown"),
                "end_cause {:?} instead of {end_cause:?}, {}",
                row.end_cause,
                here()
            );
        }

        let cookies: Vec<Option<u64>> = rows.iter().map(|row| row.cookie).collect();
        ensure!(cookies.windows(2).all(|pair| pair[0] == pair[1]), "cookies differ: {cookies:?}");
        let nameless = self.classic || !Feature::Cookies.is_there();
        ensure!(cookies.iter().all(|cookie| cookie.is_none() == nameless), "cookies: {cookies:?}");
        Ok(())
    }

    fn compare_addresses(&self, row: &Row, first: bool) -> Result<()> {
        ensure!(row.origin == "observed", "origin {}", row.origin);
        ensure!(row.family == self.family, "family {} instead of {}", row.family, self.family);
        ensure!(row.role.as_deref() == self.role, "role {:?} instead of {:?}", row.role, self.role);
        ensure!(row.uid.is_none() == self.classic, "uid {:?}", row.uid);
        ensure!(row.netns.is_none() == self.classic, "netns {:?}", row.netns);
        // Some kernels report the birth of a child before they have written its addresses into it. By the cookie, the next
        // event tells whose birth that was.
        let newborn = row.old == "LISTEN";
        let of_dual_stack = newborn && row.laddr.is_none() && !Feature::Cookies.is_there();
        ensure!(
            row.laddr == Some(self.local.ip()) || of_dual_stack,
            "laddr {:?} instead of {}",
            row.laddr,
            self.local.ip()
        );
        let lport = (!(first && self.ephemeral)).then_some(self.local.port());
        ensure!(row.lport == lport, "lport {:?} instead of {lport:?}", row.lport);
        let Some(remote) = self.remote else {
            ensure!(row.rport.is_none(), "rport {:?} of a listener", row.rport);
            return Ok(());
        };
        ensure!(row.rport == Some(remote.port()) || newborn && row.rport.is_none(), "rport {:?}", row.rport);
        ensure!(row.raddr == Some(remote.ip()) || newborn && row.raddr.is_none(), "raddr {:?}", row.raddr);
        Ok(())
    }
}

/// A state's duration is the distance of the two rows around it, to the nanosecond; the first row has none. How long a
/// connection was half-open before the state tracepoint told of it is not known without following request sockets.
fn compare_duration(row: &Row, previous: Option<&Row>) -> Result<()> {
    let expected =
        previous.map(|previous| row.ts_ns.checked_sub(previous.ts_ns).context("time runs backwards"));
    let expected = expected.transpose()?;
    ensure!(row.duration_ns == expected, "duration_ns {:?} instead of {expected:?}", row.duration_ns);
    let was_half_open = previous.is_some_and(|previous| previous.old == "LISTEN");
    let is = expected.map(|_| if was_half_open { "at_least" } else { "exact" });
    ensure!(row.duration_is.as_deref() == is, "duration_is {:?} instead of {is:?}", row.duration_is);
    Ok(())
}

/// The moments right before and right after something that the test has done.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    before: Instant,
    after: Instant,
}

impl Moment {
    /// Does something, and says when.
    pub(crate) fn of<T>(action: impl FnOnce() -> T) -> (T, Self) {
        let before = Instant::now();
        let value = action();
        (value, Self { before, after: Instant::now() })
    }

    /// How long it took.
    pub(crate) fn took(self) -> Duration {
        self.after.saturating_duration_since(self.before)
    }

    /// Something begun in this moment that was seen to be done by the end of `seen`.
    pub(crate) fn until(self, seen: Self) -> Self {
        Self { before: self.before, after: seen.after }
    }
}

/// The time spent in `state` must be what the test's own clock says: the state was entered within `entered` and
/// left within `left`.
pub(crate) fn check_dwell(rows: &[&Row], state: &str, entered: Moment, left: Moment) -> Result<()> {
    let row = rows.iter().find(|row| row.old == state).with_context(|| format!("no row leaves {state}"))?;
    let dwell = Duration::from_nanos(row.duration_ns.with_context(|| format!("{state} without a duration"))?);
    let shortest = left.before.saturating_duration_since(entered.after);
    let longest = left.after.saturating_duration_since(entered.before) + Duration::from_millis(5);
    ensure!(
        (shortest..=longest).contains(&dwell),
        "{state} took {dwell:?}, by the test's own clock between {shortest:?} and {longest:?}:\n{}",
        table(rows.iter().copied())
    );
    Ok(())
}
