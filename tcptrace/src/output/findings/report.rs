//! A finding as programs read it, with the words that its page has for it.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
    sync::Arc,
};

use serde::Serialize;

use crate::{
    model::{Frame, Role, TcpState, findings::Finding},
    output::{
        escape,
        explain::{self, Language},
    },
};

/// Whether a finding was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was not.
    New,
    /// It was, as less severe.
    Worse,
    /// It was, and is no more.
    Gone,
}

/// The other end, where it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CulpritReport {
    /// Its process.
    pub pid: Option<NonZeroU32>,
    /// Its name.
    pub comm: Option<String>,
    /// The service port between the two.
    pub port: Option<NonZeroU16>,
    /// The state of its sockets.
    pub state: &'static str,
}

/// Calls of the same stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackReport {
    /// How many sockets were made so.
    pub count: u64,
    /// Functions, the innermost first.
    pub frames: Vec<String>,
}

/// A `finding` object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingReport {
    /// The rule.
    pub rule: &'static str,
    /// `info`, `warning`, `critical`
    pub severity: &'static str,
    /// `low`, `medium`, `high`
    pub confidence: &'static str,
    /// Whether it was told before.
    pub status: Status,
    /// The process that has most of the sockets.
    pub pid: Option<NonZeroU32>,
    /// The owner's name.
    pub comm: Option<String>,
    /// Processes of that name that have some of them; null when they are not known.
    pub processes: Option<u64>,
    /// The owner's cgroup.
    pub cgroup: Option<String>,
    /// Inode of the network namespace.
    pub netns: Option<NonZeroU32>,
    /// Its name.
    pub netns_name: Option<String>,
    /// The service port.
    pub port: Option<NonZeroU16>,
    /// Which side of it we are.
    pub role: Option<&'static str>,
    /// The peer, where the rule tells peers apart.
    pub peer: Option<IpAddr>,
    /// The state that it is about.
    pub state: Option<&'static str>,
    /// How many.
    pub count: u64,
    /// What is counted.
    pub counted: &'static str,
    /// The oldest of them.
    pub age_s: Option<f64>,
    /// `exact`, or `at_least`.
    pub age_is: Option<&'static str>,
    /// By how many they grow in a minute.
    pub slope_per_min: Option<f64>,
    /// Who is at the other end.
    pub culprit: Option<CulpritReport>,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// Where the sockets were made, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacks: Option<Vec<StackReport>>,
    /// What it means.
    pub meaning: String,
    /// What to do.
    pub remedy: String,
    /// Where to look further.
    pub commands: Vec<String>,
}

impl FindingReport {
    /// Of a finding, with the names of its cgroup and its network namespace.
    pub fn new(
        finding: &Finding,
        status: Status,
        (cgroup, netns_name): (Option<String>, Option<String>),
        stacks: Option<Vec<(u64, Arc<[Frame]>)>>,
    ) -> Self {
        let subject = &finding.subject;
        let pid = finding.pids.first().map(|(pid, _)| *pid);
        let page = explain::rule_page(finding.rule, Language::En);
        let fill = |name: &str| match name {
            "pid" => pid.map(|pid| pid.to_string()),
            "port" => subject.port.map(|port| port.to_string()),
            "peer" => subject.peer.map(|peer| peer.to_string()),
            "netns" => subject.netns.map(|netns| netns.to_string()),
            _ => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "2^52 ns are 52 days, then microseconds are lost")]
        let age_s = finding.oldest_ns.map(|ns| ns as f64 / 1e9);
        Self {
            rule: finding.rule,
            severity: finding.severity.name(),
            confidence: finding.confidence.name(),
            status,
            pid,
            comm: subject.comm.map(|comm| escape::comm_json(&comm).into_owned()),
            processes: pid.map(|_| finding.pids.len() as u64),
            cgroup,
            netns: subject.netns,
            netns_name,
            port: subject.port,
            role: subject.role.map(Role::name),
            peer: subject.peer,
            state: finding.state.map(TcpState::name),
            count: finding.count,
            counted: finding.counted,
            age_s,
            age_is: age_s.map(|_| if finding.oldest_is_at_least { "at_least" } else { "exact" }),
            // Nobody counts hundredths of sockets; and what stands still is 0, not 1e-12, nor -0.
            slope_per_min: finding.per_minute.map(|slope| (slope * 10.0).round() / 10.0 + 0.0),
            culprit: finding.culprit.map(|culprit| CulpritReport {
                pid: culprit.pid,
                comm: culprit.comm.map(|comm| escape::comm_json(&comm).into_owned()),
                port: culprit.port,
                state: culprit.state.name(),
            }),
            evidence: finding.evidence.clone(),
            stacks: stacks.map(|stacks| stacks.into_iter().map(stack).collect()),
            meaning: page.as_ref().map(explain::RulePage::meaning).unwrap_or_default(),
            remedy: page.as_ref().map(explain::RulePage::remedy).unwrap_or_default(),
            commands: page.map(|page| page.commands(&fill)).unwrap_or_default(),
        }
    }
}

fn stack((count, frames): (u64, Arc<[Frame]>)) -> StackReport {
    StackReport { count, frames: frames.iter().map(escape::frame).collect() }
}

/// A `looked` object: what was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LookReport {
    /// Sockets at the end.
    pub sockets: u64,
    /// Findings at the end.
    pub findings: u64,
    /// How long.
    pub seconds: f64,
    /// What could not be seen, in words.
    pub not_seen: Vec<String>,
}
