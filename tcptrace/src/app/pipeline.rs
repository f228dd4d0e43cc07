//! The way of an event through model and output: one for live, replayed and synthetic events.

use std::{borrow::Cow, cell::RefCell, io, num::NonZeroU32};

use crate::{
    model::{
        Accepted, Candidate, Event, Filter, KtimeNs, Limits, Look, Lost, NetnsName, Observation, Owner,
        OwnerIs, Sampled, Sees, SocketKey, Stacks, Table, Task, TcpState, Transition, findings::Host,
    },
    output::{Audit, Beside, Moment, Nameless, Names, Naming, Notice, Sink, Summary, Symbolise, SynCookies},
    source::{Batch, clock::WallClock},
};

/// Table, filter and sink, put together.
pub struct Pipeline {
    pub(super) table: Table,
    pub(super) filter: Filter,
    sink: Box<dyn Sink>,
    pub(super) naming: RefCell<Box<dyn Naming>>,
    source_decides_owners: bool,
    /// Where stacks are asked for.
    symbols: Option<Box<dyn Symbolise>>,
    pub(super) stacks: Stacks,
    started: KtimeNs,
    wall_clock: WallClock,
    shown: u64,
    pub(super) syncookies: u64,
    audits: u64,
    drift: u64,
}

impl Pipeline {
    /// Writes what comes first. `started` is a moment at which the source was already on.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn begin(
        started: KtimeNs,
        limits: Limits,
        filter: Filter,
        mut sink: Box<dyn Sink>,
        wall_clock: WallClock,
    ) -> io::Result<Self> {
        sink.begin()?;
        sink.flush()?;
        Ok(Self {
            table: Table::new(started, limits),
            filter,
            sink,
            naming: RefCell::new(Box::new(Nameless::default())),
            source_decides_owners: false,
            symbols: None,
            stacks: Stacks::default(),
            started,
            wall_clock,
            shown: 0,
            syncookies: 0,
            audits: 0,
            drift: 0,
        })
    }

    /// Who knows names of cgroups and namespaces. Nobody does at first.
    pub fn set_naming(&mut self, naming: Box<dyn Naming>) {
        self.naming = RefCell::new(naming);
    }

    /// Whether the source reports nothing more of a connection once its owner is known and not asked for. It can be
    /// forgotten then.
    pub const fn set_source_decides_owners(&mut self, decides: bool) {
        self.source_decides_owners = decides;
    }

    /// Who knows what code is behind the addresses of stacks.
    pub fn set_symbols(&mut self, symbols: Box<dyn Symbolise>) {
        self.symbols = Some(symbols);
    }

    /// Names that were found for network namespaces.
    pub fn report_namespaces(&mut self, namespaces: Vec<(NonZeroU32, NetnsName)>) {
        self.naming.get_mut().report(namespaces);
    }

    /// What the source reports, see [`Table::set_sees`].
    pub const fn set_sees(&mut self, sees: Sees) {
        self.table.set_sees(sees);
    }

    /// Takes a batch in and writes the lines for it.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn take(&mut self, batch: &Batch, wall_clock: WallClock) -> io::Result<()> {
        self.wall_clock = wall_clock;
        self.naming.get_mut().begin();
        for lost in &batch.lost {
            self.lost(lost)?;
        }
        for stack in &batch.stacks {
            self.stacks.wait(stack.clone());
        }
        for event in &batch.events {
            self.note_stack(event);
            if let (Event::Forked(forked), Some(processes)) = (event, &mut self.filter.processes) {
                processes.forked(forked);
            }
            self.tell(|table, tell| table.apply(event, tell))?;
            if let Event::Accepted(accepted) = event {
                if let Some(frames) = self.stacks.last(accepted.key) {
                    self.sink.accepted(accepted.key, frames);
                }
                self.accepted(accepted);
            }
        }
        self.tell(|table, tell| table.settle(batch.taken, tell))?;
        self.stacks.settle(batch.taken);
        if let Some(lost) = self.table.missed(batch.missed, batch.taken) {
            self.notice(lost.noticed, &Notice::Lost(&lost))?;
        }
        self.sink.flush()
    }

    /// A look at all sockets of the host is under way: [`Self::seed`] will follow.
    pub fn expect_seed(&mut self) {
        self.table.expect_seed();
    }

    /// Takes in what was open before the start, see [`Table::seed`].
    pub fn seed(&mut self, sampled: &[Sampled]) {
        self.table.seed(&self.wanted(sampled));
    }

    /// Holds the table against the kernel's own, see [`Table::heal`]. Returns how many connections were put right.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn heal(&mut self, look: &Look<'_>) -> io::Result<u64> {
        self.correct(look.sampled, &[])?;
        let sampled = self.wanted(look.sampled);
        let drifts = self.table.heal(&Look { sampled: &sampled, ..*look });
        for drift in &drifts {
            tracing::info!("put right: {drift}");
        }
        Ok(drifts.len() as u64)
    }

    /// The same, and tells what it was.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn audit(&mut self, look: &Look<'_>) -> io::Result<()> {
        let drift = self.heal(look)?;
        self.audits += 1;
        self.drift += drift;
        let sockets = look.sampled.len() as u64;
        self.notice(look.ended, &Notice::Audit(Audit { sockets, drift }))?;
        self.sink.flush()
    }

    /// Takes in where time-wait and request sockets are, see [`Table::resample`].
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn resample(&mut self, look: &Look<'_>) -> io::Result<()> {
        let sampled = self.wanted(look.sampled).into_owned();
        self.tell(|table, tell| table.resample(&Look { sampled: &sampled, ..*look }, tell))?;
        self.sink.flush()
    }

    /// Takes in where orphans are, see [`Table::correct`].
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn correct(&mut self, sampled: &[Sampled], asked: &[SocketKey]) -> io::Result<()> {
        self.tell(|table, tell| table.correct(sampled, asked, tell))?;
        self.sink.flush()
    }

    /// Takes in who holds sockets, see [`Table::note_holders`].
    pub fn note_holders(&mut self, holders: &[(SocketKey, Task)]) {
        self.table.note_holders(holders);
    }

    /// Whether the output wants to know what findings are made of, see [`Sink::wants_facts`].
    pub fn wants_facts(&self) -> Option<u64> {
        self.sink.wants_facts()
    }

    /// Takes that in.
    pub fn note_facts(&mut self, host: Host) {
        self.sink.facts(host);
    }

    /// The kernel answers SYNs with cookies.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn syncookies(&mut self, at: KtimeNs, cookies: SynCookies) -> io::Result<()> {
        self.syncookies += cookies.sent;
        self.notice(at, &Notice::SynCookies(cookies))?;
        self.sink.flush()
    }

    /// Whether something waits for time to pass: call [`Self::take`] again soon, with an empty batch if need be.
    pub fn is_unsettled(&self) -> bool {
        self.table.is_unsettled()
    }

    fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        self.table.lost(lost);
        self.notice(lost.noticed, &Notice::Lost(lost))
    }

    fn notice(&mut self, at: KtimeNs, notice: &Notice<'_>) -> io::Result<()> {
        self.sink.notice(self.moment(at), notice)
    }

    /// Looks up the stack of a call that is about to be told.
    fn note_stack(&mut self, event: &Event) {
        let Some(symbols) = &mut self.symbols else { return };
        let (ts, key, thread) = match event {
            Event::Transition(Transition { ts, key, thread: Some(thread), .. }) => (*ts, *key, *thread),
            Event::Accepted(accepted) => (accepted.ts, accepted.key, accepted.task.thread()),
            _ => return,
        };
        match self.stacks.take(ts, key, thread) {
            Some(stack) => self.stacks.remember(key, symbols.frames(&stack)),
            // That of an earlier call would be taken for this one's.
            None => self.stacks.forget(key),
        }
    }

    /// Nothing more will be reported of a connection that was accepted by somebody who is not asked for.
    fn accepted(&mut self, event: &Accepted) {
        if self.source_decides_owners && self.filter.asks_for_owners() {
            let owner = Owner { task: event.task, is: OwnerIs::Caller };
            let names = self.naming.get_mut().names(Some(&owner), None);
            if !self.filter.keeps_owner(Some(&owner), names.cgroup.as_deref()) {
                self.table.forget(event.key);
            }
        }
    }

    /// Of what was seen in the kernel's tables, what is or may become of interest.
    fn wanted<'a>(&self, sampled: &'a [Sampled]) -> Cow<'a, [Sampled]> {
        if self.filter.is_decidable_early() {
            let wanted = sampled.iter().filter(|socket| self.filter.may_want_sampled(socket));
            Cow::Owned(wanted.copied().collect())
        } else {
            Cow::Borrowed(sampled)
        }
    }

    /// Lets the table work and writes what it tells, as far as it is asked for.
    fn tell(&mut self, work: impl FnOnce(&mut Table, &mut dyn FnMut(&Observation))) -> io::Result<()> {
        let mut result = Ok(());
        let (started, wall_clock) = (self.started, self.wall_clock);
        let wants_names = self.filter.cgroup.is_some() || self.sink.wants_names();
        let decides_owners = self.source_decides_owners && self.filter.asks_for_owners();
        let forgets = self.filter.is_decidable_early();
        let mut unwanted = Vec::new();
        let nameless = Names::default();
        let naming = self.naming.get_mut();
        work(&mut self.table, &mut |observed| {
            if result.is_err() {
                return;
            }
            let names = if wants_names {
                naming.names(observed.owner.as_ref(), observed.connection.netns)
            } else {
                &nameless
            };
            let is_owned = observed.owner.is_some_and(|owner| owner.is == OwnerIs::Caller);
            let is_others = is_owned
                && decides_owners
                && observed.connection.state != TcpState::Listen
                && !self.filter.keeps_owner(observed.owner.as_ref(), names.cgroup.as_deref());
            if is_others || forgets && !self.filter.may_want_more(&observed.connection) {
                // Of those that are not in a state that is asked for any more the rest is not.
                let was_wanted = self.filter.may_want(&Candidate::of(&observed.connection)) && !is_others;
                unwanted.push((observed.transition.key, was_wanted));
            }
            if self.filter.keeps(observed, names.cgroup.as_deref()) {
                self.shown += 1;
                let at = moment(observed.transition.ts, started, wall_clock);
                let (stack, is_new_stack) = self.stacks.tell(observed.transition.key).unzip();
                let is_new_stack = is_new_stack.unwrap_or(false);
                result = self.sink.transition(at, observed, Beside { names, stack, is_new_stack });
            }
            if observed.transition.new == TcpState::Close {
                self.stacks.forget(observed.transition.key);
            }
        });
        for (key, was_wanted) in unwanted {
            if was_wanted {
                self.table.let_go(key);
            } else {
                self.table.forget(key);
            }
        }
        result
    }

    /// An interval is over: the sink is told which connections are open, and that.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn interval(&mut self, now: KtimeNs) -> io::Result<()> {
        self.tell_open(now);
        self.sink.interval(self.moment(now))?;
        self.sink.flush()
    }

    /// Tells the sink which of the connections that are asked for are open.
    fn tell_open(&mut self, now: KtimeNs) {
        if !self.sink.wants_open() {
            return;
        }
        let at = self.moment(now);
        let naming = self.naming.get_mut();
        naming.begin();
        for (key, connection) in self.table.live() {
            let owner = self.table.owner_of(connection);
            let names = naming.names(owner.as_ref(), connection.netns);
            if self.filter.keeps(&Observation::of_state(*key, connection, owner), names.cgroup.as_deref()) {
                self.sink.open(at, *key, connection, owner.as_ref(), names);
            }
        }
        for (key, held) in self.table.held() {
            let owner = self.table.owner_of(&held.connection);
            let names = naming.names(owner.as_ref(), held.connection.netns);
            if self.filter.keeps_held(*key, held, owner, names.cgroup.as_deref()) {
                self.sink.held(at, *key, held, owner.as_ref(), names);
            }
        }
    }

    /// Writes the end. `complete` adds what only the caller knows to the summary.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn end(&mut self, now: KtimeNs, complete: impl FnOnce(Summary) -> Summary) -> io::Result<Summary> {
        self.tell(Table::settle_all)?;
        self.tell_open(now);
        let at = self.moment(now);
        let naming = self.naming.get_mut();
        for (key, held) in self.table.held() {
            let owner = self.table.owner_of(&held.connection);
            let names = naming.names(owner.as_ref(), held.connection.netns);
            if self.filter.keeps_held(*key, held, owner, names.cgroup.as_deref()) {
                self.sink.notice(at, &Notice::Held(*key, held, owner, names.clone()))?;
            }
        }
        let mut summary = Summary::new(self.table.counters(), self.table.live().len());
        summary.shown = self.shown;
        summary.held = self.table.held().len() as u64;
        summary.syncookies = self.syncookies;
        summary.audits = self.audits;
        summary.drift = self.drift;
        let summary = complete(summary);
        self.sink.end(at, &summary)?;
        self.sink.flush()?;
        Ok(summary)
    }

    /// The table as it is now.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// A moment of the kernel's clock, for people.
    pub(super) fn moment(&self, ktime: KtimeNs) -> Moment {
        moment(ktime, self.started, self.wall_clock)
    }
}

fn moment(ktime: KtimeNs, started: KtimeNs, wall_clock: WallClock) -> Moment {
    Moment { ktime, unix_ns: wall_clock.unix_ns(ktime), elapsed_ns: ktime.since(started).unwrap_or(0) }
}
