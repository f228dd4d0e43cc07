//! What is not clear yet when it is reported: transitions that what follows may explain, and timers that were taken off.
//! It is told when it is clear, with its own time-stamp.

use std::collections::VecDeque;

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;

use super::{
    ending::{self, EndCause, OurReset},
    event::{KtimeNs, ResetReceived, ResetSent, SocketKey, Transition, Tuple},
    half_open::HalfOpenEnding,
    state::TcpState,
    table::{Observation, Table},
    time_wait::TimeWaitEnding,
};

/// How long to wait for what would explain it: it follows at once, on the same CPU, in the same call of the kernel. Much
/// longer than that, because the CPU may be taken away meanwhile (seen for more than 20 ms on a virtual machine).
const SETTLED_NS: u64 = 100_000_000;

/// [`Pending::suspects`] at most where each is looked up; beyond that their cause stays unknown.
const MAX_SUSPECTS: usize = 10_000;

/// A transition that was reported and is not applied yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    /// The birth of a listener's child whose request socket is not known: its peer may not be set yet.
    Birth(Transition),
    /// An end around which we may have sent a reset.
    End(Transition),
}

impl Waiting {
    pub(super) const fn transition(&self) -> &Transition {
        match self {
            Self::Birth(transition) | Self::End(transition) => transition,
        }
    }
}

/// A mini-socket whose timer was taken off or has expired: a re-arm follows at once, or it is gone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    TimeWait(TimeWaitEnding),
    HalfOpen(HalfOpenEnding),
}

impl Ending {
    const fn ts(&self) -> KtimeNs {
        match self {
            Self::TimeWait(ending) => ending.event.ts,
            Self::HalfOpen(ending) => ending.ts,
        }
    }
}

type Queue<T> = LinkedHashMap<SocketKey, T, FxBuildHasher>;

/// All that waits, each queue with the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Transitions that what follows may explain.
    pub(super) waiting: Queue<Waiting>,
    /// Ends that may be swaps for time-wait sockets that were not reported: the kernel's tables will tell.
    pub(super) suspects: Queue<Transition>,
    /// Mini-sockets whose timer was taken off or has expired.
    pub(super) endings: Queue<Ending>,
    /// Resets that were sent before the end of their socket was reported.
    sent: Queue<(KtimeNs, OurReset)>,
    /// Resets that sockets took in right before their end.
    received: Queue<KtimeNs>,
    /// Resets that listeners sent for half-open connections.
    pub(super) sent_for_half_open: VecDeque<(KtimeNs, Tuple, OurReset)>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.endings.is_empty()
    }

    /// Whether this socket's state is about to be another one.
    pub(super) fn is_waiting(&self, key: SocketKey) -> bool {
        self.waiting.contains_key(&key) || self.suspects.contains_key(&key) || self.endings.contains_key(&key)
    }

    /// Forgets what a socket waits for that was given up.
    pub(super) fn forget(&mut self, key: SocketKey) {
        self.waiting.remove(&key);
        self.suspects.remove(&key);
        self.endings.remove(&key);
    }
}

impl Table {
    /// Applies what waits for this socket, because something new begins for it.
    pub(super) fn clear_up(&mut self, key: SocketKey, tell: &mut dyn FnMut(&Observation)) {
        // Most often nothing waits.
        if !self.pending.waiting.is_empty()
            && let Some(waiting) = self.pending.waiting.remove(&key)
        {
            self.apply_waiting(waiting, tell);
        }
        if !self.pending.suspects.is_empty()
            && let Some(transition) = self.pending.suspects.remove(&key)
        {
            self.end(&transition, None, Some(EndCause::Unknown), tell);
        }
    }

    /// Takes an end in: at once, or, where what follows can tell more about it, later.
    pub(super) fn note_end(&mut self, transition: &Transition, tell: &mut dyn FnMut(&Observation)) {
        let key = transition.key;
        let mut transition = *transition;
        if self.pending.received.remove(&key).is_some() {
            transition.error = transition.error.or(Some(ending::error_of_reset(transition.old)));
        }
        let transition = &transition;
        if let Some((_, reset)) = self.pending.sent.remove(&key) {
            self.end(transition, Some(reset), None, tell);
        } else if self.sees.resets && ending::awaits_our_reset(transition) {
            self.pending.waiting.insert(key, Waiting::End(*transition));
        } else {
            self.end_or_suspect(transition, tell);
        }
    }

    /// A socket takes a reset in.
    pub(super) fn reset_received(&mut self, event: &ResetReceived) {
        // Its end follows, even if nothing else is known of it.
        self.pending.received.insert(event.key, event.ts);
    }

    /// We sent a reset.
    pub(super) fn reset_sent(&mut self, event: &ResetSent, tell: &mut dyn FnMut(&Observation)) {
        let reset = OurReset { reason: event.reason };
        if let Some(tuple) = event.half_open {
            self.pending.sent_for_half_open.push_back((event.ts, tuple, reset));
        } else if let Some(Waiting::End(transition)) = self.pending.waiting.get(&event.key) {
            let transition = *transition;
            self.pending.waiting.remove(&event.key);
            self.end(&transition, Some(reset), None, tell);
        } else if self.live.contains_key(&event.key) {
            self.pending.sent.insert(event.key, (event.ts, reset));
        }
    }

