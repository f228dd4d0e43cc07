//! What a kernel would report of the steps of a connection.

use std::num::{NonZeroU16, NonZeroU64};

use super::{
    cast::Cast,
    life::{Life, Side},
};
use crate::model::{
    Accepted, Destroyed, Endpoint, Event, Family, KtimeNs, Request, ResetReason, ResetSent, SocketKey,
    TcpState, ThreadId, TimeWait, TimerAction, Transition,
};

/// Between two reports of the same moment.
const STEP_NS: u64 = 200;

/// Where slabs are; cookies and ports tell sockets apart in it.
const SLAB: u64 = 0xffff_8880_0000_0000;

/// `SK_RST_REASON_TCP_ABORT_ON_CLOSE`: close() with linger 0 or with data that was not read.
const ABORT_ON_CLOSE: &str = "TCP_ABORT_ON_CLOSE";

/// An end that is on this host.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) cookie: NonZeroU64,
    /// Its place among all processes.
    pub(super) process: u16,
    pub(super) family: Family,
}

impl End {
    /// The full socket.
    pub(super) const fn key(&self) -> SocketKey {
        SocketKey::from_cookie(self.cookie)
    }

    const fn address(&self) -> SocketKey {
        SocketKey::from_address(SLAB | self.cookie.get() << 11)
    }

    const fn request(&self) -> SocketKey {
        SocketKey::from_address(SLAB | self.cookie.get() << 11 | 1 << 10)
    }
}

/// The address of a listener.
pub(super) fn listener(port: Option<NonZeroU16>) -> SocketKey {
    SocketKey::from_address(SLAB | u64::from(port.map_or(0, NonZeroU16::get)) << 4 | 1)
}

/// Writes reports, each later than the one before.
#[derive(Debug)]
pub(super) struct Teller<'a> {
    pub(super) cast: &'a Cast,
    pub(super) events: &'a mut Vec<Event>,
    /// The last moment.
    pub(super) last: &'a mut u64,
    pub(super) reset_reason: Option<ResetReason>,
}

impl<'a> Teller<'a> {
    /// Of a connection that makes a step.
    pub(super) fn of<'t>(&'t mut self, at: u64, life: &'t Life) -> Telling<'t, 'a> {
        *self.last = (*self.last).max(at);
        Telling { teller: self, life }
    }
}

/// The reason that the kernel gives for resets of ours.
pub(super) fn reset_reason() -> Option<ResetReason> {
    (1..=u8::MAX).map_while(ResetReason::from_number).find(|reason| reason.name() == ABORT_ON_CLOSE)
}

/// Reports of one connection. Of an end on another host there is none.
pub(super) struct Telling<'t, 'a> {
    teller: &'t mut Teller<'a>,
    life: &'t Life,
}

impl Telling<'_, '_> {
    /// A little later than the last one.
    fn now(&mut self) -> KtimeNs {
        *self.teller.last += STEP_NS;
        KtimeNs(*self.teller.last)
    }

    fn tell(&mut self, event: Event) {
        self.teller.events.push(event);
    }

    fn ends(&self, side: Side) -> [Endpoint; 2] {
        self.life.ends(side).map(|(addr, port)| Endpoint { addr: Some(addr), port: Some(port) })
    }

    fn transition(&mut self, side: Side, old: TcpState, new: TcpState) -> Option<Transition> {
        use TcpState::{Close, FinWait1, FinWait2, LastAck, Listen, SynSent};
        let end = *self.life.end(side)?;
        let process = self.teller.cast.at(end.process)?;
        let [local, remote] = self.ends(side);
        // System calls of the owner, as the kernel half has it; the rest is the work of whoever takes segments in.
        let task = Some(process.task)
            .filter(|_| matches!((old, new), (Close, SynSent | Listen)) || matches!(new, FinWait1 | LastAck));
        Some(Transition {
            local,
            remote,
            netns: Some(process.netns),
            uid: Some(process.uid),
            error: Some(0),
            task,
            thread: task.map(|task| task.thread()),
            is_orphan: matches!(new, FinWait2) || matches!((old, new), (LastAck, Close)),
            address: end.address(),
            ..Transition::bare(self.now(), end.key(), end.family, (old, new))
        })
    }

    /// It enters another state.
    pub(super) fn change(&mut self, side: Side, old: TcpState, new: TcpState) {
        if let Some(transition) = self.transition(side, old, new) {
            self.tell(Event::Transition(transition));
        }
    }

