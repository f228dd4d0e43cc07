//! `last-ack-stuck`: our FIN, the last one, is not acknowledged.

use super::{
    Facts, Finding, Rule,
    unacknowledged::{self, Limits},
};
use crate::model::{TcpState, findings::thresholds};

/// The peer is gone, or does not read.
#[derive(Debug)]
pub(super) struct LastAckStuck;

impl Rule for LastAckStuck {
    fn id(&self) -> &'static str {
        "last-ack-stuck"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let thresholds::LastAckStuck { age, count, retransmissions } = facts.thresholds.last_ack_stuck;
        let limits = Limits { age, count, retransmissions };
        unacknowledged::look(self.id(), TcpState::LastAck, &limits, facts, found);
    }
}
