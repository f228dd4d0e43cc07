use std::mem::offset_of;

use proptest::prelude::*;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::*;

/// HZ=250
const TICK: u64 = 4_000_000;

fn record() -> RawRecord {
    RawRecord {
        ts_ns: 5,
        cookie: 7,
        sk: 0xffff_8881_0000_0000,
        pid_tgid: (0x2a << 32) | 0x2b,
        comm: [u64::from_ne_bytes(*b"curl\0\0\0\0"), 0],
        start_ns: 123_456_789_012,
        cgroup: 77,
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
        flags: 0,
        detail: 0,
    }
}

fn transition_of(raw: &RawRecord) -> Transition {
    match decode(raw.as_bytes(), TICK).expect("is well formed") {
        Event::Transition(transition) => transition,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_time_wait_record_tells_when_it_entered_its_state() {
    let raw = RawMini {
        ts_ns: 5_000_000_000_500_000,
        cookie: 7,
        sk: 1,
        pid_tgid: 9,
        jiffies_left: 15_000,
        // 456 ms before; the milliseconds of `ts_ns` have 33 bits.
        entry_stamp_ms: 705_032_704 - 456,
        reserved: 0,
        listener: 0,
        reserved_5: 0,
        laddr: [u32::from_ne_bytes([127, 0, 0, 1]), 0, 0, 0],
        raddr: [u32::from_ne_bytes([127, 0, 0, 2]), 0, 0, 0],
        netns: 3,
        reserved_2: 0,
        lport: 40_000,
        rport: 80,
        family: AF_INET,
        protocol: IPPROTO_TCP,
        reserved_3: 0,
        kind: KIND_TIME_WAIT,
        action: timer_action::CANCEL,
        state: tcp_state::TIME_WAIT,
        known: known::COOKIE | known::NETNS | known::ENTRY_STAMP,
        flags: 0,
        reserved_4: 0,
    };
    let Ok(Event::TimeWait(event)) = decode(raw.as_bytes(), TICK) else { panic!("is well formed") };
    assert_eq!(event.entered, Some(KtimeNs(4_999_999_544_000_000)));
    assert_eq!((event.action, event.state), (TimerAction::Cancel, TcpState::TimeWait));
    let without = RawMini { known: known::COOKIE, ..raw };
    let Ok(Event::TimeWait(event)) = decode(without.as_bytes(), TICK) else { panic!("is well formed") };
    assert_eq!((event.entered, event.netns), (None, None));
    // 15,000 jiffies are left of 60 s; without the stamp that tells the same, to a jiffy.
    let by_timer = RawMini { known: known::COOKIE | known::JIFFIES_LEFT, jiffies_left: 14_886, ..raw };
    let Ok(Event::TimeWait(event)) = decode(by_timer.as_bytes(), TICK) else { panic!("is well formed") };
    assert_eq!(event.entered, Some(KtimeNs(raw.ts_ns - 456_000_000)));
    let overdue = RawMini { jiffies_left: -400, ..by_timer };
    let Ok(Event::TimeWait(event)) = decode(overdue.as_bytes(), TICK) else { panic!("is well formed") };
    assert_eq!(event.entered, Some(KtimeNs(raw.ts_ns - 61_600_000_000)));
    for (broken, error) in [
        (RawMini { state: tcp_state::ESTABLISHED, ..raw }, Malformed::Substate(1)),
        (RawMini { action: 9, ..raw }, Malformed::Action(9)),
    ] {
        assert_eq!(decode(broken.as_bytes(), TICK), Err(error));
    }
}

#[test]
fn a_request_and_the_reset_that_ends_it_have_the_same_tuple() {
    let mini = RawMini {
        laddr: [u32::from_ne_bytes([127, 0, 0, 1]), 0, 0, 0],
        raddr: [u32::from_ne_bytes([127, 0, 0, 2]), 0, 0, 0],
        netns: 3,
        lport: 80,
        rport: 40_000,
        family: AF_INET,
        protocol: IPPROTO_TCP,
        kind: KIND_REQUEST,
        action: timer_action::EXPIRE,
        state: tcp_state::SYN_RECV,
        known: known::COOKIE | known::NETNS,
        flags: flags::ACKED,
        ..RawMini::new_zeroed()
    };
    let Ok(Event::Request(request)) = decode(mini.as_bytes(), TICK) else { panic!("is well formed") };
    assert_eq!((request.action, request.is_acked, request.key.cookie()), (TimerAction::Expire, true, None));
    let reset = RawRecord {
        laddr: mini.laddr,
        raddr: mini.raddr,
        netns: 3,
        lport: 80,
        rport: 40_000,
        kind: KIND_RESET_SENT,
        old_state: tcp_state::LISTEN,
        new_state: tcp_state::LISTEN,
        detail: 11,
        ..record()
    };
    let Ok(Event::ResetSent(sent)) = decode(reset.as_bytes(), TICK) else { panic!("is well formed") };
    assert_eq!(sent.half_open, Tuple::new(request.netns, request.local, request.remote));
    assert_eq!(sent.reason.map(ResetReason::name), Some("INVALID_SYN"));
    let of_connection = RawRecord { old_state: tcp_state::CLOSE, detail: 200, ..reset };
    let Ok(Event::ResetSent(sent)) = decode(of_connection.as_bytes(), TICK) else { panic!("is well formed") };
    assert_eq!((sent.half_open, sent.reason), (None, None));
}

#[test]
fn a_record_becomes_a_transition() {
    let transition = transition_of(&record());
    assert_eq!(transition.key.cookie(), NonZeroU64::new(7));
    assert_eq!(transition.local.addr, "127.0.0.1".parse().ok());
    assert_eq!(transition.local.port, None, "0 is unknown");
    assert_eq!(transition.remote.port, NonZeroU16::new(443));
    assert_eq!(transition.task.map(|task| (task.pid.get(), task.comm)), Some((42, Comm::from("curl"))));
    assert_eq!((transition.old, transition.new), (TcpState::Close, TcpState::SynSent));
}

#[test]
fn what_is_not_known_is_none() {
    let transition = transition_of(&RawRecord { known: 0, ..record() });
    assert_eq!(transition.key, SocketKey::from_address(0xffff_8881_0000_0000));
    assert_eq!(transition.key.cookie(), None);
    assert_eq!((transition.netns, transition.uid), (None, None));
    assert_eq!((transition.error, transition.task), (None, None));
    let unset = RawRecord { laddr: [0; 4], raddr: [0; 4], ..record() };
    let transition = transition_of(&unset);
    assert_eq!((transition.local.addr, transition.remote.addr), (None, None));
}

#[test]
fn a_cookie_that_no_counter_reaches_is_none() {
    for cookie in [1 << 63, u64::MAX] {
        let transition = transition_of(&RawRecord { cookie, ..record() });
        assert_eq!(transition.key, SocketKey::from_address(0xffff_8881_0000_0000), "{cookie:#x}");
    }
}

#[test]
fn a_listener_has_the_wildcard_address_and_no_peer() {
    let listen =
        RawRecord { new_state: tcp_state::LISTEN, laddr: [0; 4], raddr: [0; 4], lport: 80, ..record() };
    let transition = transition_of(&listen);
    assert_eq!(transition.local.addr, "0.0.0.0".parse().ok());
    assert_eq!(transition.remote.addr, None);
}

#[test]
fn mapped_addresses_are_v4_and_the_family_stays() {
    let mut bytes = [0; 16];
    bytes[10..].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 9]);
    let mut laddr = [0; 4];
    laddr.as_mut_bytes().copy_from_slice(&bytes);
    let transition = transition_of(&RawRecord { family: AF_INET6, laddr, ..record() });
    assert_eq!(transition.family, Family::V6);
    assert_eq!(transition.local.addr, "192.0.2.9".parse().ok());
}

