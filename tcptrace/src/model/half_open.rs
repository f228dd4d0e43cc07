//! Half-open connections: SYN_RECV from the peer's SYN on, which a request socket stands for until the third ACK.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    connection::{Body, Connection},
    ending::{self, EndCause, OurReset},
    event::{KtimeNs, Request, SocketKey, TimeWait, TimerAction, Transition, Tuple},
    observation::Observation,
    pending::Ending,
    state::TcpState,
    table::Table,
};

/// Time-wait sockets that were taken off just now, to be compared with a new request.
const JUST_NOW: usize = 64;

/// Request sockets by addresses and ports, which is how their child is found. The keys are a peer's choice: a hasher with
/// random seeds, which nobody sees the results of.
pub(super) type Requests = HashMap<Tuple, SocketKey, RandomState>;

/// A request socket whose timer was taken off or has expired.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfOpenEnding {
    pub(super) ts: KtimeNs,
    tuple: Tuple,
    is_expired: bool,
    is_acked: bool,
}

impl Table {
    /// Something happened to a request socket.
    pub(super) fn request(&mut self, event: &Request, tell: &mut dyn FnMut(&Observation)) {
        let Some(tuple) = Tuple::new(event.netns, event.local, event.remote) else { return };
        let known = self.requests.get(&tuple).copied();
        match (event.action, known) {
            (TimerAction::Start, None) => {
                self.note_reuse(tuple, tell);
                self.begin_half_open(event, tuple, tell);
            }
            // Armed again, after the SYN-ACK was sent again; or a second SYN that the kernel drops as a duplicate.
            (TimerAction::Start, Some(key)) => {
                // It gets a cookie as soon as somebody lists it.
                let is_same = [event.key, event.address].contains(&key);
                if let Some(Ending::HalfOpen(ending)) = self.pending.endings.remove(&key)
                    && !is_same
                {
                    self.settle_half_open(key, &ending, tell);
                    self.begin_half_open(event, tuple, tell);
                }
            }
            (TimerAction::Cancel | TimerAction::Expire, Some(key)) => {
                let ending = HalfOpenEnding {
                    ts: event.ts,
                    tuple,
                    is_expired: event.action == TimerAction::Expire,
                    is_acked: event.is_acked,
                };
                // Last, so that the queue is in the order of time.
                self.pending.endings.remove(&key);
                self.pending.endings.insert(key, Ending::HalfOpen(ending));
            }
            // Its child is known, which is how most of them end; or it is older than tracing.
            (TimerAction::Cancel | TimerAction::Expire, None) => {}
        }
    }

    fn begin_half_open(&mut self, event: &Request, tuple: Tuple, tell: &mut dyn FnMut(&Observation)) {
        let birth = Transition {
            local: event.local,
            remote: event.remote,
            netns: event.netns,
            listener: event.listener,
            ..Transition::bare(event.ts, event.key, event.family, (TcpState::Listen, TcpState::SynRecv))
        };
        // Its address is that of one that has just ended, before it was clear how: no child can follow that any more.
        if let Some(Ending::HalfOpen(ending)) = self.pending.endings.remove(&event.key) {
            self.settle_half_open(event.key, &ending, tell);
        }
        self.clear_up(event.key, tell);
        let observed = self.step(&birth);
        if let Some(connection) = self.live.get_mut(&event.key) {
            connection.body = Body::Request;
            self.requests.insert(tuple, event.key);
        }
        tell(&observed);
    }

    /// A request that was seen in the kernel's tables is in the table.
    pub(super) fn note_request(&mut self, key: SocketKey, connection: &Connection) {
        if let Some(tuple) = Tuple::new(connection.netns, connection.local, connection.remote) {
            self.requests.insert(tuple, key);
        }
    }

    /// Its connection is given up.
    pub(super) fn forget_request(&mut self, key: SocketKey, connection: &Connection) {
        if connection.body == Body::Request
            && let Some(tuple) = Tuple::new(connection.netns, connection.local, connection.remote)
            && self.requests.get(&tuple) == Some(&key)
        {
            self.requests.remove(&tuple);
        }
    }

    /// A listener's child was made, or reports its first change. Whether it goes on with the life of a request socket.
    pub(super) fn join_request(&mut self, child: &Transition) -> bool {
        let by_tuple = || {
            let tuple = Tuple::new(child.netns, child.local, child.remote)?;
            self.requests.get(&tuple).copied()
        };
        let key = if self.is_request(child.key) { Some(child.key) } else { by_tuple() };
        let Some(key) = key.filter(|key| *key == child.key || !self.live.contains_key(&child.key)) else {
            return false;
        };
        let Some(mut connection) = self.live.remove(&key) else { return false };
        self.forget_request(key, &connection);
        self.pending.endings.remove(&key);
        self.forget_closed(child.key);
        connection.become_full(child);
        self.live.insert(child.key, connection);
        true
    }

