//! From a reply to what the model wants to know.

use super::{DiagSocket, SocketKind};
use crate::model::{KtimeNs, Sampled, SampledKind, TcpState};

/// `TCP_TIMEWAIT_LEN` (include/net/tcp.h): the timer of a socket in TIME_WAIT is set to this.
const TIME_WAIT_MS: u64 = 60_000;

impl DiagSocket {
    /// For the model; `None` for one without an identity.
    pub fn sampled(&self) -> Option<Sampled> {
        let is_time_wait = self.kind == SocketKind::TimeWait;
        let entered = (is_time_wait && self.state == TcpState::TimeWait)
            .then_some(self.timer)
            .flatten()
            // 0 is "overdue": how long is not said.
            .filter(|timer| (1..=TIME_WAIT_MS).contains(&u64::from(timer.left_ms)))
            .and_then(|timer| {
                let elapsed_ns = (TIME_WAIT_MS - u64::from(timer.left_ms)) * 1_000_000;
                self.at.not_after.0.checked_sub(elapsed_ns).map(KtimeNs)
            });
        Some(Sampled {
            key: self.key()?,
            family: self.family,
            local: self.local,
            remote: self.remote,
            state: self.state,
            kind: match self.kind {
                SocketKind::Full => SampledKind::Full,
                SocketKind::TimeWait => SampledKind::TimeWait,
                SocketKind::Request => SampledKind::Request,
            },
            netns: self.at.netns,
            uid: (self.kind == SocketKind::Full).then_some(self.uid),
            entered,
        })
    }
}