    /// Time has come to `now`: what was unclear is clear.
    pub fn settle(&mut self, now: KtimeNs, tell: &mut dyn FnMut(&Observation)) {
        self.settle_before(|ts| now.since(ts).is_some_and(|elapsed| elapsed >= SETTLED_NS), tell);
    }

    /// Nothing more will come: what is unclear stays so.
    pub fn settle_all(&mut self, tell: &mut dyn FnMut(&Observation)) {
        self.settle_before(|_| true, tell);
        while let Some((key, _)) = self.pending.suspects.front() {
            let key = *key;
            self.clear_up(key, tell);
        }
    }

    fn settle_before(&mut self, is_settled: impl Fn(KtimeNs) -> bool, tell: &mut dyn FnMut(&Observation)) {
        loop {
            let ending = self.pending.endings.front().map(|(_, ending)| ending.ts());
            let waiting = self.pending.waiting.front().map(|(_, waiting)| waiting.transition().ts);
            let ending = ending.filter(|ts| is_settled(*ts));
            let waiting = waiting.filter(|ts| is_settled(*ts));
            match (ending, waiting) {
                (None, None) => break,
                (Some(ending), waiting) if waiting.is_none_or(|waiting| ending <= waiting) => {
                    match self.pending.endings.pop_front() {
                        Some((_, Ending::TimeWait(ending))) => self.settle_time_wait(&ending, tell),
                        Some((key, Ending::HalfOpen(ending))) => self.settle_half_open(key, &ending, tell),
                        None => {}
                    }
                }
                _ => {
                    if let Some((_, waiting)) = self.pending.waiting.pop_front() {
                        self.apply_waiting(waiting, tell);
                    }
                }
            }
        }
        while let Some((_, (ts, _))) = self.pending.sent.front()
            && is_settled(*ts)
        {
            self.pending.sent.pop_front();
        }
        while let Some((_, ts)) = self.pending.received.front()
            && is_settled(*ts)
        {
            self.pending.received.pop_front();
        }
        while let Some((ts, ..)) = self.pending.sent_for_half_open.front()
            && is_settled(*ts)
        {
            self.pending.sent_for_half_open.pop_front();
        }
    }

    fn apply_waiting(&mut self, waiting: Waiting, tell: &mut dyn FnMut(&Observation)) {
        match waiting {
            Waiting::Birth(transition) => self.begin_without_request(&transition, tell),
            Waiting::End(transition) => self.end_or_suspect(&transition, tell),
        }
    }

    /// We sent no reset, or it is not known.
    fn end_or_suspect(&mut self, transition: &Transition, tell: &mut dyn FnMut(&Observation)) {
        let follows_time_wait = self.sees.minis || self.sees.samples;
        if !follows_time_wait || !ending::may_be_a_swap(transition) {
            self.end(transition, None, None, tell);
        } else if self.sees.tables
            && (self.sees.samples || self.pending.suspects.len() < MAX_SUSPECTS)
            && self.live.get(&transition.key).is_some_and(|known| {
                Tuple::new(known.netns, known.local, known.remote).is_some() && known.netns.is_some()
            })
        {
            self.pending.suspects.insert(transition.key, *transition);
        } else {
            self.end(transition, None, Some(EndCause::Unknown), tell);
        }
    }

    /// Ends that may be swaps: whether there is a time-wait socket in place of each is to be looked up, see
    /// [`Self::correct`].
    pub fn suspects(&self) -> impl Iterator<Item = (SocketKey, super::Connection)> {
        self.pending.suspects.iter().filter_map(|(key, _)| Some((*key, *self.live.get(key)?)))
    }

    /// A look has shown that there is no time-wait socket in its place.
    pub(super) fn acquit(&mut self, key: SocketKey, cause: EndCause, tell: &mut dyn FnMut(&Observation)) {
        if let Some(transition) = self.pending.suspects.remove(&key) {
            self.end(&transition, None, Some(cause), tell);
        }
    }

    /// Applies an end.
    fn end(
        &mut self,
        transition: &Transition,
        reset: Option<OurReset>,
        cause: Option<EndCause>,
        tell: &mut dyn FnMut(&Observation),
    ) {
        debug_assert!(transition.new == TcpState::Close, "only ends wait");
        let mut observed = self.step(transition);
        let cause = cause.or_else(|| reset.map(|_| ending::cause_with_our_reset(transition)));
        if let Some(cause) = cause {
            let who = ending::who_ended(cause);
            // What `sk_err` alone says of a reset may be the wrong way round; a FIN before it stands.
            let is_by_fin = ending::closed_by(&Transition { error: None, ..*transition }).is_some();
            if !is_by_fin && reset.is_some() {
                observed.connection.closed_by = who.or(observed.connection.closed_by);
            }
            observed.connection.end_cause = Some(cause);
            self.rewrite_end(transition.key, &observed.connection);
        }
        observed.reset_reason = reset.and_then(|reset| reset.reason);
        if let Some(held) = self.held.get_mut(&transition.key) {
            held.connection = observed.connection;
        }
        tell(&observed);
    }
}
