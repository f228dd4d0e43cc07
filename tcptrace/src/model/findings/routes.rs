//! Ways from here to a service: each connection on one takes a local port of its own.

use std::num::{NonZeroU16, NonZeroU32};

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::{Apart, Finding, Member, Subject, words};
use crate::model::{Endpoint, Role, TcpState};

/// Routes that are told apart, at most.
const MOST: usize = 20_000;

/// Owners of a route's sockets that are told apart.
const MOST_OWNERS: usize = 16;

/// A local address, and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Inode of the network namespace.
    pub netns: NonZeroU32,
    /// Our address.
    pub local: IpAddr,
    /// The service's address.
    pub remote: IpAddr,
    /// Its port.
    pub port: NonZeroU16,
}

impl Route {
    /// That of a connection.
    pub fn of(netns: Option<NonZeroU32>, local: Endpoint, remote: Endpoint) -> Option<Self> {
        Some(Self { netns: netns?, local: local.addr?, remote: remote.addr?, port: remote.port? })
    }
}

impl Finding {
    /// One about a route: the owner and its processes, and how many of all local ports are taken.
    pub(super) fn of_route(
        rule: &'static str,
        route: &Route,
        (owner, pids): (Subject, Vec<(NonZeroU32, u64)>),
        (taken, ports): (u64, u64),
    ) -> Self {
        let subject = Subject {
            netns: Some(route.netns),
            port: Some(route.port),
            role: Some(Role::Client),
            peer: Some(route.remote),
            ..owner
        };
        let mut finding = Self::new(rule, subject, taken);
        finding.apart = Apart::Local(route.local);
        finding.pids = pids;
        finding.evidence.push(format!(
            "{} % of the {ports} local ports for {} to {} port {}",
            words::percent(taken, ports),
            route.local,
            route.remote,
            route.port
        ));
        finding
    }
}

/// The ports that a route takes.
#[derive(Clone, Debug, Default)]
pub struct Use {
    /// In all states.
    pub all: u64,
    /// In TIME_WAIT.
    pub time_wait: u64,
    /// The oldest of these, and whether it may be older.
    pub oldest_time_wait: Option<(u64, bool)>,
    /// Whose they are.
    owners: Vec<Holder>,
}

/// Somebody who has some of them.
#[derive(Clone, Copy, Debug)]
struct Holder {
    subject: Subject,
    pid: Option<NonZeroU32>,
    all: u64,
    time_wait: u64,
}

impl Use {
    /// The owner that has the most of them, and how many its process has. What is in TIME_WAIT since before the start has no
    /// owner left: it is known if that of any is.
    pub fn most(&self) -> (Subject, Vec<(NonZeroU32, u64)>) {
        self.most_by(|holder| holder.all)
    }

    /// The same of those in TIME_WAIT.
    pub fn most_in_time_wait(&self) -> (Subject, Vec<(NonZeroU32, u64)>) {
        self.most_by(|holder| holder.time_wait)
    }

    fn most_by(&self, count: fn(&Holder) -> u64) -> (Subject, Vec<(NonZeroU32, u64)>) {
        let some = self.owners.iter().filter(|holder| count(holder) > 0);
        let most =
            some.max_by_key(|holder| (holder.pid.is_some(), count(holder), std::cmp::Reverse(holder.pid)));
        let pids = most.and_then(|most| Some((most.pid?, count(most))));
        (most.map(|most| most.subject).unwrap_or_default(), pids.into_iter().collect())
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Routes(FxHashMap<Route, Use>);

impl Routes {
    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// One more connection.
    pub(super) fn add(&mut self, route: Route, state: TcpState, subject: Subject, member: &Member) {
        let pid = member.pid;
        if self.0.len() >= MOST && !self.0.contains_key(&route) {
            return;
        }
        let used = self.0.entry(route).or_default();
        used.all += 1;
        if state == TcpState::TimeWait {
            used.time_wait += 1;
            let age = member.age_ns.map(|age| (age, member.is_at_least));
            let may_be_older =
                used.oldest_time_wait.is_some_and(|(_, is_at_least)| is_at_least) || member.is_at_least;
            used.oldest_time_wait = used.oldest_time_wait.max(age).map(|(age, _)| (age, may_be_older));
        }
        let is_waiting = u64::from(state == TcpState::TimeWait);
        let known = used.owners.iter_mut().find(|holder| holder.subject == subject && holder.pid == pid);
        if let Some(holder) = known {
            holder.all += 1;
            holder.time_wait += is_waiting;
        } else if used.owners.len() < MOST_OWNERS {
            used.owners.push(Holder { subject, pid, all: 1, time_wait: is_waiting });
        }
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Route, &Use)> {
        self.0.iter()
    }

    /// One.
    pub fn get(&self, route: &Route) -> Option<&Use> {
        self.0.get(route)
    }
}
