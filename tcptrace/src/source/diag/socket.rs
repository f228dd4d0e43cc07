//! One socket as sock_diag reports it.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

use zerocopy::{FromBytes, byteorder::native_endian};

use super::wire::{
    INET_DIAG_CGROUP_ID, INET_DIAG_INFO, INET_DIAG_SHUTDOWN, Malformed, Message, RawSocket, RawTcpInfo,
    attributes,
};
use crate::model::{Endpoint, Family, KtimeNs, SocketKey, TcpState, event::canonical};

/// `AF_INET`, Linux.
pub(super) const AF_INET: u8 = 2;
/// `AF_INET6`, Linux.
pub(super) const AF_INET6: u8 = 10;
/// `TCP_NEW_SYN_RECV`, `include/net/tcp_states.h`: a request socket's own state, reported as SYN_RECV.
const TCP_NEW_SYN_RECV: u8 = 12;

/// Where and when a socket was read. The kernel looked at it at some moment between the two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAt {
    /// Inode of the network namespace.
    pub netns: NonZeroU32,
    /// Not before.
    pub not_before: KtimeNs,
    /// Not after.
    pub not_after: KtimeNs,
}

/// Which of the kernel's three structures a socket is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// `struct tcp_sock`
    Full,
    /// `struct tcp_request_sock`: half-open, nobody has accepted it and no process owns it yet.
    Request,
    /// `struct tcp_timewait_sock`: TIME_WAIT, or an orphan in FIN_WAIT2. It has no owner left: uid and inode are 0.
    TimeWait,
}

/// What a pending timer is for: `idiag_timer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerKind {
    /// 1: retransmission, reordering or tail loss probe; of a request socket, the SYN-ACK's.
    Retransmit,
    /// 2: `sk_timer`: keep-alive, or the end of an orphan that is still a full socket.
    KeepAlive,
    /// 3: the end of a time-wait socket.
    TimeWait,
    /// 4: zero window probe.
    Probe,
}

/// A pending timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// What for.
    pub kind: TimerKind,
    /// `idiag_expires`: time left, in milliseconds; 0 when it is overdue, which a time-wait timer is for up to 2 s
    /// (4 s at HZ=1000) because its wheel bucket is that coarse.
    pub left_ms: u32,
}

/// Ages from `struct tcp_info`, in milliseconds before the socket was read, to one jiffy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpTimes {
    /// `tcpi_last_data_sent`: since we last sent data; counted from the start of the connection when none was sent.
    pub last_data_sent_ms: u32,
    /// `tcpi_last_data_recv`: since data came last; counted from the start of the connection when none came.
    pub last_data_recv_ms: u32,
    /// `tcpi_last_ack_recv`: since the peer's last acknowledgement.
    pub last_ack_recv_ms: u32,
}

/// One TCP socket as the kernel reported it (`struct inet_diag_msg` and its attributes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagSocket {
    /// Where and when.
    pub at: ReadAt,
    /// `idiag_cookie`: the number that `bpf_get_socket_cookie` gives; being listed is enough to get one.
    pub cookie: Option<NonZeroU64>,
    /// Its address family; `V6` with v4 addresses is a v4 peer of a dual-stack socket.
    pub family: Family,
    /// Our side. The unspecified address is an address here only for LISTEN: all of the host's.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// The state; of a time-wait socket the substate, so FIN_WAIT2 or TIME_WAIT.
    pub state: TcpState,
    /// What the kernel holds of it.
    pub kind: SocketKind,
    /// The most important pending timer.
    pub timer: Option<Timer>,
    /// `idiag_retrans`: unanswered retransmissions or probes.
    pub retrans: u8,
    /// Bytes not read by the process; of a listener, connections that wait for `accept`.
    pub rqueue: u32,
    /// Bytes not acknowledged by the peer; of a listener, the limit of `rqueue`.
    pub wqueue: u32,
    /// `sk_uid`, in our user namespace; 0 for request and time-wait sockets.
    pub uid: u32,
    /// Inode of the socket's file; `None` when no descriptor holds it (orphan, request, time-wait, not yet accepted).
    pub inode: Option<NonZeroU32>,
    /// cgroup v2 id of the creator (Linux 5.9 and later, full sockets only).
    pub cgroup: Option<NonZeroU64>,
    /// Ages, if they were asked for; only of full sockets that have been connected. Of others the kernel gives the
    /// time since boot (`tcp_get_info` subtracts stamps that are still 0).
    pub times: Option<TcpTimes>,
}

impl DiagSocket {
    /// Whether it is a `tcp_timewait_sock`.
    pub fn is_time_wait_mini(&self) -> bool {
        self.kind == SocketKind::TimeWait
    }

