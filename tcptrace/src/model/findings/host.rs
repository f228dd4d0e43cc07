//! What the host says besides: sockets as its tables have them, settings, counters, limits. Read every so often, and pure here.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
};

use rustc_hash::FxHashMap;

use crate::model::{KtimeNs, SocketKey, Task, TcpState, Tuple};

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// When it had been read; `None` when it was not.
    pub read: Option<KtimeNs>,
    /// Network namespaces that could not be read, and why.
    pub unread: Vec<String>,
    /// Every socket.
    pub sockets: FxHashMap<SocketKey, Details>,
    /// Half-open ones by their addresses: tracing may know them without a cookie.
    pub requests: FxHashMap<Tuple, Details>,
    /// By network namespace; a namespace that could not be entered has none.
    pub settings: FxHashMap<NonZeroU32, Settings>,
    /// By network namespace, since it was made.
    pub counters: FxHashMap<NonZeroU32, Counters>,
    /// Of processes that hold sockets.
    pub processes: Vec<Descriptors>,
    /// Processes whose descriptors could not be looked at.
    pub hidden_processes: u64,
}

/// What a table of the kernel tells of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details {
    /// The state it was in.
    pub state: TcpState,
    /// When it was read, not before this.
    pub not_before: KtimeNs,
    /// And not after this.
    pub at: KtimeNs,
    /// Our port: of a client that has chosen none it is known later to tracing.
    pub local_port: Option<NonZeroU16>,
    /// For how long no acknowledgement came (`tcpi_last_ack_recv`).
    pub ack_idle_ns: Option<u64>,
    /// For how long no data came or went.
    pub data_idle_ns: Option<u64>,
    /// A keepalive timer is running.
    pub has_keepalive: bool,
    /// Retransmissions without an answer.
    pub retransmissions: u8,
    /// Bytes not read; of a listener, connections not accepted.
    pub rqueue: u32,
    /// Bytes not acknowledged; of a listener, how many may wait.
    pub wqueue: u32,
    /// A file stands for it: it was accepted or connected by somebody and not closed. Its descriptor may be on its way to
    /// another process, or in an io_uring, where no file table of a process shows it.
    pub has_file: bool,
}

/// Settings of a network namespace; `None` is what the kernel does not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `ip_local_port_range`: the first and the last.
    pub local_ports: Option<(u16, u16)>,
    /// How many of these `ip_local_reserved_ports` takes out.
    pub reserved_ports: u64,
    /// `tcp_max_tw_buckets`
    pub max_time_wait: Option<u64>,
    /// `tcp_tw_reuse`
    pub reuses_time_wait: Option<u64>,
    /// `tcp_fin_timeout`, seconds
    pub fin_timeout_s: Option<u64>,
    /// `tcp_keepalive_time`, seconds
    pub keepalive_time_s: Option<u64>,
    /// `tcp_keepalive_intvl`, seconds
    pub keepalive_interval_s: Option<u64>,
    /// `tcp_keepalive_probes`
    pub keepalive_probes: Option<u64>,
}

impl Settings {
    /// How many ports there are for connections that choose none.
    pub fn local_port_count(&self) -> Option<u64> {
        let (first, last) = self.local_ports?;
        let all = u64::from(last).checked_sub(first.into())? + 1;
        all.checked_sub(self.reserved_ports)
    }

    /// Whether connect() takes ports in TIME_WAIT between these addresses again after a second (`tcp_twsk_unique`, Linux 4.19
    /// to 7.0), as it does where both sides use timestamps.
    pub fn reuses_ports(&self, local: IpAddr, remote: IpAddr) -> bool {
        match self.reuses_time_wait {
            Some(1) => true,
            Some(2) => local.is_loopback() || remote.is_loopback(),
            _ => false,
        }
    }

    /// Until a dead peer of an idle connection with keepalive is given up, in seconds.
    pub fn keepalive_s(&self) -> Option<u64> {
        let probing = self.keepalive_interval_s?.saturating_mul(self.keepalive_probes?);
        Some(self.keepalive_time_s?.saturating_add(probing))
    }
}

/// Counters of /proc/net/netstat (`include/uapi/linux/snmp.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `TCPTimeWaitOverflow`
    pub time_wait_overflows: u64,
    /// `ListenOverflows`
    pub listen_overflows: u64,
    /// `SyncookiesSent`
    pub syncookies: u64,
}

impl Counters {
    /// How much more than then.
    #[must_use]
    pub const fn since(self, then: Self) -> Self {
        Self {
            time_wait_overflows: self.time_wait_overflows.saturating_sub(then.time_wait_overflows),
            listen_overflows: self.listen_overflows.saturating_sub(then.listen_overflows),
            syncookies: self.syncookies.saturating_sub(then.syncookies),
        }
    }
}

/// Descriptors of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The process.
    pub task: Task,
    /// Open ones.
    pub open: u64,
    /// Of these, sockets: closed ones are in no table of TCP sockets any more.
    pub sockets: u64,
    /// `RLIMIT_NOFILE`, soft; `None` is without limit or not known.
    pub limit: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_numbers() {
        let settings = Settings {
            local_ports: Some((32_768, 60_999)),
            keepalive_time_s: Some(7200),
            keepalive_interval_s: Some(75),
            keepalive_probes: Some(9),
            ..Settings::default()
        };
        assert_eq!(settings.local_port_count(), Some(28_232));
        assert_eq!(Settings { reserved_ports: 232, ..settings }.local_port_count(), Some(28_000));
        assert_eq!(settings.keepalive_s(), Some(7875));
        assert_eq!(Settings { local_ports: Some((2, 1)), ..settings }.local_port_count(), None);
        assert_eq!(Settings::default().keepalive_s(), None);
    }
}
