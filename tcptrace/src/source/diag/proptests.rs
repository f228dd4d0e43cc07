//! Any bytes in, no panic out.

use proptest::prelude::*;

use super::{
    DiagSocket, Malformed, fixtures, parse,
    wire::{attributes, messages},
};

/// What a kernel would send: several sockets and the end.
fn reply() -> Vec<u8> {
    use fixtures::{CLOSE_WAIT, DONE, FIN_WAIT2, LISTEN, SYN_RECV};
    [LISTEN, SYN_RECV, FIN_WAIT2, CLOSE_WAIT, DONE].iter().flat_map(|hex| fixtures::bytes(hex)).collect()
}

fn parsed(bytes: &[u8]) -> Vec<Result<DiagSocket, Malformed>> {
    parse(bytes, fixtures::AT).collect()
}

/// The properties of any input at all.
fn check(bytes: &[u8]) {
    // A header is 16 bytes and no socket is shorter than that: the work is bounded by the input.
    let results = parsed(bytes);
    assert!(results.len() <= bytes.len() / 16 + 1);
    let errors_of_framing =
        results.iter().filter(|result| matches!(result, Err(Malformed::Message { .. }))).count();
    assert!(errors_of_framing <= 1, "nothing follows broken framing");
    for message in messages(bytes).flatten() {
        let _code = message.code();
        assert!(attributes(message.body).count() <= message.body.len() / 4 + 1);
    }
    for socket in results.iter().flatten() {
        assert!(!(socket.is_request() && socket.is_time_wait_mini()));
        assert!(socket.cookie.is_none_or(|cookie| cookie.get() != u64::MAX));
        assert!(socket.remote.addr.is_none_or(|addr| !addr.is_unspecified()));
    }
}

#[test]
fn a_real_reply_is_read_whole() {
    let sockets = parsed(&reply());
    assert_eq!(sockets.len(), 4);
    assert!(sockets.iter().all(Result::is_ok), "{sockets:?}");
    assert_eq!(messages(&reply()).count(), 5);
    assert!(matches!(messages(&reply()).last(), Some(Ok(message)) if message.code() == Ok(0)));
}

#[test]
fn one_bad_socket_does_not_hide_the_next_and_broken_framing_ends_it() {
    let mut bytes = reply();
    bytes[17] = 99;
    assert_eq!(parsed(&bytes)[0], Err(Malformed::State(99)));
    assert_eq!(parsed(&bytes).iter().flatten().count(), 3);
    bytes[16] = 1;
    assert_eq!(parsed(&bytes)[0], Err(Malformed::Family(1)));
    bytes[0] = 3;
    assert_eq!(parsed(&bytes), [Err(Malformed::Message { claimed: 3, left: bytes.len() })]);
}

#[test]
fn every_truncation_is_noticed() {
    let whole = fixtures::bytes(fixtures::CLOSE_WAIT);
    for len in 1..whole.len() {
        let results = parsed(&whole[..len]);
        assert!(matches!(results[..], [Err(Malformed::Message { .. })]), "{len}: {results:?}");
    }
}

proptest! {
    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        check(&bytes);
    }

    #[test]
    fn random_bodies(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        check(&fixtures::socket(&bytes, &[]));
        let body = [&fixtures::bytes(fixtures::SYN_RECV)[16..88], &bytes].concat();
        check(&fixtures::socket(&body, &[]));
    }

    #[test]
    fn mutated_replies(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
        len in any::<prop::sample::Index>(),
    ) {
        let mut bytes = reply();
        for (index, byte) in &changes {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
        check(&bytes);
        check(&bytes[..len.index(bytes.len())]);
    }

    #[test]
    fn attributes_in_any_order(
        list in prop::collection::vec((0_u16..30, prop::collection::vec(any::<u8>(), 0..280)), 0..8),
    ) {
        let body = fixtures::bytes(fixtures::CLOSE_WAIT)[16..88].to_vec();
        let list: Vec<(u16, &[u8])> = list.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        let bytes = fixtures::socket(&body, &list);
        check(&bytes);
        prop_assert!(parsed(&bytes).iter().all(Result::is_ok));
    }
}