#[test]
fn what_breaks_the_contract_is_refused() {
    let raw = record();
    assert_eq!(decode(&raw.as_bytes()[1..], TICK), Err(Malformed::Size(RawRecord::SIZE - 1)));
    assert_eq!(decode(&[], TICK), Err(Malformed::Size(0)));
    for (broken, error) in [
        (RawRecord { kind: 0, ..raw }, Malformed::Kind(0)),
        (RawRecord { old_state: 0, ..raw }, Malformed::State(0)),
        (RawRecord { new_state: 12, ..raw }, Malformed::State(12)),
        (RawRecord { family: 1, ..raw }, Malformed::Family(1)),
        (RawRecord { protocol: 132, ..raw }, Malformed::Protocol(132)),
    ] {
        assert_eq!(decode(broken.as_bytes(), TICK), Err(error));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..=2 * RawRecord::SIZE)) {
        // Any answer is fine, as long as there is one.
        let _ = decode(&bytes, TICK);
    }

    #[test]
    fn no_bytes_of_the_right_size_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), RawRecord::SIZE)) {
        let (family, kind) = (offset_of!(RawRecord, family), offset_of!(RawRecord, kind));
        let (old, new) = (offset_of!(RawRecord, old_state), offset_of!(RawRecord, new_state));
        bytes[kind] = KIND_TRANSITION;
        bytes[old] = bytes[old] % 11 + 1;
        bytes[new] = bytes[new] % 11 + 1;
        bytes[family..family + 4].copy_from_slice(&[2, 0, 6, 0]);
        let Ok(Event::Transition(transition)) = decode(&bytes, TICK) else { panic!("is well formed") };
        prop_assert_eq!(transition.old.raw(), bytes[old]);
    }
}
