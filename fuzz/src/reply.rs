//! From a socket that sock_diag has reported back to a message that reports it.

use tcptrace::{
    model::{Family, TcpState},
    source::diag::{DiagSocket, SocketKind, TcpTimes, TimerKind},
};

use crate::record::octets;

/// `TCPDIAG_GETSOCK`
const MESSAGE: u16 = 18;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SHUTDOWN: u16 = 8;
const INET_DIAG_CGROUP_ID: u16 = 21;

/// A netlink message that reports this socket.
pub fn encode(socket: &DiagSocket) -> Vec<u8> {
    let timer = match socket.timer.map(|timer| timer.kind) {
        None => 0,
        Some(TimerKind::Retransmit) => 1,
        Some(TimerKind::KeepAlive) => 2,
        Some(TimerKind::TimeWait) => 3,
        Some(TimerKind::Probe) => 4,
    };
    let family = match socket.family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    let mut body = vec![family, socket.state.raw(), timer, socket.retrans];
    for end in [socket.local, socket.remote] {
        body.extend(end.port.map_or(0, u16::from).to_be_bytes());
    }
    for end in [socket.local, socket.remote] {
        body.extend(octets(socket.family, end));
    }
    let cookie = socket.cookie.map_or(u64::MAX, u64::from);
    let numbers = [
        0,
        lower(cookie),
        lower(cookie >> 32),
        socket.timer.map_or(0, |timer| timer.left_ms),
        socket.rqueue,
        socket.wqueue,
        socket.uid,
        socket.inode.map_or(0, u32::from),
    ];
    body.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
    // Without it, this would be a request socket.
    if (socket.kind, socket.state) == (SocketKind::Full, TcpState::SynRecv) {
        attribute(&mut body, INET_DIAG_SHUTDOWN, &[0]);
    }
    if let Some(cgroup) = socket.cgroup {
        attribute(&mut body, INET_DIAG_CGROUP_ID, &u64::from(cgroup).to_ne_bytes());
    }
    if let Some(TcpTimes { last_data_sent_ms, last_data_recv_ms, last_ack_recv_ms }) = socket.times {
        let mut info = vec![0; 44];
        for number in [last_data_sent_ms, 0, last_data_recv_ms, last_ack_recv_ms] {
            info.extend(number.to_ne_bytes());
        }
        attribute(&mut body, INET_DIAG_INFO, &info);
    }
    message(MESSAGE, &body)
}

/// A netlink message of this type.
pub fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend([0; 10]);
    message.extend(body);
    message
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(len.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn lower(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
