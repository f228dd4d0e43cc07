//! Any sequence of events: nothing is lost, nothing is invented, the limits hold.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::model::{Endpoint, Family, Look, Sampled, ThreadId, TimeWait, TimerAction};

#[derive(Clone, Debug)]
enum Input {
    Transition(Transition),
    TimeWait(TimeWait),
    Seed(Vec<Sampled>),
    Correct(Vec<Sampled>),
    Heal(Vec<Sampled>, u64),
    Lost(Lost),
}

fn state() -> impl Strategy<Value = TcpState> {
    (0..TcpState::ALL.len()).prop_map(|index| TcpState::ALL[index])
}

/// Any transition at all, legal or not, in any order of time, for a handful of sockets.
fn transition() -> impl Strategy<Value = Transition> {
    let error = prop_oneof![Just(None), (0..200_u16).prop_map(Some)];
    (0..50_u64, 1..6_u64, any::<[bool; 2]>(), state(), state(), 0..3_u16, error).prop_map(
        |(ts, socket, [has_cookie, is_backup], old, new, port, error)| Transition {
            ts: KtimeNs(ts),
            key: match NonZeroU64::new(socket) {
                Some(cookie) if has_cookie => SocketKey::from_cookie(cookie),
                _ => SocketKey::from_address(socket),
            },
            family: Family::V4,
            mptcp: false,
            is_backup,
            local: Endpoint { addr: None, port: NonZeroU16::new(port) },
            remote: Endpoint::default(),
            old,
            new,
            netns: None,
            uid: None,
            error,
            task: None,
            thread: None,
        },
    )
}

fn time_wait() -> impl Strategy<Value = TimeWait> {
    let action = prop_oneof![Just(TimerAction::Start), Just(TimerAction::Cancel), Just(TimerAction::Expire)];
    (transition(), action, any::<bool>(), proptest::option::of(0..60_u64)).prop_map(
        |(of, action, is_orphan, entered)| TimeWait {
            // Far enough apart for endings to settle.
            ts: KtimeNs(of.ts.0 * 10_000_000),
            key: of.key,
            family: of.family,
            local: of.local,
            remote: of.remote,
            netns: of.netns,
            action,
            state: if is_orphan { TcpState::FinWait2 } else { TcpState::TimeWait },
            entered: entered.map(KtimeNs),
            thread: ThreadId(of.ts.0 % 3),
        },
    )
}

fn sampled() -> impl Strategy<Value = Vec<Sampled>> {
    let one = (transition(), any::<bool>(), proptest::option::of(0..60_u64)).prop_map(
        |(of, is_time_wait, entered)| Sampled {
            key: of.key,
            family: of.family,
            local: of.local,
            remote: of.remote,
            // sock_diag lists no socket in CLOSE.
            state: if of.new == TcpState::Close { TcpState::TimeWait } else { of.new },
            is_time_wait,
            netns: NonZeroU32::MIN,
            uid: None,
            entered: entered.map(KtimeNs),
        },
    );
    proptest::collection::vec(one, 0..5)
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => time_wait().prop_map(Input::TimeWait),
        1 => sampled().prop_map(Input::Seed),
        1 => sampled().prop_map(Input::Correct),
        1 => (sampled(), 0..60_u64).prop_map(|(sampled, started)| Input::Heal(sampled, started)),
        9 => transition().prop_map(Input::Transition),
        1 => (0..50_u64, 1..9_u64).prop_map(|(noticed, count)| {
            Input::Lost(Lost { noticed: KtimeNs(noticed), count, at: LostAt::Ring })
        }),
    ]
}

#[test]
fn what_both_observers_missed_is_a_loss_once() {
    let mut table = Table::new(KtimeNs(0), Limits::default());
    assert_eq!(table.missed(0, KtimeNs(1)), None);
    let lost = table.missed(5, KtimeNs(2)).expect("five are missing");
    assert_eq!((lost.count, lost.at), (5, LostAt::Recursion));
    assert_eq!(table.missed(5, KtimeNs(3)), None, "they were reported");
    let recovered = Transition {
        ts: KtimeNs(4),
        key: SocketKey::from_address(1),
        family: Family::V4,
        mptcp: false,
        is_backup: true,
        local: Endpoint::default(),
        remote: Endpoint::default(),
        old: TcpState::Close,
        new: TcpState::SynSent,
        netns: None,
        uid: None,
        error: None,
        task: None,
        thread: None,
    };
    assert!(table.transition(&recovered).is_some());
    assert!(table.transition(&recovered).is_none(), "it is known");
    assert_eq!(table.missed(6, KtimeNs(5)), None, "the sixth was seen by the second observer");
    assert_eq!(table.counters().lost, 5);
}

