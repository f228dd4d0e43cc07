//! Looks out for what is wrong: adds up what happens, takes in what is open, and asks the rules.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
};

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::{FindingReport, Status};
use crate::{
    model::{
        Comm, Connection, Frame, Held, KtimeNs, Observation, Owner, ProcessStart, SocketKey, Task, TcpState,
        findings::{
            Census, Engine, Finding, Host, Thresholds,
            condition::{Condition, Numbers},
        },
        histogram::{By, Histograms},
    },
    output::{Moment, Names},
};

/// Service ports whose stays are counted by themselves.
const PORTS: usize = 1000;

/// Sockets whose stacks are kept.
const MOST_STACKS: usize = 50_000;

/// Processes whose names are kept.
const MOST_PROCESSES: usize = 20_000;

/// At the end, facts are not older than that: they were just read. A search for the holders of many sockets comes after that.
const OVERDUE_NS: u64 = 10_000_000_000;

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct LookoutOptions {
    /// Only these rules.
    pub only: Option<Vec<&'static str>>,
    /// Where the lines are drawn.
    pub thresholds: Thresholds,
    /// Remember the stacks of the calls that made sockets.
    pub with_stacks: bool,
    /// Only sockets of some owners are asked for: those whose owner is not known are left out.
    pub needs_owner: bool,
    /// A condition that somebody waits for.
    pub condition: Option<Condition>,
}

/// What a look has shown.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// What is wrong, the worst first.
    pub found: Vec<Finding>,
    /// Sockets that were looked at.
    pub sockets: u64,
    /// Whether the condition holds, where there is one.
    pub holds: bool,
}

/// Everything that a look needs, added up from what happens and what is open.
pub struct Lookout {
    options: LookoutOptions,
    engine: Option<Engine>,
    histograms: Histograms,
    host: Host,
    census: Census,
    /// Sockets whose owner is not known, where it is asked for: in the census, and at the last look.
    ownerless: (u64, u64),
    /// Sockets that there was no room for at the last look.
    uncounted: u64,
    /// Sockets are known by their addresses, as the hook or the kernel gives no cookies.
    lacks_cookies: bool,
    /// Names of processes: threads have others.
    processes: FxHashMap<(NonZeroU32, Option<ProcessStart>), Comm>,
    /// The last task that was asked for, and the name of its process: many in a row are of the same.
    last_process: Option<(Task, Comm)>,
    names: Known,
    /// Of the calls that made sockets, the oldest first.
    stacks: LinkedHashMap<SocketKey, Arc<[Frame]>, FxBuildHasher>,
}

/// Names for numbers, as far as they came by.
#[derive(Debug, Default)]
struct Known {
    cgroups: FxHashMap<NonZeroU64, String>,
    namespaces: FxHashMap<NonZeroU32, String>,
}

impl Known {
    /// Names that are kept.
    const MOST: usize = 20_000;

    fn note(&mut self, connection: &Connection, owner: Option<&Owner>, names: &Names) {
        if let (Some(id), Some(cgroup)) = (owner.and_then(|owner| owner.task.cgroup), &names.cgroup)
            && self.cgroups.len() < Self::MOST
            && !self.cgroups.contains_key(&id)
        {
            self.cgroups.insert(id, cgroup.path.clone());
        }
        if let (Some(inode), Some(name)) = (connection.netns, &names.netns)
            && name.is_given
            && self.namespaces.len() < Self::MOST
            && !self.namespaces.contains_key(&inode)
        {
            self.namespaces.insert(inode, name.text.to_string());
        }
    }
}

/// What a condition may ask.
struct Asked<'a>(&'a Census, &'a Engine);

impl Numbers for Asked<'_> {
    fn count(&self, state: TcpState) -> u64 {
        self.0.total(state).0
    }

    fn age_ns(&self, state: TcpState) -> Option<u64> {
        self.0.total(state).1
    }

    fn slope(&self, state: TcpState) -> Option<f64> {
        self.1.slope(state)
    }
}

