//! Replies of sock_diag: any bytes give sockets and errors, no more than there is room for, and a socket has lost nothing
//! on the way.
#![no_main]

use std::{collections::HashSet, num::NonZeroU32};

use libfuzzer_sys::fuzz_target;
use tcptrace::{
    fuzzing::diag_answer,
    model::{KtimeNs, SampledKind, TcpState},
    source::diag::{DiagSocket, Malformed, ReadAt, parse},
};
use tcptrace_fuzz::reply::encode;

const AT: ReadAt = ReadAt {
    netns: NonZeroU32::MIN,
    not_before: KtimeNs(100_000_000_000),
    not_after: KtimeNs(100_000_001_000),
};

/// `struct nlmsghdr`
const HEADER: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let results: Vec<_> = parse(bytes, AT).collect();
    let most = bytes.len() / HEADER + 1;
    assert!(results.len() <= most, "the work is bounded by the input");
    let broken = results.iter().position(|result| matches!(result, Err(Malformed::Message { .. })));
    assert!(broken.is_none_or(|place| place + 1 == results.len()), "nothing follows broken framing");
    for socket in results.iter().flatten() {
        check(socket);
    }
    let sequence = bytes.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
    for is_dump in [true, false] {
        // What is after the end of an answer does not count.
        let Ok((dump, code)) = diag_answer(&[bytes, bytes], sequence, AT, is_dump) else { continue };
        assert!(dump.sockets.len() + usize::try_from(dump.malformed).unwrap_or(usize::MAX) <= 2 * most);
        assert!(is_dump || dump.sockets.len() <= 1);
        let cookies: Vec<_> = dump.sockets.iter().filter_map(|socket| socket.cookie).collect();
        assert_eq!(cookies.iter().collect::<HashSet<_>>().len(), cookies.len(), "each socket once");
        if code.is_none() && is_dump {
            let once = diag_answer(&[bytes], sequence, AT, is_dump).expect("it was well formed");
            let keyed =
                |sockets: &[DiagSocket]| sockets.iter().filter(|socket| socket.cookie.is_some()).count();
            assert_eq!(keyed(&once.0.sockets), keyed(&dump.sockets), "the same again adds nothing");
        }
    }
});

fn check(socket: &DiagSocket) {
    assert!(socket.cookie.is_none_or(|cookie| cookie.get() != u64::MAX));
    assert!(socket.remote.addr.is_none_or(|addr| !addr.is_unspecified()));
    assert!(!socket.is_request() || socket.state == TcpState::SynRecv);
    assert!(!socket.is_time_wait_mini() || matches!(socket.state, TcpState::TimeWait | TcpState::FinWait2));
    assert_eq!(parse(&encode(socket), AT).collect::<Vec<_>>(), [Ok(*socket)]);
    let Some(sampled) = socket.sampled() else { return };
    assert_eq!(Some(sampled.key), socket.key());
    assert!(sampled.entered.is_none_or(|entered| entered <= AT.not_after));
    assert_eq!(sampled.uid.is_some(), sampled.kind == SampledKind::Full);
}
