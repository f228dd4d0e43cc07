//! The bytes of `NETLINK_SOCK_DIAG`: netlink framing (RFC 3549, `include/uapi/linux/netlink.h`) and the structures of
//! `include/uapi/linux/inet_diag.h`. Pure and total: any bytes in, no panic, no allocation.

use std::mem::offset_of;

use thiserror::Error;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    byteorder::{big_endian, native_endian as native},
};

use super::socket::{DiagSocket, ReadAt};

pub(super) const NLMSG_NOOP: u16 = 1;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLMSG_OVERRUN: u16 = 4;
/// `TCPDIAG_GETSOCK`: the request that lists both families in one walk of the table (`inet_diag_dump_compat`).
pub(super) const TCPDIAG_GETSOCK: u16 = 18;
/// `SOCK_DIAG_BY_FAMILY`: the request for one family or one socket.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;

pub(super) const NLM_F_REQUEST: u16 = 0x01;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
/// `NLM_F_ROOT | NLM_F_MATCH`
pub(super) const NLM_F_DUMP: u16 = 0x300;

/// Attributes of a reply, and (n - 1 as the bit) what to ask for in `idiag_ext`.
pub(super) const INET_DIAG_INFO: u16 = 2;
pub(super) const INET_DIAG_SHUTDOWN: u16 = 8;
pub(super) const INET_DIAG_CGROUP_ID: u16 = 21;

