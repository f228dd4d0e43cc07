//! The finding that a scene expects.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;

use super::{
    finding::{Culprit, Finding},
    stage::{Played, Span, Stage},
};
use crate::{machine::patience, worker::Worker};

/// Whose it is.
#[derive(Clone, Debug)]
struct Owner {
    pid: u32,
    comm: String,
    role: Option<&'static str>,
}

/// What a finding has to say. What is `None` is left open.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Each of them may have one; one must.
    owners: Vec<Owner>,
    port: Option<u16>,
    state: Option<&'static str>,
    peer: Option<IpAddr>,
    count: RangeInclusive<u64>,
    severities: &'static [&'static str],
    oldest: Option<Span>,
    per_minute: Option<RangeInclusive<f64>>,
    culprit: Option<Culprit>,
    processes: u64,
}

/// When the program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// Before the scenes began.
    First,
    /// When all was made.
    Last,
}

/// How far two clocks may be apart.
fn slack() -> f64 {
    patience(Duration::from_millis(100)).as_secs_f64()
}

/// How much of its age a bound may miss: it is known to the last acknowledgement, by the last look.
const MISSED_S: f64 = 1.5;

impl Expected {
    /// A warning about the stage's own program.
    pub(super) fn of(stage: &Stage, process: &Worker, count: RangeInclusive<u64>) -> Self {
        Self {
            owners: vec![Owner { pid: process.pid(), comm: stage.name.to_owned(), role: None }],
            port: None,
            state: None,
            peer: None,
            count,
            severities: &["warning"],
            oldest: None,
            per_minute: None,
            culprit: None,
            processes: 1,
        }
    }

    pub(super) fn server(mut self, of: SocketAddr) -> Self {
        self.port = Some(of.port());
        self.owners[0].role = Some("server");
        self
    }

    pub(super) fn client(mut self, of: SocketAddr) -> Self {
        self.port = Some(of.port());
        self.owners[0].role = Some("client");
        self
    }

    /// The process at the other end may have one, too.
    pub(super) fn or_client(mut self, process: &Worker) -> Self {
        self.owners.push(Owner { pid: process.pid(), comm: "peer".to_owned(), role: Some("client") });
        self
    }

    pub(super) fn state(mut self, state: &'static str) -> Self {
        self.state = Some(state);
        self
    }

    pub(super) fn peer(mut self, of: SocketAddr) -> Self {
        self.peer = Some(of.ip());
        self
    }

    pub(super) fn severity(mut self, any_of: &'static [&'static str]) -> Self {
        self.severities = any_of;
        self
    }

    /// When the oldest socket came into its state.
    pub(super) fn oldest(mut self, span: Span) -> Self {
        self.oldest = Some(span);
        self
    }

    pub(super) fn per_minute(mut self, range: RangeInclusive<f64>) -> Self {
        self.per_minute = Some(range);
        self
    }

    /// The process at the other end, which listens there.
    pub(super) fn culprit(mut self, process: &Worker, comm: &str, at: SocketAddr) -> Self {
        self.culprit = Some(Culprit { pid: process.pid(), comm: comm.to_owned(), port: at.port() });
        self
    }

    pub(super) fn processes(mut self, processes: u64) -> Self {
        self.processes = processes;
        self
    }

    /// Whose it is cannot be known where it began before: what no process holds.
    fn may_be_nobodys(&self, started: Started) -> bool {
        (started == Started::Last && self.state == Some("TIME_WAIT")) || self.owners.is_empty()
    }

    fn check(&self, finding: &Finding, netns: u64, started: Started) -> Result<()> {
        let is_owner = |owner: &Owner| {
            let is_role = owner.role.is_none() || finding.role.as_deref() == owner.role;
            is_role && finding.pid == Some(owner.pid) && finding.comm.as_ref() == Some(&owner.comm)
        };
        let is_nobodys = finding.pid.is_none() && self.may_be_nobodys(started);
        ensure!(is_nobodys || self.owners.iter().any(is_owner), "not of {:?}", self.owners);
        ensure!(is_nobodys || finding.processes == Some(self.processes), "not {} processes", self.processes);
        ensure!(finding.netns.is_none_or(|of| of == netns), "not in the namespace {netns}");
        ensure!(finding.netns.is_some() || self.port.is_none(), "no namespace");
        ensure!(self.port.is_none() || finding.port == self.port, "not of port {:?}", self.port);
        ensure!(self.state.is_none() || finding.state.as_deref() == self.state, "not {:?}", self.state);
        ensure!(self.peer.is_none() || finding.peer == self.peer, "not with {:?}", self.peer);
        ensure!(self.count.contains(&finding.count), "not {:?}", self.count);
        ensure!(self.severities.contains(&&*finding.severity), "not {:?}", self.severities);
        ensure!(finding.status == "new", "status");
        ensure!(finding.commands > 0 || is_nobodys, "no commands");
        ensure!(self.culprit.is_none() || finding.culprit == self.culprit, "not by {:?}", self.culprit);
        if let Some(range) = &self.per_minute {
            ensure!(finding.slope.is_some_and(|slope| range.contains(&slope)), "slope is not in {range:?}");
        }
        if let Some(span) = self.oldest {
            self.check_age(finding, span, started)?;
        }
        Ok(())
    }

    fn check_age(&self, finding: &Finding, span: Span, started: Started) -> Result<()> {
        let age = finding.age_s.context("no age")?;
        let since = |then| SignedDuration::as_secs_f64(&finding.ts.duration_since(then));
        let (youngest, oldest) = (since(span.ended) - slack(), since(span.begun) + slack());
        ensure!(age <= oldest, "older than {oldest} s");
        match (started, self.state) {
            (Started::First, Some(_)) => {
                ensure!(age >= youngest, "younger than {youngest} s");
                ensure!(
                    finding.age_is.as_deref() == Some("exact") || self.state == Some("ESTABLISHED"),
                    "not exact"
                );
            }
            (Started::Last, Some("CLOSE_WAIT" | "FIN_WAIT2" | "ESTABLISHED")) => {
                ensure!(age >= youngest - MISSED_S, "younger than {youngest} s less {MISSED_S} s");
                ensure!(finding.age_is.as_deref() == Some("at_least"), "not at least");
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is wrong with the findings for a scene, a line each.
pub(super) fn differences(played: &Played, findings: &[Finding], started: Started) -> Vec<String> {
    let Played { scene, netns, pids, expected } = played;
    let is_here = |finding: &&Finding| {
        finding.netns.map_or_else(|| finding.pid.is_some_and(|pid| pids.contains(&pid)), |of| of == *netns)
    };
    let here: Vec<_> = findings.iter().filter(is_here).collect();
    let of_rule: Vec<_> = here.iter().copied().filter(|finding| finding.rule == scene.rule).collect();
    let name = scene.name;
    let Some(expected) = expected else {
        let wrong = here.iter().filter(|of| of.rule == scene.rule || of.is_at_least("warning"));
        return wrong.map(|finding| format!("{name}: {finding}")).collect();
    };
    let mut wrong = Vec::new();
    for finding in &of_rule {
        if let Err(error) = expected.check(finding, *netns, started) {
            wrong.push(format!("{name}: {error:#}: {finding}"));
        }
    }
    if !(1..=expected.owners.len().max(1)).contains(&of_rule.len()) {
        wrong.push(format!("{name}: {} findings, of {here:?}", of_rule.len()));
    }
    wrong
}
