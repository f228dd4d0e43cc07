//! What is wrong, who does it, since when, whether it grows, and what to do.
//!
//! A rule looks at the facts of one moment and says what it finds. The engine asks all rules, and remembers what the numbers
//! were before. The same engine serves every output.

mod activity;
pub mod census;
pub mod condition;
pub mod ends;
mod engine;
pub mod host;
pub mod routes;
mod rules;
pub mod subject;
pub mod thresholds;
pub mod trend;
mod words;

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
};

use rustc_hash::FxHashMap;

pub use self::{
    activity::{Activity, Flows},
    census::{Census, Crowd, Member, Sum},
    engine::Engine,
    host::Host,
    routes::Route,
    subject::Subject,
    thresholds::Thresholds,
    trend::Trend,
};
use super::{Comm, KtimeNs, Owner, SocketKey, TcpState, histogram};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth to know.
    Info,
    /// Will do harm if it goes on.
    Warning,
    /// Does harm.
    Critical,
}

impl Severity {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// There are other explanations.
    Low,
    /// Few are.
    Medium,
    /// It is so.
    High,
}

impl Confidence {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The process at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Its id.
    pub pid: Option<NonZeroU32>,
    /// Its name.
    pub comm: Option<Comm>,
    /// The service port between the two.
    pub port: Option<NonZeroU16>,
    /// The state that its sockets are in.
    pub state: TcpState,
}

/// What tells findings of one rule, subject and state apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Apart {
    /// Nothing: there is one.
    #[default]
    Nothing,
    /// A process.
    Pid(NonZeroU32),
    /// Our address.
    Local(IpAddr),
    /// The state of the other end, where that is on this host.
    End(Option<TcpState>),
}

/// What makes a finding the same at another moment.
pub type Identity = (&'static str, Subject, Option<TcpState>, Apart);

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static str,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// About what.
    pub subject: Subject,
    /// What tells it apart from others of that rule and subject.
    pub apart: Apart,
    /// The owner's processes and how many sockets each has, the one with the most first; empty when they are not known.
    pub pids: Vec<(NonZeroU32, u64)>,
    /// The state that it is about, where it is about one.
    pub state: Option<TcpState>,
    /// How many.
    pub count: u64,
    /// What is counted, in words.
    pub counted: &'static str,
    /// The oldest of them, in nanoseconds.
    pub oldest_ns: Option<u64>,
    /// It may be older.
    pub oldest_is_at_least: bool,
    /// By how many it grows in a minute.
    pub per_minute: Option<f64>,
    /// Who is at the other end, where that is on this host and to blame.
    pub culprit: Option<Culprit>,
    /// What else speaks for it, in words.
    pub evidence: Vec<String>,
    /// Some of the sockets.
    pub keys: Vec<SocketKey>,
}

/// What most rules count.
pub const SOCKETS: &str = "sockets";

impl Finding {
    /// A warning about a subject, with no more than that.
    fn new(rule: &'static str, subject: Subject, count: u64) -> Self {
        Self {
            rule,
            severity: Severity::Warning,
            confidence: Confidence::High,
            subject,
            apart: Apart::Nothing,
            pids: Vec::new(),
            state: None,
            count,
            counted: SOCKETS,
            oldest_ns: None,
            oldest_is_at_least: false,
            per_minute: None,
            culprit: None,
            evidence: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// A warning about sockets of a subject in a state.
    fn of_sockets(rule: &'static str, subject: Subject, state: TcpState, sum: &Sum) -> Self {
        Self {
            state: Some(state),
            pids: sum.pids.clone(),
            oldest_ns: sum.oldest_ns,
            oldest_is_at_least: sum.is_at_least,
            keys: sum.keys.clone(),
            ..Self::new(rule, subject, sum.count)
        }
    }

    /// The same of that owner's process.
    #[must_use]
    fn by(self, owner: Option<&Owner>) -> Self {
        Self { pids: owner.map(|owner| (owner.task.pid, self.count)).into_iter().collect(), ..self }
    }

    /// What makes it the same finding at another moment.
    pub fn identity(&self) -> Identity {
        let subject = match self.rule {
            // It is about the ports; who has the most of them may change.
            "time-wait-pileup" | "port-exhaustion" => Subject { comm: None, cgroup: None, ..self.subject },
            // Nor does it matter whose connections are most of those that are reset.
            "reset-storm" => self.subject.with_peer(None),
            _ => self.subject,
        };
        (self.rule, subject, self.state, self.apart)
    }
}

/// A number that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Measure {
    /// Sockets of a subject in a state.
    State(Subject, TcpState),
    /// Ports that a route takes.
    Route(Route),
    /// Those of them in TIME_WAIT.
    TimeWait(Route),
    /// All sockets in a state.
    All(TcpState),
    /// Descriptors of a process.
    Descriptors(NonZeroU32),
}

/// What rules look at.
#[derive(Debug)]
pub struct Facts<'a> {
    /// When.
    pub now: KtimeNs,
    /// Nanoseconds that the recent past is.
    pub recent_ns: u64,
    /// All connections.
    pub census: &'a Census,
    /// What has happened in the recent past.
    pub flows: &'a Flows,
    activity: &'a Activity,
    /// Completed stays by service port.
    pub histograms: &'a histogram::Histograms,
    /// What the host says besides.
    pub host: &'a Host,
    /// What the kernel has counted in the recent past.
    pub counters: &'a FxHashMap<NonZeroU32, host::Counters>,
    /// Where the lines are drawn.
    pub thresholds: &'a Thresholds,
    trends: &'a FxHashMap<Measure, Trend>,
}

impl Facts<'_> {
    fn trend(&self, measure: Measure) -> Option<&Trend> {
        self.trends.get(&measure)
    }

    /// By how much the number of a subject's sockets in a state grows in a minute.
    fn slope(&self, subject: &Subject, state: TcpState) -> Option<f64> {
        self.trend(Measure::State(*subject, state))?.per_minute()
    }

    /// 99 % of the completed stays of this service port in a state were shorter, where there were enough to say.
    fn p99(&self, subject: &Subject, state: TcpState) -> Option<u64> {
        const ENOUGH: u64 = 100;
        let dwells = self.histograms.completed(histogram::Key::Port(subject.port), state)?;
        dwells.quantile(0.99).filter(|_| dwells.count() >= ENOUGH)
    }

    fn settings(&self, subject: &Subject) -> host::Settings {
        subject.netns.and_then(|netns| self.host.settings.get(&netns)).copied().unwrap_or_default()
    }
}

/// Looks for one thing.
trait Rule: std::fmt::Debug {
    /// What it is called.
    fn id(&self) -> &'static str;
    /// Adds what it finds.
    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>);
}

#[cfg(test)]
mod tests;
