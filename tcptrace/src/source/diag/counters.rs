//! What the kernel counts of half-open connections that it keeps nothing of: `TcpExt` of `/proc/net/netstat`.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// It follows the thread that opens it, and stays with that thread's network namespace.
const NETSTAT: &str = "/proc/thread-self/net/netstat";

/// More than the kernel writes: about 6 KiB on Linux 6.18.
const MAX_BYTES: usize = 64 * 1024;

/// Counters of a network namespace since it was made (`include/uapi/linux/snmp.h`); `None` where the kernel has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpExt {
    /// `SyncookiesSent`: SYNs that were answered with a cookie, for want of room or by order (`tcp_syncookies`).
    pub syncookies_sent: Option<u64>,
    /// `SyncookiesRecv`: valid cookies that came back.
    pub syncookies_received: Option<u64>,
    /// `SyncookiesFailed`: invalid ones.
    pub syncookies_failed: Option<u64>,
    /// `ListenOverflows`: connections dropped because the accept queue was full.
    pub listen_overflows: Option<u64>,
    /// `TCPTimeWaitOverflow`: connections that ended without a time-wait socket (`tcp_max_tw_buckets`).
    pub time_wait_overflows: Option<u64>,
}

/// The counters of one network namespace.
#[derive(Debug)]
pub(super) struct Counters(File);

impl Counters {
    /// Of the namespace that the calling thread is in, wherever they are read later.
    pub(super) fn of_this_thread() -> io::Result<Self> {
        File::open(NETSTAT).map(Self)
    }

    pub(super) fn read(&self) -> io::Result<TcpExt> {
        let mut text = vec![0; MAX_BYTES];
        let mut length = 0;
        while length < text.len() {
            match self.0.read_at(&mut text[length..], length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        Ok(parse(&text[..length]))
    }
}

/// Pairs of lines: `TcpExt: NAME NAME ..`, `TcpExt: VALUE VALUE ..`.
pub(crate) fn parse(netstat: &[u8]) -> TcpExt {
    let text = String::from_utf8_lossy(netstat);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return TcpExt::default() };
    let mut counters = TcpExt::default();
    for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
        let counter = match name {
            "SyncookiesSent" => &mut counters.syncookies_sent,
            "SyncookiesRecv" => &mut counters.syncookies_received,
            "SyncookiesFailed" => &mut counters.syncookies_failed,
            "ListenOverflows" => &mut counters.listen_overflows,
            "TCPTimeWaitOverflow" => &mut counters.time_wait_overflows,
            _ => continue,
        };
        *counter = value.parse().ok();
    }
    counters
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let text = b"TcpExt: SyncookiesSent SyncookiesRecv Other SyncookiesFailed\nTcpExt: 5 18446744073709551616 x 7\n\
            IpExt: InNoRoutes\nIpExt: 0\n";
        let expected = TcpExt { syncookies_sent: Some(5), syncookies_failed: Some(7), ..TcpExt::default() };
        assert_eq!(parse(text), expected, "a number that is too large is unknown");
        assert_eq!(parse(b"TcpExt: SyncookiesSent\n"), TcpExt::default(), "no values");
        assert_eq!(parse(b"TcpExt: A B\nTcpExt: 1 2\n"), TcpExt::default(), "another kernel");
        let more = parse(b"TcpExt: SyncookiesSent\nTcpExt: 1 2 3\n");
        assert_eq!(more.syncookies_sent, Some(1));
    }

    #[test]
    fn this_namespace_has_counters() {
        let counters = Counters::of_this_thread().and_then(|counters| counters.read()).expect("is readable");
        assert!(counters.syncookies_sent.is_some(), "{counters:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"TcpExt: SyncookiesSent\nTcpExt: ", &bytes[..]].concat());
        }
    }
}