    /// Whether it is a `tcp_request_sock`.
    pub fn is_request(&self) -> bool {
        self.kind == SocketKind::Request
    }

    /// The identity that the model knows it by.
    pub fn key(&self) -> Option<SocketKey> {
        self.cookie.map(SocketKey::from_cookie)
    }

    pub(super) fn parse(message: &Message<'_>, at: ReadAt) -> Result<Self, Malformed> {
        let (raw, rest) = RawSocket::ref_from_prefix(message.body)
            .map_err(|_| Malformed::Body { kind: message.kind, len: message.body.len() })?;
        let family = match raw.family {
            AF_INET => Family::V4,
            AF_INET6 => Family::V6,
            other => return Err(Malformed::Family(other)),
        };
        let state = match raw.state {
            TCP_NEW_SYN_RECV => TcpState::SynRecv,
            other => TcpState::from_raw(other).ok_or(Malformed::State(other))?,
        };
        let attributes = Attributes::parse(rest)?;
        let timer = timer_kind(raw.timer).map(|kind| Timer { kind, left_ms: raw.expires.get() });
        Ok(Self {
            at,
            cookie: cookie(raw.id.cookie[0].get(), raw.id.cookie[1].get()),
            family,
            local: Endpoint {
                addr: Some(canonical(family, raw.id.src))
                    .filter(|addr| state == TcpState::Listen || is_specified(*addr)),
                port: NonZeroU16::new(raw.id.sport.get()),
            },
            remote: Endpoint {
                addr: Some(canonical(family, raw.id.dst)).filter(|addr| is_specified(*addr)),
                port: NonZeroU16::new(raw.id.dport.get()),
            },
            state,
            kind: kind(raw, state, attributes.has_shutdown),
            timer,
            retrans: raw.retrans,
            rqueue: raw.rqueue.get(),
            wqueue: raw.wqueue.get(),
            uid: raw.uid.get(),
            inode: NonZeroU32::new(raw.inode.get()),
            cgroup: attributes.cgroup,
            times: attributes.times.filter(|_| has_been_connected(state)),
        })
    }
}

/// `inet_twsk_diag_fill` alone sets timer 3; `inet_req_diag_fill` sets timer 1 and, unlike `inet_sk_diag_fill`, no
/// shutdown attribute: a fast-open or simultaneous-open SYN_RECV is a full socket with the same timer.
fn kind(raw: &RawSocket, state: TcpState, has_shutdown: bool) -> SocketKind {
    match (state, timer_kind(raw.timer)) {
        (TcpState::TimeWait | TcpState::FinWait2, Some(TimerKind::TimeWait)) if raw.inode.get() == 0 => {
            SocketKind::TimeWait
        }
        (TcpState::SynRecv, Some(TimerKind::Retransmit)) if raw.inode.get() == 0 && !has_shutdown => {
            SocketKind::Request
        }
        _ => SocketKind::Full,
    }
}

fn timer_kind(raw: u8) -> Option<TimerKind> {
    match raw {
        1 => Some(TimerKind::Retransmit),
        2 => Some(TimerKind::KeepAlive),
        3 => Some(TimerKind::TimeWait),
        4 => Some(TimerKind::Probe),
        _ => None,
    }
}

/// `INET_DIAG_NOCOOKIE` is all ones in both words. A cookie is a counter, which never gets as far as the uppermost bit.
fn cookie(low: u32, high: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(high) << 32 | u64::from(low)).filter(|cookie| cookie.leading_zeros() > 0)
}

/// `tcp_init_transfer` sets the stamps, on the way to ESTABLISHED.
fn has_been_connected(state: TcpState) -> bool {
    !matches!(state, TcpState::Close | TcpState::Listen | TcpState::SynSent | TcpState::SynRecv)
}

fn is_specified(addr: IpAddr) -> bool {
    !addr.is_unspecified()
}

/// What is read from a reply's attributes.
#[derive(Default)]
struct Attributes {
    has_shutdown: bool,
    cgroup: Option<NonZeroU64>,
    times: Option<TcpTimes>,
}

