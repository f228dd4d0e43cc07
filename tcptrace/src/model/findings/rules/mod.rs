//! The rules, a file each.

mod accept_queue_overflow;
mod close_wait_leak;
mod closed_fd_held;
mod closing_stuck;
mod fd_exhaustion;
mod fin_wait1_stuck;
mod fin_wait2_stuck;
mod half_open_pileup;
mod idle_established;
mod last_ack_stuck;
mod never_accepted;
mod port_exhaustion;
mod port_reuse_collision;
mod refused_storm;
mod reset_storm;
mod scarce;
mod short_lived_churn;
mod syn_sent_fanout;
mod syn_sent_stuck;
mod time_wait_overflow;
mod time_wait_pileup;
mod unacknowledged;

use super::{
    Apart, Confidence, Culprit, Facts, Finding, Measure, Member, Rule, Severity, Subject, Sum, Thresholds,
    Trend, words,
};

/// All of them, in the order of the documentation.
pub(super) fn all() -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(close_wait_leak::CloseWaitLeak),
        Box::new(closed_fd_held::ClosedFdHeld),
        Box::new(fd_exhaustion::FdExhaustion),
        Box::new(time_wait_pileup::TimeWaitPileup),
        Box::new(port_exhaustion::PortExhaustion),
        Box::new(time_wait_overflow::TimeWaitOverflow),
        Box::new(syn_sent_fanout::SynSentFanout),
        Box::new(syn_sent_stuck::SynSentStuck),
        Box::new(port_reuse_collision::PortReuseCollision),
        Box::new(half_open_pileup::HalfOpenPileup),
        Box::new(accept_queue_overflow::AcceptQueueOverflow),
        Box::new(never_accepted::NeverAccepted),
        Box::new(fin_wait2_stuck::FinWait2Stuck),
        Box::new(last_ack_stuck::LastAckStuck),
        Box::new(fin_wait1_stuck::FinWait1Stuck),
        Box::new(closing_stuck::ClosingStuck),
        Box::new(reset_storm::ResetStorm),
        Box::new(refused_storm::RefusedStorm),
        Box::new(short_lived_churn::ShortLivedChurn),
        Box::new(idle_established::IdleEstablished),
    ]
}
