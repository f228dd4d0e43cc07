//! Counts are those of the table, with a walk and between walks.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::model::{
    Endpoint, Event, Family, KtimeNs, Limits, Lost, LostAt, Request, Sampled, SampledKind, Sees, SocketKey,
    Table, TimerAction, Transition,
};

/// How many in each state.
fn now(counts: &Counts) -> [u64; STATES] {
    counts.states().each_ref().map(|state| state.count)
}

/// What there is in the table.
fn counted(table: &Table, only: Option<StateSet>) -> [u64; STATES] {
    let mut counted = [0; STATES];
    for (_, connection) in table.live() {
        if only.is_none_or(|only| only.contains(connection.state)) {
            counted[place(connection.state)] += 1;
        }
    }
    counted
}

fn state() -> impl Strategy<Value = TcpState> {
    (0..STATES).prop_map(|index| TcpState::ALL[index])
}

fn end(port: u16) -> Endpoint {
    Endpoint { addr: Some(std::net::Ipv4Addr::LOCALHOST.into()), port: NonZeroU16::new(port) }
}

/// Any transition at all of a handful of sockets, legal or not.
fn transition() -> impl Strategy<Value = Transition> {
    let error = prop_oneof![Just(None), (0..120_u16).prop_map(Some)];
    (1..2000_u64, 1..7_u64, any::<[bool; 4]>(), state(), state(), 1..3_u16, error).prop_map(
        |(ms, socket, [is_backup, is_orphan, is_newborn, has_cookie], old, new, port, error)| Transition {
            key: match NonZeroU64::new(socket) {
                Some(cookie) if has_cookie => SocketKey::from_cookie(cookie),
                _ => SocketKey::from_address(socket),
            },
            address: SocketKey::from_address(socket),
            local: end(port),
            remote: end(port),
            netns: NonZeroU32::new(1),
            error,
            is_backup,
            is_orphan,
            is_newborn: is_newborn && !has_cookie,
            ..Transition::bare(
                KtimeNs(ms * 1_000_000),
                SocketKey::from_address(socket),
                Family::V4,
                (old, new),
            )
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let action = prop_oneof![Just(TimerAction::Start), Just(TimerAction::Cancel), Just(TimerAction::Expire)];
    prop_oneof![
        4 => transition().prop_map(Event::Transition),
        1 => (transition(), action).prop_map(|(of, action)| {
            Event::Request(Request {
                ts: of.ts,
                key: of.key,
                address: of.address,
                family: of.family,
                local: of.local,
                remote: of.remote,
                netns: of.netns,
                action,
                listener: None,
                is_acked: false,
            })
        }),
    ]
}

fn sees() -> impl Strategy<Value = Sees> {
    any::<[bool; 5]>().prop_map(|[minis, samples, resets, destruction, tables]| Sees {
        minis,
        samples,
        resets,
        destruction,
        tables,
    })
}

fn sampled(of: &Transition) -> Sampled {
    Sampled {
        key: of.key,
        family: of.family,
        local: of.local,
        remote: of.remote,
        state: if of.new == TcpState::Close { TcpState::Established } else { of.new },
        kind: SampledKind::Full,
        netns: NonZeroU32::MIN,
        uid: None,
        entered: None,
    }
}

proptest! {
    #[test]
    fn between_walks_transitions_alone_keep_the_counts(
        events in prop::collection::vec(event(), 0..200),
        sees in sees(),
    ) {
        let mut table = Table::new(KtimeNs(0), Limits::default());
        table.set_sees(sees);
        let mut counts = Counts::default();
        for event in &events {
            table.apply(event, &mut |observed| counts.add(observed));
            prop_assert_eq!(now(&counts), counted(&table, None), "{:?}", event);
        }
        table.settle_all(&mut |observed| counts.add(observed));
        prop_assert_eq!(now(&counts), counted(&table, None));
    }

    #[test]
    fn a_walk_puts_right_what_no_transition_has_told(
        before in prop::collection::vec(event(), 0..60),
        seeded in prop::collection::vec(transition(), 0..6),
        after in prop::collection::vec(event(), 0..60),
        max_connections in 1..5_usize,
    ) {
        let mut table = Table::new(KtimeNs(0), Limits { max_connections, max_closed: 2 });
        let mut counts = Counts::default();
        for event in &before {
            table.apply(event, &mut |observed| counts.add(observed));
        }
        table.seed(&seeded.iter().map(sampled).collect::<Vec<_>>());
        table.lost(&Lost { noticed: KtimeNs(1_000_000_000), count: 1, at: LostAt::Ring });
        let there = counted(&table, None);
        counts.set(there);
        prop_assert_eq!(now(&counts), there);
        prop_assert!(!counts.set(there), "nothing is new");
        for event in &after {
            // What there is no room for is not told, but never is there less than nothing.
            table.apply(event, &mut |observed| counts.add(observed));
        }
        counts.set(counted(&table, None));
        prop_assert_eq!(now(&counts), counted(&table, None));
    }

    #[test]
    fn only_states_that_are_asked_for_are_counted(events in prop::collection::vec(event(), 0..100)) {
        let only: StateSet = "close-wait,syn-sent".parse().expect("is a set");
        let mut table = Table::new(KtimeNs(0), Limits::default());
        let mut counts = Counts::new(Some(only));
        for event in &events {
            let mut is_gap = false;
            table.apply(event, &mut |observed| {
                // As the filter of the session does.
                if only.contains(observed.transition.old) || only.contains(observed.transition.new) {
                    counts.add(observed);
                }
                is_gap |= observed.before.is_some_and(|before| before != observed.transition.old);
            });
            if is_gap {
                // What was not reported can have been asked for.
                counts.set(counted(&table, Some(only)));
            }
        }
        prop_assert_eq!(now(&counts), counted(&table, Some(only)));
    }
}

#[test]
fn history_is_of_each_second_and_no_longer_than_it_may_be() {
    let mut counts = Counts::default();
    let established = place(TcpState::Established);
    for count in 1..=4 {
        let mut counted = [0; STATES];
        counted[established] = count;
        counts.set(counted);
        counts.seconds(1);
    }
    assert_eq!(counts.states()[established].history, [1, 2, 3, 4]);
    assert_eq!(counts.states()[established].change(3), Some(2));
    assert_eq!(counts.states()[established].change(5), None, "that was before the start");
    counts.seconds(2);
    assert_eq!(counts.states()[established].history, [1, 2, 3, 4, 4, 4]);
    counts.seconds(u64::MAX);
    assert_eq!(counts.states()[established].history, vec![4; SECONDS]);
}