proptest! {
    #[test]
    fn lives_are_neither_lost_nor_invented_and_the_limits_hold(
        inputs in proptest::collection::vec(input(), 0..300),
        max_connections in 1..8_usize,
        max_closed in 0..8_usize,
        started in 0..50_u64,
    ) {
        let mut table = Table::new(KtimeNs(started), Limits { max_connections, max_closed });
        for input in &inputs {
            match input {
                Input::Lost(lost) => table.lost(lost),
                Input::TimeWait(event) => table.apply(&Event::TimeWait(*event), &mut |_| ()),
                Input::Seed(sampled) => table.seed(sampled),
                Input::Correct(sampled) => table.correct(sampled, &mut |_| ()),
                Input::Heal(sampled, started) => table.heal(&Look {
                    sampled,
                    namespaces: &[NonZeroU32::MIN],
                    started: KtimeNs(*started),
                    ended: KtimeNs(started + 1),
                }),
                Input::Transition(transition) => {
                    let observed = table.transition(transition);
                    // The end of a full socket that was swapped for a time-wait one is none of the connection's.
                    let is_swap = transition.new == TcpState::Close;
                    prop_assert!(observed.is_some() || transition.is_backup || is_swap);
                    if let Some(observed) = observed {
                        prop_assert_eq!(observed.connection.state, transition.new);
                        // Nothing can have lasted longer than the time that there was.
                        prop_assert!(observed.dwell.is_none_or(|dwell| dwell.ns() <= transition.ts.0));
                    }
                    // The same again, by the second observer, changes nothing.
                    let again = Transition { is_backup: true, ..*transition };
                    prop_assert!(table.transition(&again).is_none() || transition.new == TcpState::Close);
                }
            }
            let counters = table.counters();
            prop_assert_eq!(counters.opened, counters.closed + counters.evicted + table.live().len() as u64);
            prop_assert!(table.len() <= max_connections);
            prop_assert!(table.closed().len() <= max_closed);
            prop_assert!(table.orphans().all(|(_, orphan)| orphan.state == TcpState::FinWait2));
            prop_assert!(table.orphans.iter().all(|key| table.live.contains_key(key)));
            prop_assert!(table.live().all(|(_, connection)| connection.state != TcpState::Close));
            prop_assert!(table.closed().all(|(_, connection)| connection.state == TcpState::Close));
        }
    }

    #[test]
    fn with_nothing_missing_every_stay_is_exact_and_they_add_up(
        stays in proptest::collection::vec(1..1_000_000_u64, 6),
        started in 0..1000_u64,
    ) {
        use TcpState::{Close, Closing, Established, FinWait1, SynRecv, SynSent, TimeWait};
        let life = [Close, SynSent, SynRecv, Established, FinWait1, Closing, TimeWait, Close];
        let mut table = Table::new(KtimeNs(started), Limits::default());
        let mut now = started;
        for (index, pair) in life.windows(2).enumerate() {
            now += index.checked_sub(1).map_or(5, |stay| stays[stay]);
            let transition = Transition {
                ts: KtimeNs(now),
                key: SocketKey::from_address(1),
                family: Family::V6,
                mptcp: false,
                is_backup: false,
                local: Endpoint::default(),
                remote: Endpoint::default(),
                old: pair[0],
                new: pair[1],
                netns: None,
                uid: None,
                error: Some(0),
                task: None,
                thread: None,
            };
            table.transition(&transition);
        }
        let (_, connection) = table.closed().next().expect("the life is over");
        let seen: Vec<_> = connection.history().iter().collect();
        let expected: Vec<_> = life[1..7].iter().zip(&stays).map(|(state, ns)| (*state, Some(Dwell::Exact(*ns)))).collect();
        prop_assert_eq!(seen, expected);
        prop_assert!(!connection.is_truncated);
        let counters = table.counters();
        prop_assert_eq!((counters.gaps, counters.illegal, counters.backwards), (0, 0, 0));
    }
}
