//! What a run has seen, at its end.

use std::fmt;

use serde::Serialize;

use crate::model::Counters;

/// The summary of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Transitions, those that time-wait sockets tell included.
    pub events: u64,
    /// Transitions that the filter let through.
    pub shown: u64,
    /// Transitions that are known to have happened but did not arrive.
    pub lost: u64,
    /// Connections that were read when tracing began.
    pub seeded: u64,
    /// Lives begun: `closed + live + let_go + evicted`.
    pub opened: u64,
    /// Lives ended.
    pub closed: u64,
    /// Alive at the end.
    pub live: u64,
    /// Not followed any further, as the filter did not ask for what may have become of them.
    pub let_go: u64,
    /// Live connections given up because the table was full.
    pub evicted: u64,
    /// Transitions whose old state was not the one the connection was in.
    pub gaps: u64,
    /// Transitions that no kernel is known to make.
    pub illegal: u64,
    /// Transitions that lie before the last one of their socket.
    pub backwards: u64,
    /// Connections that were put right after a loss.
    pub corrected: u64,
    /// Closed sockets that a descriptor still holds at the end.
    pub held: u64,
    /// Half-open connections that could not be seen, because the kernel answered with SYN cookies.
    pub syncookies: u64,
    /// Audits made.
    pub audits: u64,
    /// Connections that audits found to be not as the kernel had them.
    pub drift: u64,
    /// Runs of the programs on timers that the kernel skipped; most are about timers that are no business of ours.
    pub timer_events_skipped: u64,
    /// Stacks that were not taken, because the ring was half full.
    pub stacks_skipped: u64,
    /// Full sockets swapped for time-wait ones.
    pub swaps: u64,
    /// Listeners' children of which nothing but their birth was seen, which is not told then.
    pub unborn: u64,
    /// Transitions that only the second program saw.
    pub recovered: u64,
    /// How time-wait and half-open sockets are seen.
    pub lifecycle: &'static str,
    /// The same in words, and why no better way is used.
    pub lifecycle_why: String,
    /// How it is learnt who accepts a connection.
    pub accept: &'static str,
    /// The hook in use.
    pub hook: &'static str,
    /// How long tracing was on, in seconds.
    pub duration_s: f64,
    /// CPU time that tcptrace itself used, in seconds.
    pub cpu_s: f64,
}

impl Summary {
    /// The part that comes from the table.
    #[must_use]
    pub fn new(counters: &Counters, live: usize) -> Self {
        Self {
            events: counters.transitions,
            shown: 0,
            lost: counters.lost,
            seeded: counters.seeded,
            opened: counters.opened,
            closed: counters.closed,
            live: live as u64,
            let_go: counters.let_go,
            evicted: counters.evicted,
            gaps: counters.gaps,
            illegal: counters.illegal,
            backwards: counters.backwards,
            corrected: counters.corrected,
            held: 0,
            syncookies: 0,
            audits: 0,
            drift: 0,
            timer_events_skipped: 0,
            stacks_skipped: 0,
            swaps: counters.swaps,
            unborn: counters.unborn,
            recovered: counters.recovered,
            lifecycle: "off",
            lifecycle_why: String::new(),
            accept: "off",
            hook: "none",
            duration_s: 0.0,
            cpu_s: 0.0,
        }
    }
}

impl fmt::Display for Summary {
    /// One line; what is zero and need not be zero to be well is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, shown, lost, opened, closed, live, .. } = self;
        write!(
            f,
            "{events} events ({shown} shown), {lost} lost; connections: {opened} seen, {closed} closed, {live} live"
        )?;
        for (count, what) in [
            (self.let_go, "not followed further"),
            (self.evicted, "evicted"),
            (self.held, "closed but held"),
            (self.syncookies, "unseen behind SYN cookies"),
            (self.corrected, "put right"),
            (self.drift, "of them found by audits"),
            (self.gaps, "with missing events"),
            (self.illegal, "illegal transitions"),
            (self.backwards, "out of order"),
            (self.stacks_skipped, "stacks not taken"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(
            f,
            "; {:.1} s, own CPU {:.2} s, hook {}, lifecycle {}",
            self.duration_s, self.cpu_s, self.hook, self.lifecycle
        )
    }
}
