//! From the bytes of a record to an event.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use tcptrace_common::{
    AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP, KIND_TRANSITION, KIND_TRANSITION_BACKUP, RawRecord, known,
};
use thiserror::Error;
use zerocopy::FromBytes as _;

use crate::model::{
    Comm, Endpoint, Family, KtimeNs, SocketKey, Task, TcpState, Transition, event::canonical,
};

/// A record that is not what the contract says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Another size.
    #[error("{0} bytes instead of {size}", size = RawRecord::SIZE)]
    Size(usize),
    /// A kind that is not in the contract.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// Not a TCP state.
    #[error("{0} is no TCP state")]
    State(u8),
    /// Neither `AF_INET` nor `AF_INET6`.
    #[error("{0} is no address family of TCP")]
    Family(u16),
    /// Neither TCP nor MPTCP.
    #[error("{0} is no protocol that was asked for")]
    Protocol(u16),
}

/// Decodes one record of the ring buffer.
///
/// # Errors
///
/// A record that breaks the contract of `tcptrace-common`. Never panics.
pub fn decode(bytes: &[u8]) -> Result<Transition, Malformed> {
    let raw = RawRecord::read_from_bytes(bytes).map_err(|_| Malformed::Size(bytes.len()))?;
    let is_backup = match raw.kind {
        KIND_TRANSITION => false,
        KIND_TRANSITION_BACKUP => true,
        other => return Err(Malformed::Kind(other)),
    };
    let state = |raw| TcpState::from_raw(raw).ok_or(Malformed::State(raw));
    let (old, new) = (state(raw.old_state)?, state(raw.new_state)?);
    let family = match raw.family {
        AF_INET => Family::V4,
        AF_INET6 => Family::V6,
        other => return Err(Malformed::Family(other)),
    };
    let mptcp = match raw.protocol {
        IPPROTO_TCP => false,
        IPPROTO_MPTCP => true,
        other => return Err(Malformed::Protocol(other)),
    };
    let is_known = |field| raw.known & field != 0;

    let endpoint = |words: [u32; 4], port: u16, is_wildcard_possible: bool| {
        let addr = canonical(family, zerocopy::transmute!(words));
        Endpoint {
            addr: (is_wildcard_possible || !addr.is_unspecified()).then_some(addr),
            port: NonZeroU16::new(port),
        }
    };
    // Only a listener can really have the address 0.0.0.0; elsewhere it is not set yet.
    let is_listener = new == TcpState::Listen || (old == TcpState::Listen && new == TcpState::Close);
    let pid = u32::try_from(raw.pid_tgid >> 32).ok().and_then(NonZeroU32::new);
    Ok(Transition {
        ts: KtimeNs(raw.ts_ns),
        key: NonZeroU64::new(raw.cookie)
            .filter(|_| is_known(known::COOKIE))
            .map_or(SocketKey::from_address(raw.sk), SocketKey::from_cookie),
        family,
        mptcp,
        is_backup,
        local: endpoint(raw.laddr, raw.lport, is_listener),
        remote: endpoint(raw.raddr, raw.rport, false),
        old,
        new,
        netns: NonZeroU32::new(raw.netns).filter(|_| is_known(known::NETNS)),
        uid: is_known(known::UID).then_some(raw.uid),
        error: is_known(known::SK_ERR).then_some(raw.sk_err),
        task: pid
            .filter(|_| is_known(known::TASK))
            .map(|pid| Task { pid, comm: Comm(zerocopy::transmute!(raw.comm)) }),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tcptrace_common::tcp_state;
    use zerocopy::IntoBytes as _;

    use super::*;

    fn record() -> RawRecord {
        RawRecord {
            ts_ns: 5,
            cookie: 7,
            sk: 0xffff_8881_0000_0000,
            pid_tgid: (0x2a << 32) | 0x2b,
            comm: [u64::from_ne_bytes(*b"curl\0\0\0\0"), 0],
            laddr: [u32::from_ne_bytes([127, 0, 0, 1]), 0, 0, 0],
            raddr: [u32::from_ne_bytes([192, 0, 2, 1]), 0, 0, 0],
            netns: 4_026_531_840,
            uid: 1000,
            lport: 0,
            rport: 443,
            family: AF_INET,
            protocol: IPPROTO_TCP,
            sk_err: 0,
            kind: KIND_TRANSITION,
            old_state: tcp_state::CLOSE,
            new_state: tcp_state::SYN_SENT,
            known: known::COOKIE | known::NETNS | known::UID | known::SK_ERR | known::TASK,
            reserved: [0; 2],
        }
    }

    #[test]
    fn a_record_becomes_a_transition() {
        let transition = decode(record().as_bytes()).expect("is well formed");
        assert_eq!(transition.key.cookie(), NonZeroU64::new(7));
        assert_eq!(transition.local.addr, "127.0.0.1".parse().ok());
        assert_eq!(transition.local.port, None, "0 is unknown");
        assert_eq!(transition.remote.port, NonZeroU16::new(443));
        assert_eq!(transition.task.map(|task| (task.pid.get(), task.comm)), Some((42, Comm::from("curl"))));
        assert_eq!((transition.old, transition.new), (TcpState::Close, TcpState::SynSent));
    }

    #[test]
    fn what_is_not_known_is_none() {
        let transition = decode(RawRecord { known: 0, ..record() }.as_bytes()).expect("is well formed");
        assert_eq!(transition.key, SocketKey::from_address(0xffff_8881_0000_0000));
        assert_eq!(transition.key.cookie(), None);
        assert_eq!((transition.netns, transition.uid), (None, None));
        assert_eq!((transition.error, transition.task), (None, None));
        let unset = RawRecord { laddr: [0; 4], raddr: [0; 4], ..record() };
        let transition = decode(unset.as_bytes()).expect("is well formed");
        assert_eq!((transition.local.addr, transition.remote.addr), (None, None));
    }

    #[test]
    fn a_listener_has_the_wildcard_address_and_no_peer() {
        let listen =
            RawRecord { new_state: tcp_state::LISTEN, laddr: [0; 4], raddr: [0; 4], lport: 80, ..record() };
        let transition = decode(listen.as_bytes()).expect("is well formed");
        assert_eq!(transition.local.addr, "0.0.0.0".parse().ok());
        assert_eq!(transition.remote.addr, None);
    }

    #[test]
    fn mapped_addresses_are_v4_and_the_family_stays() {
        let mut bytes = [0; 16];
        bytes[10..].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 9]);
        let mut laddr = [0; 4];
        laddr.as_mut_bytes().copy_from_slice(&bytes);
        let transition =
            decode(RawRecord { family: AF_INET6, laddr, ..record() }.as_bytes()).expect("is well formed");
        assert_eq!(transition.family, Family::V6);
        assert_eq!(transition.local.addr, "192.0.2.9".parse().ok());
    }

    #[test]
    fn what_breaks_the_contract_is_refused() {
        let raw = record();
        assert_eq!(decode(&raw.as_bytes()[1..]), Err(Malformed::Size(RawRecord::SIZE - 1)));
        assert_eq!(decode(&[]), Err(Malformed::Size(0)));
        for (broken, error) in [
            (RawRecord { kind: 0, ..raw }, Malformed::Kind(0)),
            (RawRecord { old_state: 0, ..raw }, Malformed::State(0)),
            (RawRecord { new_state: 12, ..raw }, Malformed::State(12)),
            (RawRecord { family: 1, ..raw }, Malformed::Family(1)),
            (RawRecord { protocol: 132, ..raw }, Malformed::Protocol(132)),
        ] {
            assert_eq!(decode(broken.as_bytes()), Err(error));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..=2 * RawRecord::SIZE)) {
            // Any answer is fine, as long as there is one.
            let _ = decode(&bytes);
        }

        #[test]
        fn no_bytes_of_the_right_size_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), RawRecord::SIZE)) {
            bytes[98] = KIND_TRANSITION;
            bytes[99] = bytes[99] % 11 + 1;
            bytes[100] = bytes[100] % 11 + 1;
            bytes[92..96].copy_from_slice(&[2, 0, 6, 0]);
            let transition = decode(&bytes).expect("is well formed");
            prop_assert_eq!(transition.old.raw(), bytes[99]);
        }
    }
}
