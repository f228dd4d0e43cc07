//! `closing-stuck`: both have closed, and our FIN is not acknowledged.

use super::{
    Facts, Finding, Rule,
    unacknowledged::{self, Limits},
};
use crate::model::{TcpState, findings::thresholds};

/// The peer is gone, or does not read.
#[derive(Debug)]
pub(super) struct ClosingStuck;

impl Rule for ClosingStuck {
    fn id(&self) -> &'static str {
        "closing-stuck"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let thresholds::ClosingStuck { age, count, retransmissions } = facts.thresholds.closing_stuck;
        let limits = Limits { age, count, retransmissions };
        unacknowledged::look(self.id(), TcpState::Closing, &limits, facts, found);
    }
}
