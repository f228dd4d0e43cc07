//! `tcptrace leaks`: looks at the facts every so often, and tells what is wrong.

mod json;
mod report;
mod text;
pub(in crate::output) mod words;

use std::{
    cell::Cell,
    io,
    num::{NonZeroU32, NonZeroU64},
    rc::Rc,
    sync::Arc,
};

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

pub use self::{
    json::FindingsJson,
    report::{FindingReport, LookReport, Status},
    text::{FindingsText, FindingsTextOptions},
};
use super::{Beside, Moment, Names, Notice, Sink, Summary};
use crate::model::{
    Comm, Connection, Frame, Held, KtimeNs, Observation, Owner, ProcessStart, SocketKey, TcpState,
    findings::{
        Census, Engine, Finding, Host, Identity, Severity, Thresholds,
        condition::{Condition, Numbers},
    },
    histogram::{By, Histograms},
};

/// Service ports whose stays are counted by themselves.
const PORTS: usize = 1000;

/// Sockets whose stacks are kept.
const MOST_STACKS: usize = 50_000;

/// A format of findings.
pub trait FindingReporter {
    /// What comes first, once.
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Something was found.
    fn finding(&mut self, at: Moment, finding: &FindingReport) -> io::Result<()>;
    /// What was looked at, in the end.
    fn looked(&mut self, at: Moment, look: &LookReport) -> io::Result<()>;
    /// Anything else that happens, but for closed sockets that are held.
    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()>;
    /// The end.
    fn end(&mut self, _at: Moment, _summary: &Summary) -> io::Result<()> {
        Ok(())
    }
    /// Passes on what was written.
    fn flush(&mut self) -> io::Result<()>;
}

/// What to look for, and what to tell.
#[derive(Clone, Debug, Default)]
pub struct FindingsOptions {
    /// Only these rules.
    pub only: Option<Vec<&'static str>>,
    /// Where the lines are drawn.
    pub thresholds: Thresholds,
    /// Tell what is new, what is worse and what is over at each look, and not only at the end.
    pub is_watch: bool,
    /// Tell the stacks of the sockets.
    pub with_stacks: bool,
    /// Only sockets of some owners are asked for: those whose owner is not known are left out.
    pub needs_owner: bool,
    /// A condition that somebody waits for.
    pub condition: Option<Condition>,
}

/// Looks, and tells.
pub struct Findings {
    options: FindingsOptions,
    reporter: Box<dyn FindingReporter>,
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
    names: Known,
    /// Of the calls that made sockets, the oldest first.
    stacks: LinkedHashMap<SocketKey, Arc<[Frame]>, FxBuildHasher>,
    /// What was found at the last look.
    before: FxHashMap<Identity, (Severity, Finding)>,
    /// The condition has held.
    has_held: Rc<Cell<bool>>,
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

impl Findings {
    /// Tells `reporter`.
    pub fn new(options: FindingsOptions, reporter: Box<dyn FindingReporter>) -> Self {
        Self {
            options,
            reporter,
            engine: None,
            histograms: Histograms::new(By::Port, PORTS),
            host: Host::default(),
            census: Census::default(),
            ownerless: (0, 0),
            uncounted: 0,
            lacks_cookies: false,
            processes: FxHashMap::default(),
            names: Known::default(),
            stacks: LinkedHashMap::default(),
            before: FxHashMap::default(),
            has_held: Rc::default(),
        }
    }

    /// Tells, in the end, whether the condition has held: at the last look, or, when it watches, at any.
    pub fn has_held(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.has_held)
    }

    fn engine(&mut self, at: Moment) -> &mut Engine {
        let options = &self.options;
        self.engine.get_or_insert_with(|| {
            let started = KtimeNs(at.ktime.0.saturating_sub(at.elapsed_ns));
            Engine::new(options.only.as_deref(), options.thresholds.clone(), started)
        })
    }

    /// What is wrong now. The census is used up.
    fn look(&mut self, at: Moment) -> (Vec<Finding>, u64) {
        let census = std::mem::take(&mut self.census);
        self.ownerless = (0, self.ownerless.0);
        self.uncounted = census.uncounted;
        self.engine(at);
        let Some(engine) = &mut self.engine else { return (Vec::new(), 0) };
        let found = engine.look(at.ktime, &census, &self.histograms, &self.host);
        if let Some(condition) = &self.options.condition {
            let holds = condition.holds(&found, &Asked(&census, engine));
            self.has_held.set(holds || self.options.is_watch && self.has_held.get());
        }
        (found, census.sockets())
    }

    /// An owner with the name of its process: that of its main thread, as soon as that is seen.
    fn process(&mut self, owner: Option<&Owner>) -> Option<Owner> {
        const MOST: usize = 20_000;
        let mut owner = *owner?;
        let task = &mut owner.task;
        if self.processes.len() > MOST {
            self.processes.clear();
        }
        let known = self.processes.entry((task.pid, task.started)).or_insert(task.comm);
        if task.tid == task.pid {
            *known = task.comm;
        }
        task.comm = *known;
        Some(owner)
    }