impl Lookout {
    /// Nothing is known yet.
    pub fn new(options: LookoutOptions) -> Self {
        Self {
            options,
            engine: None,
            histograms: Histograms::new(By::Port, PORTS),
            host: Host::default(),
            census: Census::default(),
            ownerless: (0, 0),
            uncounted: 0,
            lacks_cookies: false,
            processes: FxHashMap::default(),
            last_process: None,
            names: Known::default(),
            stacks: LinkedHashMap::default(),
        }
    }

    /// Takes in a transition, and the stack of its call.
    pub fn note(&mut self, at: Moment, observed: &Observation, stack: Option<&[Frame]>) {
        self.histograms.add(observed);
        let owner = self.process(observed.owner.as_ref());
        self.engine(at).add(observed, owner.as_ref());
        let transition = &observed.transition;
        match (transition.new, stack) {
            (TcpState::SynSent, Some(frames)) => self.made(transition.key, frames.into()),
            // What is held after its end was made somewhere, too.
            (TcpState::Close, _) if transition.is_orphan => drop(self.stacks.remove(&transition.key)),
            _ => {}
        }
    }

    /// Takes in a connection that is open. Each is to be told before a look.
    pub fn open(
        &mut self,
        at: Moment,
        key: SocketKey,
        connection: &Connection,
        owner: Option<&Owner>,
        names: &Names,
    ) {
        if self.options.needs_owner && owner.is_none() {
            self.ownerless.0 += 1;
            return;
        }
        // Half-open ones may have none yet.
        self.lacks_cookies |= key.cookie().is_none() && connection.state != TcpState::SynRecv;
        self.names.note(connection, owner, names);
        let owner = self.process(owner);
        self.census.add(key, connection, owner.as_ref(), &self.host, at.ktime);
    }

    /// Takes in a closed socket that is held. Each is to be told before a look.
    pub fn held(&mut self, at: Moment, key: SocketKey, held: &Held, owner: Option<&Owner>, names: &Names) {
        if self.options.needs_owner && owner.is_none() {
            self.ownerless.0 += 1;
            return;
        }
        self.names.note(&held.connection, owner, names);
        let owner = self.process(owner);
        self.census.add_held(key, held, owner.as_ref(), at.ktime);
    }

    /// Takes in what the host says besides.
    pub fn facts(&mut self, host: Host) {
        let named = host.processes.iter().map(|process| process.task);
        self.processes.extend(named.map(|task| ((task.pid, task.started), task.comm)));
        self.last_process = None;
        self.host = host;
    }

    /// What is wrong now. What is open was told before, and has to be told again before the next look.
    pub fn look(&mut self, at: Moment) -> Looked {
        let mut census = std::mem::take(&mut self.census);
        self.ownerless = (0, self.ownerless.0);
        self.uncounted = census.uncounted;
        self.engine(at);
        let Some(engine) = &mut self.engine else { return Looked::default() };
        let found = engine.look(at.ktime, &census, &self.histograms, &self.host);
        let condition = self.options.condition.as_ref();
        let holds = condition.is_some_and(|condition| condition.holds(&found, &Asked(&census, engine)));
        let sockets = census.sockets();
        census.clear();
        self.census = census;
        Looked { found, sockets, holds }
    }

    /// A second is over. Call it each second, after the look at its end, if there is one.
    pub fn second(&mut self, at: Moment) {
        self.engine(at);
        if let Some(engine) = &mut self.engine {
            engine.second(at.ktime, &self.host);
        }
    }

    /// The name of a process: that of its main thread, as far as it was seen.
    pub fn name_of(&self, task: &Task) -> Comm {
        self.processes.get(&(task.pid, task.started)).copied().unwrap_or(task.comm)
    }

    /// Completed stays by service port.
    pub const fn histograms(&self) -> &Histograms {
        &self.histograms
    }

    fn engine(&mut self, at: Moment) -> &mut Engine {
        let options = &self.options;
        self.engine.get_or_insert_with(|| {
            let started = KtimeNs(at.ktime.0.saturating_sub(at.elapsed_ns));
            Engine::new(options.only.as_deref(), options.thresholds.clone(), started)
        })
    }