    /// It enters CLOSE.
    pub(super) fn end(&mut self, side: Side, old: TcpState, error: u16, is_orphan: bool) {
        if let Some(transition) = self.transition(side, old, TcpState::Close) {
            self.tell(Event::Transition(Transition { error: Some(error), is_orphan, ..transition }));
        }
    }

    /// connect(): the port is chosen after the state is entered.
    pub(super) fn connect(&mut self) {
        if let Some(transition) = self.transition(Side::Client, TcpState::Close, TcpState::SynSent) {
            let local = Endpoint { port: None, ..transition.local };
            self.tell(Event::Transition(Transition { local, ..transition }));
        }
    }

    fn request(&mut self, action: TimerAction) -> Option<Request> {
        let end = *self.life.end(Side::Server)?;
        let process = self.teller.cast.at(end.process)?;
        let [local, remote] = self.ends(Side::Server);
        Some(Request {
            ts: self.now(),
            key: end.request(),
            address: end.request(),
            family: end.family,
            local,
            remote,
            netns: Some(process.netns),
            action,
            listener: Some(listener(process.port)),
            is_acked: false,
        })
    }

    /// A SYN has come, and was answered.
    pub(super) fn request_starts(&mut self) {
        if let Some(request) = self.request(TimerAction::Start) {
            self.tell(Event::Request(request));
        }
    }

    /// It is over with the half-open connection: by time, or by a reset.
    pub(super) fn request_ends(&mut self, is_expired: bool) {
        let action = if is_expired { TimerAction::Expire } else { TimerAction::Cancel };
        if let Some(request) = self.request(action) {
            self.tell(Event::Request(request));
        }
    }

    /// The handshake is complete: the listener's child takes the place of the request socket.
    pub(super) fn child(&mut self) {
        if let Some(birth) = self.transition(Side::Server, TcpState::Listen, TcpState::SynRecv) {
            let port = birth.local.port;
            self.tell(Event::Transition(Transition { listener: Some(listener(port)), ..birth }));
            self.request_ends(false);
            self.change(Side::Server, TcpState::SynRecv, TcpState::Established);
        }
    }

    /// accept() has returned it.
    pub(super) fn accept(&mut self) {
        if let Some(end) = self.life.end(Side::Server).copied()
            && let Some(task) = self.teller.cast.at(end.process).map(|process| process.task)
        {
            let ts = self.now();
            self.tell(Event::Accepted(Accepted { ts, key: end.key(), task }));
        }
    }

    /// A reset was sent.
    pub(super) fn reset_sent(&mut self, side: Side) {
        if let Some(key) = self.life.end(side).map(End::key) {
            let (ts, reason) = (self.now(), self.teller.reset_reason);
            self.tell(Event::ResetSent(ResetSent { ts, key, half_open: None, reason }));
        }
    }

    /// The closed socket is destroyed.
    pub(super) fn let_go(&mut self, side: Side) {
        if let Some(key) = self.life.end(side).map(End::key) {
            let ts = self.now();
            self.tell(Event::Destroyed(Destroyed { ts, key }));
        }
    }

    fn time_wait(&mut self, side: Side, action: TimerAction, state: TcpState) -> Option<TimeWait> {
        let end = *self.life.end(side)?;
        let [local, remote] = self.ends(side);
        let netns = Some(self.teller.cast.at(end.process)?.netns);
        let ts = self.now();
        let is_new = action == TimerAction::Start;
        let entered = Some(if is_new { ts } else { self.life.entered });
        let (key, family, thread) = (end.key(), end.family, ThreadId(0));
        Some(TimeWait { ts, key, family, local, remote, netns, action, state, entered, thread })
    }

    /// A time-wait socket is made, or its time begins again in another state. Returns when.
    pub(super) fn time_wait_starts(&mut self, side: Side, state: TcpState) -> KtimeNs {
        if let Some(time_wait) = self.time_wait(side, TimerAction::Start, state) {
            self.tell(Event::TimeWait(time_wait));
        }
        KtimeNs(*self.teller.last)
    }

    /// Its time is over.
    pub(super) fn time_wait_expires(&mut self, side: Side, state: TcpState) {
        if let Some(time_wait) = self.time_wait(side, TimerAction::Expire, state) {
            self.tell(Event::TimeWait(time_wait));
        }
    }
}