    /// A socket was made by a call of this stack.
    fn made(&mut self, key: SocketKey, frames: Arc<[Frame]>) {
        if self.options.with_stacks {
            self.stacks.remove(&key);
            self.stacks.insert(key, frames);
            if self.stacks.len() > MOST_STACKS {
                self.stacks.pop_front();
            }
        }
    }

    fn report(&self, finding: &Finding, status: Status) -> FindingReport {
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

    fn tell_changes(&mut self, at: Moment, found: Vec<Finding>) -> io::Result<()> {
        let mut now: FxHashMap<Identity, (Severity, Finding)> = FxHashMap::default();
        for finding in found {
            let before = self.before.remove(&finding.identity()).map(|(severity, _)| severity);
            let status = match before {
                None => Some(Status::New),
                Some(severity) if finding.severity > severity => Some(Status::Worse),
                Some(_) => None,
            };
            if let Some(status) = status {
                self.reporter.finding(at, &self.report(&finding, status))?;
            }
            // What wavers between two severities is told once.
            let severity = before.unwrap_or(finding.severity).max(finding.severity);
            now.insert(finding.identity(), (severity, finding));
        }
        let mut gone: Vec<Finding> =
            std::mem::replace(&mut self.before, now).into_values().map(|(_, finding)| finding).collect();
        gone.sort_by_cached_key(|finding| (finding.rule, format!("{:?}", finding.subject)));
        for finding in gone {
            self.reporter.finding(at, &self.report(&finding, Status::Gone))?;
        }
        Ok(())
    }

    /// What could not be seen, in words.
    fn not_seen(&self, summary: &Summary) -> Vec<String> {
        let mut not_seen = Vec::new();
        if summary.lost > 0 {
            not_seen.push(format!(
                "{} records were lost; open connections were put right afterwards",
                summary.lost
            ));
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
        if summary.lifecycle == "off" {
            not_seen
                .push("TIME_WAIT, orphaned FIN_WAIT2 and half-open connections (--lifecycle off)".to_owned());
        }
        not_seen
    }
}

impl Sink for Findings {
    fn begin(&mut self) -> io::Result<()> {
        self.reporter.begin()
    }

    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        self.histograms.add(observed);
        let owner = self.process(observed.owner.as_ref());
        self.engine(at).add(&Observation { owner, ..*observed });
        let (transition, stack) = (&observed.transition, beside.stack);
        match (transition.new, stack) {
            (TcpState::SynSent, Some(frames)) => self.made(transition.key, frames.into()),
            // What is held after its end was made somewhere, too.
            (TcpState::Close, _) if transition.is_orphan => drop(self.stacks.remove(&transition.key)),
            _ => {}
        }
        Ok(())
    }

    fn accepted(&mut self, key: SocketKey, stack: &Arc<[Frame]>) {
        self.made(key, Arc::clone(stack));
    }

    fn wants_open(&self) -> bool {
        true
    }

    fn wants_facts(&self) -> Option<u64> {
        // 2 % of a processor for as long as it takes, or 20 % for some seconds.
        Some(if self.options.is_watch { 50 } else { 4 })
    }

    fn facts(&mut self, host: Host) {
        let named = host.processes.iter().map(|process| process.task);
        self.processes.extend(named.map(|task| ((task.pid, task.started), task.comm)));
        self.host = host;
    }

    fn open(
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

    fn held(&mut self, at: Moment, key: SocketKey, held: &Held, owner: Option<&Owner>, names: &Names) {
        if self.options.needs_owner && owner.is_none() {
            self.ownerless.0 += 1;
            return;
        }
        self.names.note(&held.connection, owner, names);
        let owner = self.process(owner);
        self.census.add_held(key, held, owner.as_ref(), at.ktime);
    }

    fn interval(&mut self, at: Moment) -> io::Result<()> {
        let (found, _) = self.look(at);
        if self.options.is_watch { self.tell_changes(at, found) } else { Ok(()) }
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        match notice {
            // They are in the findings.
            Notice::Held(..) => Ok(()),
            notice => self.reporter.notice(at, notice),
        }
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        let (found, sockets) = self.look(at);
        let count = found.len() as u64;
        if self.options.is_watch {
            self.tell_changes(at, found)?;
        } else {
            for finding in &found {
                self.reporter.finding(at, &self.report(finding, Status::New))?;
            }
        }
        let look = LookReport {
            sockets,
            findings: count,
            seconds: summary.duration_s,
            not_seen: self.not_seen(summary),
        };
        self.reporter.looked(at, &look)?;
        self.reporter.end(at, summary)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reporter.flush()
    }
}