    /// An owner with the name of its process: that of its main thread, as soon as that is seen.
    fn process(&mut self, owner: Option<&Owner>) -> Option<Owner> {
        let mut owner = *owner?;
        let task = &mut owner.task;
        if let Some((last, name)) = self.last_process
            && last == *task
        {
            task.comm = name;
            return Some(owner);
        }
        if self.processes.len() > MOST_PROCESSES {
            self.processes.clear();
        }
        let known = self.processes.entry((task.pid, task.started)).or_insert(task.comm);
        if task.tid == task.pid {
            *known = task.comm;
        }
        let name = *known;
        self.last_process = Some((*task, name));
        task.comm = name;
        Some(owner)
    }

    /// A socket was made by a call of this stack.
    pub fn made(&mut self, key: SocketKey, frames: Arc<[Frame]>) {
        if self.options.with_stacks {
            self.stacks.remove(&key);
            self.stacks.insert(key, frames);
            if self.stacks.len() > MOST_STACKS {
                self.stacks.pop_front();
            }
        }
    }

    /// A finding with the words that its page has for it, and the names that are known.
    pub fn report(&self, finding: &Finding, status: Status) -> FindingReport {
        let stacks = self.options.with_stacks.then(|| self.stacks_of(finding));
        let cgroup = finding.subject.cgroup.and_then(|id| self.names.cgroups.get(&id));
        let netns = finding.subject.netns.and_then(|inode| self.names.namespaces.get(&inode));
        FindingReport::new(finding, status, (cgroup.cloned(), netns.cloned()), stacks)
    }

    /// The stacks of the calls that made its sockets, the most frequent first, and how many have each.
    fn stacks_of(&self, finding: &Finding) -> Vec<(u64, Arc<[Frame]>)> {
        let mut stacks: Vec<(u64, Arc<[Frame]>)> = Vec::new();
        for frames in finding.keys.iter().filter_map(|key| self.stacks.get(key)) {
            match stacks.iter_mut().find(|(_, known)| known == frames) {
                Some((count, _)) => *count += 1,
                None => stacks.push((1, Arc::clone(frames))),
            }
        }
        stacks.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        stacks
    }

    /// What could not be seen, in words: with so many records lost, and whether time-wait and half-open sockets are seen.
    pub fn not_seen(&self, lost: u64, has_lifecycle: bool) -> Vec<String> {
        let mut not_seen = Vec::new();
        if lost > 0 {
            not_seen.push(format!("{lost} records were lost; open connections were put right afterwards"));
        }
        if self.host.read.is_none() {
            not_seen.push(
                "the kernel's socket tables: nothing that was open before, and no queues, idle times or descriptors"
                    .to_owned(),
            );
        }
        // A few, that may be hundreds.
        not_seen.extend(
            self.host.unread.iter().take(5).map(|why| format!("the sockets of a network namespace: {why}")),
        );
        if self.host.unread.len() > 5 {
            not_seen.push(format!("and of {} more network namespaces", self.host.unread.len() - 5));
        }
        if self.uncounted > 0 {
            not_seen.push(format!("{} sockets one by one: there are too many", self.uncounted));
        }
        if self.host.hidden_processes > 0 {
            let processes = match self.host.hidden_processes {
                1 => "a process".to_owned(),
                count => format!("{count} processes"),
            };
            not_seen
                .push(format!("the descriptors or network namespaces of {processes} with more capabilities"));
        }
        if self.ownerless.1 > 0 {
            not_seen.push(format!(
                "{} sockets whose owner is not known; they may be of those that were asked for",
                self.ownerless.1
            ));
        }
        if self.lacks_cookies {
            not_seen.push(
                "what the kernel's tables tell of single sockets (queues, idle times, what was open before): without cookies they \
                 cannot be told apart"
                    .to_owned(),
            );
        }
        if !has_lifecycle {
            not_seen
                .push("TIME_WAIT, orphaned FIN_WAIT2 and half-open connections (--lifecycle off)".to_owned());
        }
        not_seen
    }

    /// How long what the kernel's tables tell was missed, if the last look at them should have come and has not.
    pub fn overdue_facts(&self, at: Moment) -> Option<String> {
        let age = at.ktime.since(self.host.read?).filter(|age| *age > OVERDUE_NS)?;
        Some(format!(
            "the kernel's socket tables (queues, idle times, descriptors) in the last {} s: they take long to read",
            age / 1_000_000_000
        ))
    }
}