impl Attributes {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for attribute in attributes(bytes) {
            match attribute? {
                (INET_DIAG_SHUTDOWN, _) => read.has_shutdown = true,
                (INET_DIAG_CGROUP_ID, value) => {
                    read.cgroup = native_endian::U64::read_from_prefix(value)
                        .ok()
                        .and_then(|(id, _)| NonZeroU64::new(id.get()));
                }
                (INET_DIAG_INFO, value) => {
                    // An older kernel's shorter structure has no ages for us.
                    read.times = RawTcpInfo::ref_from_prefix(value).ok().map(|(info, _)| TcpTimes {
                        last_data_sent_ms: info.last_data_sent.get(),
                        last_data_recv_ms: info.last_data_recv.get(),
                        last_ack_recv_ms: info.last_ack_recv.get(),
                    });
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::{
        super::{fixtures, parse},
        *,
    };

    fn only(hex: &str) -> DiagSocket {
        let sockets: Vec<_> = parse(&fixtures::bytes(hex), fixtures::AT).collect();
        let [Ok(socket)] = sockets[..] else { panic!("{sockets:?}") };
        socket
    }

    fn endpoint(addr: &str, port: u16) -> Endpoint {
        Endpoint { addr: addr.parse().ok(), port: NonZeroU16::new(port) }
    }

    #[test]
    fn a_mapped_socket_has_v4_addresses_and_keeps_its_family() {
        let socket = only(fixtures::CLOSE_WAIT);
        assert_eq!(
            (socket.family, socket.state, socket.kind),
            (Family::V6, TcpState::CloseWait, SocketKind::Full)
        );
        assert_eq!(socket.local, endpoint("127.0.0.1", 8080));
        assert_eq!(socket.remote, endpoint("127.0.0.1", 40001));
        assert_eq!(socket.cookie, NonZeroU64::new(0xae_5fc1));
        assert_eq!((socket.inode, socket.cgroup), (NonZeroU32::new(11_748_344), NonZeroU64::new(1)));
        assert_eq!((socket.rqueue, socket.timer, socket.times), (1, None, None));
    }

    #[test]
    fn an_orphan_in_fin_wait_2_is_a_time_wait_socket() {
        let socket = only(fixtures::FIN_WAIT2);
        assert_eq!((socket.state, socket.is_time_wait_mini()), (TcpState::FinWait2, true));
        assert_eq!(socket.timer, Some(Timer { kind: TimerKind::TimeWait, left_ms: 59_996 }));
        assert_eq!((socket.inode, socket.cgroup), (None, None));
    }

    #[test]
    fn a_request_socket_is_one_because_it_has_no_shutdown_attribute() {
        let socket = only(fixtures::SYN_RECV);
        assert_eq!((socket.state, socket.is_request()), (TcpState::SynRecv, true));
        assert_eq!(socket.timer, Some(Timer { kind: TimerKind::Retransmit, left_ms: 992 }));
        // A fast-open child: the same, but a full socket.
        let child =
            fixtures::socket(&fixtures::bytes(fixtures::SYN_RECV)[16..88], &[(INET_DIAG_SHUTDOWN, &[0])]);
        let sockets: Vec<_> = parse(&child, fixtures::AT).collect();
        assert!(matches!(sockets[..], [Ok(DiagSocket { kind: SocketKind::Full, .. })]), "{sockets:?}");
    }

    #[test]
    fn the_unspecified_address_is_one_for_a_listener_only() {
        let socket = only(fixtures::LISTEN);
        assert_eq!(socket.local, endpoint("::", 8080));
        assert_eq!(socket.remote, Endpoint::default());
        let mut bound = fixtures::bytes(fixtures::LISTEN);
        bound[17] = TcpState::SynSent.raw();
        let sockets: Vec<_> = parse(&bound, fixtures::AT).collect();
        assert!(
            matches!(sockets[..], [Ok(DiagSocket { local: Endpoint { addr: None, .. }, .. })]),
            "{sockets:?}"
        );
    }

    #[test]
    fn ages_are_read_where_they_mean_something() {
        let mut info = [0; 60];
        info[44] = 1;
        info[52] = 2;
        info[56] = 3;
        let mut body = fixtures::bytes(fixtures::CLOSE_WAIT)[16..88].to_vec();
        let mut times = |state: TcpState, info: &[u8]| {
            body[1] = state.raw();
            let socket = parse(&fixtures::socket(&body, &[(INET_DIAG_INFO, info)]), fixtures::AT).next();
            socket.and_then(Result::ok).and_then(|socket| socket.times)
        };
        let read = Some(TcpTimes { last_data_sent_ms: 1, last_data_recv_ms: 2, last_ack_recv_ms: 3 });
        assert_eq!(times(TcpState::CloseWait, &info), read);
        assert_eq!(times(TcpState::SynSent, &info), None);
        assert_eq!(times(TcpState::CloseWait, &info[..59]), None);
    }

    #[test]
    fn no_cookie_is_no_cookie() {
        assert_eq!(cookie(u32::MAX, u32::MAX), None);
        assert_eq!(cookie(0, 0), None);
        assert_eq!(cookie(0, 1 << 31), None, "no counter gets that far");
        assert_eq!(cookie(1, 2), NonZeroU64::new(0x2_0000_0001));
    }
}
