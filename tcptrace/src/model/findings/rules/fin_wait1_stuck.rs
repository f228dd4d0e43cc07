//! `fin-wait1-stuck`: our FIN is not acknowledged.

use super::{
    Facts, Finding, Rule,
    unacknowledged::{self, Limits},
};
use crate::model::{TcpState, findings::thresholds};

/// The peer is gone, or does not read.
#[derive(Debug)]
pub(super) struct FinWait1Stuck;

impl Rule for FinWait1Stuck {
    fn id(&self) -> &'static str {
        "fin-wait1-stuck"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let thresholds::FinWait1Stuck { age, count, retransmissions } = facts.thresholds.fin_wait1_stuck;
        let limits = Limits { age, count, retransmissions };
        unacknowledged::look(self.id(), TcpState::FinWait1, &limits, facts, found);
    }
}
