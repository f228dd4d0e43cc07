//! Any sequence of events: nothing is lost, nothing is invented, the limits hold.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::model::{
    Accepted, Comm, Destroyed, Dwell, Endpoint, Family, Look, Request, ResetReason, ResetReceived, ResetSent,
    Sampled, SampledKind, Task, ThreadId, TimeWait, TimerAction, Tuple,
};

#[derive(Clone, Debug)]
enum Input {
    Event(Event),
    Seed(Vec<Sampled>),
    Correct(Vec<Sampled>, Vec<SocketKey>),
    Heal(Vec<Sampled>, u64),
    Resample(Vec<Sampled>, u64),
    Lost(Lost),
    Holders(Vec<(SocketKey, Task)>),
}

fn state() -> impl Strategy<Value = TcpState> {
    (0..TcpState::ALL.len()).prop_map(|index| TcpState::ALL[index])
}

/// Any transition at all, legal or not, in any order of time, for a handful of sockets.
fn transition() -> impl Strategy<Value = Transition> {
    let error = prop_oneof![Just(None), (0..200_u16).prop_map(Some)];
    (0..50_u64, 1..6_u64, any::<[bool; 4]>(), state(), state(), 0..3_u16, error).prop_map(
        |(ts, socket, [has_cookie, is_backup, is_orphan, is_newborn], old, new, port, error)| Transition {
            ts: KtimeNs(ts),
            key: match NonZeroU64::new(socket) {
                Some(cookie) if has_cookie => SocketKey::from_cookie(cookie),
                _ => SocketKey::from_address(socket),
            },
            family: Family::V4,
            mptcp: false,
            is_backup,
            // Known or not, and few of them, so that they meet.
            local: end(port),
            remote: end(port),
            old,
            new,
            netns: NonZeroU32::new(1),
            uid: None,
            error,
            task: is_orphan.then(|| task(port)),
            thread: None,
            is_orphan,
            is_newborn: !has_cookie && is_newborn,
            address: SocketKey::from_address(socket),
            listener: None,
        },
    )
}

fn task(pid: u16) -> Task {
    let pid = NonZeroU32::MIN.saturating_add(pid.into());
    Task { pid, tid: pid, comm: Comm::default(), started: None, cgroup: None }
}

fn end(port: u16) -> Endpoint {
    let addr = std::net::Ipv4Addr::LOCALHOST;
    Endpoint { addr: (port > 0).then_some(addr.into()), port: NonZeroU16::new(port) }
}

fn action() -> impl Strategy<Value = TimerAction> {
    prop_oneof![Just(TimerAction::Start), Just(TimerAction::Cancel), Just(TimerAction::Expire)]
}

fn request() -> impl Strategy<Value = Request> {
    (transition(), action(), any::<bool>()).prop_map(|(of, action, is_acked)| Request {
        address: of.address,
        ts: KtimeNs(of.ts.0 * 10_000_000),
        key: of.key,
        family: of.family,
        local: of.local,
        remote: of.remote,
        netns: of.netns,
        action,
        listener: Some(SocketKey::from_address(1)),
        is_acked,
    })
}

fn reset_sent() -> impl Strategy<Value = ResetSent> {
    (transition(), any::<bool>(), 0..30_u8).prop_map(|(of, is_listener, reason)| ResetSent {
        ts: of.ts,
        key: of.key,
        half_open: is_listener.then(|| Tuple::new(of.netns, of.local, of.remote)).flatten(),
        reason: ResetReason::from_number(reason),
    })
}

