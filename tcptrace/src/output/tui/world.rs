//! What the view shows, whoever knows it: a live host, a synthetic one, or a file.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
    ops::Range,
    sync::Arc,
};

use crate::{
    model::{
        Cgroup, Comm, Connection, Filter, KtimeNs, Observation, Owner, OwnerIs, SocketKey, TcpState,
        Transition, histogram::Ending,
    },
    output::{Moment, Names, findings::FindingReport},
};

/// How many states there are.
pub const STATES: usize = TcpState::ALL.len();

/// Seconds that are remembered one by one.
pub const SECONDS: usize = 300;

/// The place of a state in an array of [`STATES`].
pub fn place(state: TcpState) -> usize {
    usize::from(state.raw()) - 1
}

/// All that is known at one moment. Everything but [`Self::each`] is cheap: it was added up before.
pub trait World {
    /// The moment that is shown.
    fn now(&self) -> Moment;

    /// Where it comes from and how well it is seen, in words.
    fn about(&self) -> &About;

    /// Counts and rates of all connections.
    fn overview(&self) -> &Overview;

    /// By service port, as the last walk over all connections has shown them.
    fn ports(&self) -> &[PortRow];

    /// By process, the same.
    fn processes(&self) -> &[ProcessRow];

    /// How many ports and how many processes there was no room for: they are summed up in the rows without one.
    fn left_out(&self) -> (usize, usize);

    /// When that walk was; `None` before the first.
    fn walked(&self) -> Option<KtimeNs>;

    /// Transitions by kind since the start.
    fn arrows(&self) -> &[Arrow];

    /// What is wrong.
    fn found(&self) -> &Found;

    /// How many connections [`Self::each`] would go through if nothing was filtered, as the last walk has shown, with what was
    /// seen to change since.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes through all connections that the filter keeps: those that are open, those that are closed and remembered, and
    /// closed sockets that are held.
    fn each(&self, filter: &Filter, visit: &mut dyn FnMut(Row));

    /// One of them; `None` when nothing is known of it any more.
    fn row(&self, key: SocketKey) -> Option<Row>;

    /// Names for the owner's cgroup and the network namespace of a row.
    fn names(&self, row: &Row) -> Names;

    /// The functions of the last call on its socket, the innermost first, where stacks are taken.
    fn stack(&self, key: SocketKey) -> Option<Vec<String>>;
}

/// Where what is shown comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// `live`, `demo`
    pub source: String,
    /// Name of the host, harmless.
    pub host: String,
    /// `hook btf, lifecycle timer, accept syscall`
    pub ways: String,
    /// The flags that select, as typed; empty when nothing was.
    pub selection: String,
    /// Whether stacks are taken.
    pub has_stacks: bool,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It is open: in any state but CLOSE.
    Open,
    /// The kernel has closed it while a descriptor holds it.
    Held,
    /// It is over.
    Closed,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Its socket.
    pub key: SocketKey,
    /// What it stands for.
    pub kind: Kind,
    /// What is known of it; of a held one its last connection.
    pub connection: Connection,
    /// Who owns it.
    pub owner: Option<Owner>,
    /// Since when it is held or closed.
    pub closed: Option<KtimeNs>,
    /// Of a held one: records were lost since, so that it may have been let go.
    pub is_doubtful: bool,
}

impl Row {
    /// The state that it is in: a held or closed one is in CLOSE.
    pub const fn state(&self) -> TcpState {
        match self.kind {
            Kind::Open => self.connection.state,
            Kind::Held | Kind::Closed => TcpState::Close,
        }
    }

    /// Nanoseconds in its state, as far as known, and whether that is a lower bound.
    pub fn age(&self, now: KtimeNs) -> (Option<u64>, bool) {
        match self.closed {
            Some(closed) => (now.since(closed), false),
            None => self.connection.age(now),
        }
    }

    /// Whether the filter keeps it. `cgroup` is its owner's, where that is known.
    pub fn is_kept_by(&self, filter: &Filter, cgroup: Option<&Cgroup>) -> bool {
        let Some(owner) = judged(filter, self.owner) else { return false };
        let observed = Observation::of_state(self.key, &self.connection, owner);
        let state = self.state();
        let transition = Transition { old: state, new: state, ..observed.transition };
        filter.keeps(&Observation { transition, ..observed }, cgroup)
    }
}

/// By whom a filter of the view judges a connection; `None`: it is not kept. A line for each change is kept until its owner is
/// known; of a list that is asked for somebody's, those of nobody known would be most, and would stay. What waits to be accepted is
/// its listener's.
pub fn judged(filter: &Filter, owner: Option<Owner>) -> Option<Option<Owner>> {
    if filter.asks_for_owners() {
        owner.map(|owner| Some(Owner { is: OwnerIs::Caller, ..owner }))
    } else {
        Some(owner)
    }
}