    /// A listener's child whose request socket was not seen: answered with a SYN cookie, or its record was lost.
    pub(super) fn begin_without_request(&mut self, birth: &Transition, tell: &mut dyn FnMut(&Observation)) {
        let observed = self.step(birth);
        if let Some(connection) = self.live.get_mut(&birth.key) {
            connection.entered_at_the_latest();
        }
        tell(&observed);
    }

    /// The birth of a listener's child, as the state tracepoint reports it.
    pub(super) fn child(&mut self, birth: &Transition, tell: &mut dyn FnMut(&Observation)) {
        if self.pending.births.contains_key(&birth.key) {
            return self.hold_birth(birth);
        }
        self.clear_up(birth.key, tell);
        let follows_requests = self.sees.minis || self.sees.samples;
        if !birth.is_newborn && self.live.contains_key(&birth.key) && !self.is_request(birth.key) {
            // The end of the one that was there before was missed.
            self.begin_without_request(birth, tell);
        } else if birth.is_newborn || follows_requests && !self.join_request(birth) {
            self.hold_birth(birth);
        } else if !follows_requests {
            self.begin_without_request(birth, tell);
        }
    }

    /// The first change of a listener's child: its peer and its identity are known by now. Its birth may wait for that.
    pub(super) fn first_change(&mut self, next: &Transition, tell: &mut dyn FnMut(&Observation)) {
        if next.old != TcpState::SynRecv {
            return;
        }
        if self.pending.births.is_empty() {
            return;
        }
        for key in [next.key, next.address] {
            if let Some(birth) = self.pending.births.remove(&key) {
                let birth = Transition {
                    key: next.key,
                    local: next.local,
                    remote: next.remote,
                    is_newborn: false,
                    ..birth
                };
                // In the table already when a look at the kernel's tables has found it meanwhile.
                let is_known = self.live.contains_key(&next.key) && !self.is_request(next.key);
                if !is_known && !self.join_request(&birth) {
                    self.begin_without_request(&birth, tell);
                }
                return;
            }
        }
    }

    fn is_request(&self, key: SocketKey) -> bool {
        self.live.get(&key).is_some_and(|connection| connection.body == Body::Request)
    }

    /// Nothing has followed: it is over.
    pub(super) fn settle_half_open(
        &mut self,
        key: SocketKey,
        ending: &HalfOpenEnding,
        tell: &mut dyn FnMut(&Observation),
    ) {
        self.requests.remove(&ending.tuple);
        let Some(connection) = self.live.get(&key) else { return };
        let reset = self.reset_for(ending);
        let cause = match (ending.is_expired, ending.is_acked, reset) {
            (true, true, _) => EndCause::Overflow,
            (true, false, _) if self.is_listening(connection) == Some(false) => EndCause::Unknown,
            (true, false, _) => EndCause::Timeout,
            (false, _, Some(_)) => EndCause::ResetLocal,
            // Its listener is gone: the segment that the peer sent is answered with a reset.
            (false, ..) if self.is_listening(connection) == Some(false) => EndCause::ResetLocal,
            (false, _, None) if self.sees.resets => EndCause::ResetRemote,
            (false, _, None) => EndCause::Unknown,
        };
        let end = super::time_wait::synthetic(connection, key, ending.ts, TcpState::Close);
        let mut observed = self.step(&end);
        observed.connection.end_cause = Some(cause);
        observed.connection.closed_by = ending::who_ended(cause);
        observed.reset_reason = reset.and_then(|reset| reset.reason);
        self.rewrite_end(key, &observed.connection);
        tell(&observed);
    }

    /// The reset that the listener sent for it, if any.
    fn reset_for(&self, ending: &HalfOpenEnding) -> Option<OurReset> {
        let sent = self.pending.sent_for_half_open.iter().rev();
        sent.filter(|(_, tuple, _)| *tuple == ending.tuple).map(|(.., reset)| *reset).next()
    }

    /// A new request from where a time-wait socket that was just taken off leads: the peer's new SYN took its place.
    fn note_reuse(&mut self, tuple: Tuple, tell: &mut dyn FnMut(&Observation)) {
        let mut just_now = self.pending.endings.iter().rev().take(JUST_NOW);
        let reused = just_now.find_map(|(key, ending)| match ending {
            Ending::TimeWait(ending) if is_taken_off(&ending.event, tuple) => Some((*key, ending.event)),
            _ => None,
        });
        if let Some((key, event)) = reused {
            self.pending.endings.remove(&key);
            self.end_time_wait(&event, EndCause::TwReused, tell);
        }
    }
}

fn is_taken_off(event: &TimeWait, tuple: Tuple) -> bool {
    event.action == TimerAction::Cancel && Tuple::new(event.netns, event.local, event.remote) == Some(tuple)
}