/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`: flags in the upper bits of an attribute's type.
const NLA_FLAGS: u16 = 0xc000;

/// `struct nlmsghdr`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawMessage {
    /// `nlmsg_len`, with this header.
    pub(super) len: native::U32,
    pub(super) kind: native::U16,
    pub(super) flags: native::U16,
    pub(super) seq: native::U32,
    pub(super) port: native::U32,
}

/// `struct inet_diag_sockid`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawSocketId {
    pub(super) sport: big_endian::U16,
    pub(super) dport: big_endian::U16,
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) interface: native::U32,
    /// Low word first (`sock_diag_save_cookie`).
    pub(super) cookie: [native::U32; 2],
}

/// `struct inet_diag_msg`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawSocket {
    pub(super) family: u8,
    pub(super) state: u8,
    pub(super) timer: u8,
    pub(super) retrans: u8,
    pub(super) id: RawSocketId,
    pub(super) expires: native::U32,
    pub(super) rqueue: native::U32,
    pub(super) wqueue: native::U32,
    pub(super) uid: native::U32,
    pub(super) inode: native::U32,
}

/// `struct inet_diag_req`, of `TCPDIAG_GETSOCK`
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawDumpRequest {
    pub(super) family: u8,
    pub(super) src_len: u8,
    pub(super) dst_len: u8,
    pub(super) ext: u8,
    pub(super) id: RawSocketId,
    pub(super) states: native::U32,
    pub(super) dbs: native::U32,
}

/// `struct inet_diag_req_v2`, of `SOCK_DIAG_BY_FAMILY`
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawLookup {
    pub(super) family: u8,
    pub(super) protocol: u8,
    pub(super) ext: u8,
    pub(super) padding: u8,
    pub(super) states: native::U32,
    pub(super) id: RawSocketId,
}

/// `struct nlattr`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawAttribute {
    /// `nla_len`, with this header.
    pub(super) len: native::U16,
    pub(super) kind: native::U16,
}

/// The part of `struct tcp_info` that is read; the structure only ever grows at its end (`include/uapi/linux/tcp.h`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawTcpInfo {
    pub(super) unread: [u8; 44],
    pub(super) last_data_sent: native::U32,
    pub(super) last_ack_sent: native::U32,
    pub(super) last_data_recv: native::U32,
    pub(super) last_ack_recv: native::U32,
}

const _: () = {
    assert!(size_of::<RawMessage>() == 16);
    assert!(size_of::<RawSocketId>() == 48);
    assert!(size_of::<RawSocket>() == 72);
    assert!(offset_of!(RawSocket, id) == 4);
    assert!(offset_of!(RawSocket, expires) == 52);
    assert!(offset_of!(RawSocketId, cookie) == 40);
    assert!(size_of::<RawDumpRequest>() == 60);
    assert!(size_of::<RawLookup>() == 56);
    assert!(offset_of!(RawTcpInfo, last_data_sent) == 44);
    assert!(offset_of!(RawTcpInfo, last_ack_recv) == 56);
};

/// Bytes that are no sock_diag reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Fewer bytes than a netlink header has, or the header claims more than there are.
    #[error("a netlink message claims {claimed} bytes where {left} are left")]
    Message {
        /// `nlmsg_len`
        claimed: u32,
        /// Bytes in the buffer, from the header on.
        left: usize,
    },
    /// The body is too short for what its type promises.
    #[error("a netlink message of type {kind} has a body of {len} bytes")]
    Body {
        /// `nlmsg_type`
        kind: u16,
        /// Bytes after the header.
        len: usize,
    },
    /// The family is neither `AF_INET` nor `AF_INET6`.
    #[error("a socket has the address family {0}")]
    Family(u8),
    /// The state is no TCP state.
    #[error("a socket has the state {0}")]
    State(u8),
    /// An attribute claims more bytes than there are, or fewer than its header has.
    #[error("an attribute claims {claimed} bytes where {left} are left")]
    Attribute {
        /// `nla_len`
        claimed: u16,
        /// Bytes in the message, from the attribute on.
        left: usize,
    },
}

/// A netlink message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    /// The error code of an `NLMSG_ERROR` or `NLMSG_DONE`: 0, or a negative errno.
    pub(super) fn code(&self) -> Result<i32, Malformed> {
        match native::I32::read_from_prefix(self.body) {
            Ok((code, _)) => Ok(code.get()),
            // Some kernels end a dump with an empty body.
            Err(_) if self.kind == NLMSG_DONE => Ok(0),
            Err(_) => Err(Malformed::Body { kind: self.kind, len: self.body.len() }),
        }
    }
}

/// The messages in a datagram. Ends after the first malformed one, since nobody knows where the next one begins.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (message, after) = match split_message(rest) {
            Ok((message, after)) => (Ok(message), after),
            Err(malformed) => (Err(malformed), &[][..]),
        };
        rest = after;
        Some(message)
    })
}

fn split_message(bytes: &[u8]) -> Result<(Message<'_>, &[u8]), Malformed> {
    let left = bytes.len();
    let (header, _) =
        RawMessage::ref_from_prefix(bytes).map_err(|_| Malformed::Message { claimed: 0, left })?;
    let claimed = header.len.get();
    let (body, after) =
        split(bytes, size_of::<RawMessage>(), claimed).ok_or(Malformed::Message { claimed, left })?;
    Ok((Message { kind: header.kind.get(), flags: header.flags.get(), seq: header.seq.get(), body }, after))
}

/// The attributes of a message. Ends after the first malformed one.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (attribute, after) = match split_attribute(rest) {
            Ok((attribute, after)) => (Ok(attribute), after),
            Err(malformed) => (Err(malformed), &[][..]),
        };
        rest = after;
        Some(attribute)
    })
}

/// Type and value of an attribute, and the bytes after it.
type Attribute<'a> = ((u16, &'a [u8]), &'a [u8]);

fn split_attribute(bytes: &[u8]) -> Result<Attribute<'_>, Malformed> {
    let left = bytes.len();
    let (header, _) =
        RawAttribute::ref_from_prefix(bytes).map_err(|_| Malformed::Attribute { claimed: 0, left })?;
    let claimed = header.len.get();
    let (value, after) = split(bytes, size_of::<RawAttribute>(), u32::from(claimed))
        .ok_or(Malformed::Attribute { claimed, left })?;
    Ok(((header.kind.get() & !NLA_FLAGS, value), after))
}

/// What follows the header in the first `claimed` bytes, and what follows those, aligned to 4 (`NLMSG_ALIGN`,
/// `NLA_ALIGN`). The last one may come without its padding.
fn split(bytes: &[u8], header: usize, claimed: u32) -> Option<(&[u8], &[u8])> {
    let claimed = usize::try_from(claimed).ok()?;
    let body = bytes.get(..claimed)?.get(header..)?;
    let after = bytes.get(claimed.checked_next_multiple_of(4)?..).unwrap_or_default();
    Some((body, after))
}

/// The sockets in a datagram of replies, in its order. Control messages are passed over.
///
/// A socket that cannot be read is one `Err` and the next one follows; after broken framing there is no next one.
pub fn parse(bytes: &[u8], at: ReadAt) -> impl Iterator<Item = Result<DiagSocket, Malformed>> {
    messages(bytes).filter_map(move |message| match message {
        Ok(message) if matches!(message.kind, TCPDIAG_GETSOCK | SOCK_DIAG_BY_FAMILY) => {
            Some(DiagSocket::parse(&message, at))
        }
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}