/// Counts and rates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overview {
    /// By [`place`]; none is in CLOSE, see `held`.
    pub states: [StateCount; STATES],
    /// Closed sockets that are held.
    pub held: u64,
    /// Connections that began, by second, the oldest first; at most [`SECONDS`], those that were open before the start not
    /// among them.
    pub opened: Vec<u64>,
    /// Connections that ended, the same.
    pub closed: Vec<u64>,
    /// All that began since the start.
    pub opened_total: u64,
    /// All that ended since the start.
    pub closed_total: u64,
    /// How connections ended since the start, and how many of them in the last 60 s.
    pub endings: [(u64, u64); Ending::ALL.len()],
    /// Transitions since the start.
    pub transitions: u64,
    /// Transitions in the last whole second.
    pub transitions_per_s: u64,
    /// Records that were lost since the start.
    pub lost: u64,
    /// When that was noticed last.
    pub lost_at: Option<KtimeNs>,
    /// Connections that were given up because the table was full.
    pub evicted: u64,
    /// SYNs answered with cookies: half-open connections that cannot be seen.
    pub syncookies: u64,
    /// Transitions whose old state was not the one the connection was in.
    pub gaps: u64,
    /// Our own share of one processor in the last seconds, 1.0 is all of it; `None` before it is known.
    pub own_cpu: Option<f64>,
}

/// Connections in one state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateCount {
    /// How many now: counted at the last walk, with what was seen to change since.
    pub count: u64,
    /// How many at the end of each second, the oldest first, at most [`SECONDS`].
    pub history: Vec<u64>,
}

impl StateCount {
    /// By how many there are more than that many seconds ago; `None` when that was before the start.
    pub fn change(&self, seconds: usize) -> Option<i64> {
        let before = *self.history.len().checked_sub(seconds).and_then(|at| self.history.get(at))?;
        i64::try_from(self.count).ok()?.checked_sub(i64::try_from(before).ok()?)
    }
}

/// Connections of one service port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortRow {
    /// The service's port; `None` where the role of the connections is not known.
    pub port: Option<NonZeroU16>,
    /// Now, by [`place`].
    pub counts: [u64; STATES],
    /// Closed sockets that are held.
    pub held: u64,
    /// The process that owns most of them, where one is known, and how many others there are.
    pub owner: Option<(Comm, u64)>,
    /// Median and 99 % quantile of completed stays by [`place`], in nanoseconds.
    pub stays: [Option<(u64, u64)>; STATES],
    /// Ended since the start, by [`Ending`].
    pub endings: [u64; Ending::ALL.len()],
    /// Transitions since the start.
    pub transitions: u64,
}

/// Connections of one process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessRow {
    /// `None` together: connections whose owner is not known or that have none.
    pub pid: Option<NonZeroU32>,
    /// Its name.
    pub comm: Option<Comm>,
    /// Its cgroup, with the container, pod or unit that it tells of.
    pub cgroup: Option<Arc<Cgroup>>,
    /// Now, by [`place`].
    pub counts: [u64; STATES],
    /// Closed sockets that are held.
    pub held: u64,
    /// Of those that its listeners got and nobody has accepted yet, how many.
    pub not_accepted: u64,
    /// Different peers' addresses among the connections, and the one with the most.
    pub peers: (u64, Option<IpAddr>),
    /// The longest time in CLOSE_WAIT, and whether that is a lower bound.
    pub oldest_close_wait: Option<(u64, bool)>,
    /// Service ports of its connections, the busiest first, a few.
    pub ports: Vec<NonZeroU16>,
}

/// Transitions from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The state that was left.
    pub from: TcpState,
    /// The state that was entered.
    pub to: TcpState,
    /// How often.
    pub count: u64,
    /// Median of the completed stays in the state that was left, in nanoseconds.
    pub p50_ns: Option<u64>,
}

/// What is wrong, as far as was looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// When was looked last; `None` before the first look.
    pub looked: Option<KtimeNs>,
    /// Sockets that were looked at.
    pub sockets: u64,
    /// What is wrong now, the worst first, each with the moment when it was first found.
    pub findings: Vec<(Moment, FindingReport)>,
    /// What is over, the latest first, a few, each with the moment when it was found to be over.
    pub over: Vec<(Moment, FindingReport)>,
    /// What could not be seen, in words.
    pub not_seen: Vec<String>,
}

/// The language of the selection flags, for the filter line.
pub trait FilterLanguage {
    /// Reads a line such as `--port 443 --state close-wait`.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    fn parse(&self, line: &str) -> Result<Filter, FilterError>;

    /// What somebody may not have meant in a line that is right.
    fn note(&self, line: &str) -> Option<String>;

    /// What is wrong with a line that is being typed, as soon as nothing that is typed at its end can put it right. Asked at
    /// each key: the host is not looked at.
    fn wrong_for_good(&self, line: &str) -> Option<FilterError>;

    /// Where the word begins that the line ends in; its length where it ends in none.
    fn last_word(&self, line: &str) -> usize;

    /// What can stand at the end of `line`, which is cut at the cursor: whole words with what they mean, the best first.
    fn complete(&self, line: &str) -> Vec<Completion>;
}

/// A word that could be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Takes the place of the word that the line ends in, as [`FilterLanguage::last_word`] knows it.
    pub word: String,
    /// What it does.
    pub help: String,
}

/// What is wrong with a filter line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Where, in bytes of the line, at borders of characters.
    pub at: Range<usize>,
    /// What, and what is accepted.
    pub message: String,
}
