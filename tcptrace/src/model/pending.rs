//! What is not clear yet when it is reported: transitions that what follows may explain, and timers that were taken off.
//! It is told when it is clear, with its own time-stamp.

use std::collections::VecDeque;

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;

use super::{
    ending::{self, EndCause, OurReset},
    event::{KtimeNs, ResetReceived, ResetSent, SocketKey, Transition, Tuple},
    half_open::HalfOpenEnding,
    observation::Observation,
    state::TcpState,
    table::Table,
    time_wait::TimeWaitEnding,
};

/// How long to wait for what would explain it: it follows at once, on the same CPU, in the same call of the kernel. Much
/// longer than that, because the CPU may be taken away meanwhile (seen for more than 20 ms on a virtual machine).
const SETTLED_NS: u64 = 100_000_000;

/// [`Pending::suspects`] at most where each is looked up; beyond that their cause stays unknown.
const MAX_SUSPECTS: usize = 10_000;

/// [`Pending::births`] at most; beyond that the oldest are taken for stillborn.
const MAX_BIRTHS: usize = 10_000;

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
    /// Ends around which we may have sent a reset.
    pub(super) waiting: Queue<Transition>,
    /// Births of listeners' children whose request socket is not known, until their first change, which may have their
    /// peer and identity for the first time. It may never come: where two processors take in segments of a half-open
    /// connection at once, both make a child, and one of them is thrown away without a word
    /// (`inet_csk_complete_hashdance`).
    pub(super) births: Queue<Transition>,
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
        [&self.waiting, &self.births, &self.suspects].iter().any(|queue| queue.contains_key(&key))
            || self.endings.contains_key(&key)
    }

    /// Forgets what a socket waits for that was given up.
    pub(super) fn forget(&mut self, key: SocketKey) {
        for queue in [&mut self.waiting, &mut self.births, &mut self.suspects] {
            queue.remove(&key);
        }
        self.endings.remove(&key);
    }
}

impl Table {
    /// Applies what waits for this socket, because something new begins for it.
    pub(super) fn clear_up(&mut self, key: SocketKey, tell: &mut dyn FnMut(&Observation)) {
        // Most often nothing waits.
        if !self.pending.births.is_empty()
            && let Some(birth) = self.pending.births.remove(&key)
        {
            self.begin_without_request(&birth, tell);
        }
        if !self.pending.waiting.is_empty()
            && let Some(end) = self.pending.waiting.remove(&key)
        {
            self.end_or_suspect(&end, tell);
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
            self.pending.waiting.insert(key, *transition);
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
        } else if let Some(transition) = self.pending.waiting.remove(&event.key) {
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
        while self.pending.births.pop_front().is_some() {
            self.counters.unborn += 1;
        }
        while let Some((key, _)) = self.pending.suspects.front() {
            let key = *key;
            self.clear_up(key, tell);
        }
    }

    fn settle_before(&mut self, is_settled: impl Fn(KtimeNs) -> bool, tell: &mut dyn FnMut(&Observation)) {
        loop {
            let ending = self.pending.endings.front().map(|(_, ending)| ending.ts());
            let waiting = self.pending.waiting.front().map(|(_, end)| end.ts);
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
                    if let Some((_, end)) = self.pending.waiting.pop_front() {
                        self.end_or_suspect(&end, tell);
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

    /// Holds a birth back until the child's first change.
    pub(super) fn hold_birth(&mut self, birth: &Transition) {
        // Another child under this key: the one before was thrown away.
        let mut unborn = u64::from(self.pending.births.insert(birth.key, *birth).is_some());
        if self.pending.births.len() > MAX_BIRTHS
            && let Some((_, oldest)) = self.pending.births.pop_front()
        {
            unborn += 1;
            // Should it show up nevertheless, it has not been there for longer than since then.
            self.forget_before(oldest.ts);
        }
        self.counters.unborn += unborn;
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
