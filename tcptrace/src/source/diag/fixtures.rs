//! What a kernel answered (Linux 6.18, x86-64), and answers made up for tests.

use std::num::NonZeroU32;

use super::ReadAt;
use crate::model::KtimeNs;

pub(super) const AT: ReadAt =
    ReadAt { netns: NonZeroU32::MIN, not_before: KtimeNs(1), not_after: KtimeNs(2) };

/// A dual-stack listener.
pub(super) const LISTEN: &str = "8400000012000200010000002d4000000a0a00001f90000000000000000000000000000000000000\
    0000000000000000000000000000000000000000bf5fae000000000000000000000000000500000000000000f643b3000500080000000000\
    05000b000000000008000f00000000000c00150001000000000000000600160012000000";
/// The server's side of a connection that the client has closed.
pub(super) const CLOSE_WAIT: &str = "7c00000012000200010000002d4000000a0800001f909c4100000000000000000000ffff7f000001\
    00000000000000000000ffff7f00000100000000c15fae000000000000000000010000000000000000000000f843b3000500080001000000\
    08000f00000000000c00150001000000000000000600160012000000";
/// The client's side of it: an orphan.
pub(super) const FIN_WAIT2: &str = "6000000012000200010000002d400000020503009c411f907f000001000000000000000000000000\
    7f00000100000000000000000000000000000000c05fae00000000005cea00000000000000000000000000000000000008000f0000000000";
/// A half-open connection (`TCP_DEFER_ACCEPT`).
pub(super) const SYN_RECV: &str = "6000000012000200010000002d400000020301001f919c427f00000100000000000000000000000\
    07f00000100000000000000000000000000000000cf71ae0000000000e00300000000000000000000000000000000000008000f0000000000";
/// The end of the list.
pub(super) const DONE: &str = "1400000003000200010000002d40000000000000";

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]).zip(digit(pair[1])).map_or(0, |(h, l)| h << 4 | l))
        .collect()
}

/// A reply with this body and these attributes.
pub(super) fn socket(body: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = bytes(DONE)[..16].to_vec();
    message[4] = 18;
    message.extend_from_slice(body);
    for (kind, value) in attributes {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        message.extend_from_slice(&len.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&len.to_ne_bytes());
    message
}