fn time_wait() -> impl Strategy<Value = TimeWait> {
    (transition(), action(), any::<bool>(), proptest::option::of(0..60_u64)).prop_map(
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
    let kind = prop_oneof![Just(SampledKind::Full), Just(SampledKind::TimeWait), Just(SampledKind::Request)];
    let one = (transition(), kind, proptest::option::of(0..60_u64)).prop_map(|(of, kind, entered)| Sampled {
        key: of.key,
        family: of.family,
        local: of.local,
        remote: of.remote,
        state: match (kind, of.new) {
            (SampledKind::Request, _) => TcpState::SynRecv,
            (SampledKind::TimeWait, TcpState::FinWait2) => TcpState::FinWait2,
            (SampledKind::TimeWait, _) => TcpState::TimeWait,
            // sock_diag lists no socket in CLOSE.
            (SampledKind::Full, TcpState::Close) => TcpState::Established,
            (SampledKind::Full, state) => state,
        },
        kind,
        netns: NonZeroU32::MIN,
        uid: None,
        entered: entered.map(KtimeNs),
    });
    proptest::collection::vec(one, 0..5)
}

fn input() -> impl Strategy<Value = Input> {
    let keys = || proptest::collection::vec(transition().prop_map(|of| of.key), 0..5);
    prop_oneof![
        3 => time_wait().prop_map(|event| Input::Event(Event::TimeWait(event))),
        3 => request().prop_map(|event| Input::Event(Event::Request(event))),
        1 => reset_sent().prop_map(|event| Input::Event(Event::ResetSent(event))),
        1 => transition().prop_map(|of| {
            Input::Event(Event::ResetReceived(ResetReceived { ts: of.ts, key: of.key }))
        }),
        1 => transition().prop_map(|of| Input::Event(Event::Destroyed(Destroyed { ts: of.ts, key: of.key }))),
        1 => transition().prop_map(|of| {
            Input::Event(Event::Accepted(Accepted { ts: of.ts, key: of.key, task: task(7) }))
        }),
        1 => keys().prop_map(|keys| Input::Holders(keys.into_iter().map(|key| (key, task(8))).collect())),
        1 => sampled().prop_map(Input::Seed),
        1 => (sampled(), keys()).prop_map(|(sampled, asked)| Input::Correct(sampled, asked)),
        1 => (sampled(), 0..60_u64).prop_map(|(sampled, started)| Input::Heal(sampled, started)),
        1 => (sampled(), 0..60_u64).prop_map(|(sampled, started)| Input::Resample(sampled, started)),
        9 => transition().prop_map(|event| Input::Event(Event::Transition(event))),
        1 => (0..50_u64, 1..9_u64).prop_map(|(noticed, count)| {
            Input::Lost(Lost { noticed: KtimeNs(noticed), count, at: LostAt::Ring })
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

#[test]
fn what_both_observers_missed_is_a_loss_once() {
    let mut table = Table::new(KtimeNs(0), Limits::default());
    assert_eq!(table.missed(0, KtimeNs(1)), None);
    let lost = table.missed(5, KtimeNs(2)).expect("five are missing");
    assert_eq!((lost.count, lost.at), (5, LostAt::Recursion));
    assert_eq!(table.missed(5, KtimeNs(3)), None, "they were reported");
    let recovered = Transition {
        is_backup: true,
        ..Transition::bare(
            KtimeNs(4),
            SocketKey::from_address(1),
            Family::V4,
            (TcpState::Close, TcpState::SynSent),
        )
    };
    let told = |table: &mut Table| {
        let mut told = 0;
        table.apply(&Event::Transition(recovered), &mut |_| told += 1);
        told
    };
    assert_eq!(told(&mut table), 1);
    assert_eq!(told(&mut table), 0, "it is known");
    assert_eq!(table.missed(6, KtimeNs(5)), None, "the sixth was seen by the second observer");
    assert_eq!(table.counters().lost, 5);
}

#[test]
fn a_full_table_knows_the_owner_of_what_ends() {
    let mut table = Table::new(KtimeNs(0), Limits { max_connections: 1, max_closed: 1 });
    table.set_sees(Sees { destruction: true, ..Sees::default() });
    let call = |socket, new, pid| {
        Event::Transition(Transition {
            error: Some(0),
            task: Some(task(pid)),
            ..Transition::bare(
                KtimeNs(1),
                SocketKey::from_address(socket),
                Family::V4,
                (TcpState::Established, new),
            )
        })
    };
    let held_by = |table: &Table| {
        let (_, held) = table.held().next().expect("a descriptor holds it");
        table.owner_of(&held.connection).map(|owner| owner.task)
    };
    table.apply(&call(2, TcpState::Close, 1), &mut |_| ());
    assert_eq!(held_by(&table), Some(task(1)));
    for pid in [2, 3] {
        table.apply(&call(1, TcpState::FinWait1, pid), &mut |_| ());
    }
    // With a fourth owner, those are forgotten that are of no connection any more.
    let mut owner = None;
    table.apply(&call(2, TcpState::Close, 4), &mut |observed| owner = observed.owner);
    assert_eq!(owner.map(|owner| owner.task), Some(task(4)));
    assert_eq!(held_by(&table), Some(task(4)));
    table.apply(&call(1, TcpState::FinWait1, 5), &mut |_| ());
    assert_eq!(held_by(&table), Some(task(4)), "not of the next one");
}

proptest! {
    #[test]
    fn lives_are_neither_lost_nor_invented_and_the_limits_hold(
        inputs in proptest::collection::vec(input(), 0..300),
        max_connections in 1..8_usize,
        max_closed in 0..8_usize,
        started in 0..50_u64,
        sees in sees(),
    ) {
        let mut table = Table::new(KtimeNs(started), Limits { max_connections, max_closed });
        table.set_sees(sees);
        let mut told = 0;
        for input in &inputs {
            let mut wrong = None;
            let mut tell = |observed: &Observation| {
                told += 1;
                // Nothing can have lasted longer than the time that there was.
                let is_sound = observed.connection.state == observed.transition.new
                    && observed.dwell.is_none_or(|dwell| dwell.ns() <= observed.transition.ts.0)
                    && (observed.connection.end_cause.is_none() || observed.transition.new == TcpState::Close);
                wrong = wrong.or((!is_sound).then_some(*observed));
            };
            let look = |sampled, started| Look {
                is_complete: started % 2 == 0,
                sampled,
                namespaces: &[NonZeroU32::MIN],
                started: KtimeNs(started),
                ended: KtimeNs(started + 1),
            };
            match input {
                Input::Lost(lost) => table.lost(lost),
                Input::Seed(sampled) => table.seed(sampled),
                Input::Correct(sampled, asked) => table.correct(sampled, asked, &mut tell),
                Input::Holders(holders) => table.note_holders(holders),
                Input::Heal(sampled, started) => {
                    table.heal(&look(sampled, *started));
                }
                Input::Resample(sampled, started) => table.resample(&look(sampled, *started), &mut tell),
                Input::Event(event) => {
                    table.apply(event, &mut tell);
                    // The same again, by the second observer, changes nothing.
                    if let Event::Transition(transition) = event
                        && transition.new != TcpState::Close
                    {
                        let recovered = table.counters().recovered;
                        let again = Transition { is_backup: true, ..*transition };
                        table.apply(&Event::Transition(again), &mut tell);
                        prop_assert!(table.counters().recovered == recovered || max_connections < 3);
                    }
                }
            }
            prop_assert!(wrong.is_none(), "{wrong:?}");
            let counters = table.counters();
            prop_assert_eq!(counters.opened, counters.closed + counters.evicted + counters.let_go + table.live().len() as u64);
            prop_assert!(table.len() <= max_connections);
            prop_assert!(table.closed().len() <= max_closed);
            prop_assert!(table.orphans().all(|(_, orphan)| orphan.state == TcpState::FinWait2));
            prop_assert!(table.orphans.iter().all(|key| table.live.contains_key(key)));
            prop_assert!(table.live().all(|(_, connection)| connection.state != TcpState::Close));
            prop_assert!(table.closed().all(|(_, connection)| connection.state == TcpState::Close));
            prop_assert!(table.held().len() <= max_connections);
            prop_assert!(table.connections().all(|of| of.owner.is_none() || table.owner_of(of).is_some()));
            prop_assert!(table.requests.values().all(|key| table.live.contains_key(key)));
        }
        table.settle_all(&mut |_| told += 1);
        prop_assert!(!table.is_unsettled());
        let counters = table.counters();
        prop_assert_eq!(counters.opened, counters.closed + counters.evicted + counters.let_go + table.live().len() as u64);
        prop_assert_eq!(counters.transitions, told);
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
                error: Some(0),
                is_orphan: true,
                ..Transition::bare(KtimeNs(now), SocketKey::from_address(1), Family::V6, (pair[0], pair[1]))
            };
            table.apply(&Event::Transition(transition), &mut |_| ());
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
