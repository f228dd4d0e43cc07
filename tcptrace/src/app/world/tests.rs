//! What is shown is what is in the table.

use std::{
    collections::HashMap,
    num::{NonZeroU16, NonZeroU32},
};

use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        Comm, Destroyed, Endpoint, Event, Family, Limits, Sees, Task, TcpState, TimeWait, TimerAction,
        Transition,
    },
    output::tui::world::place,
    source::{Batch, clock::WallClock},
};

use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, Listen, SynRecv, SynSent};

const SECOND_NS: u64 = 1_000_000_000;
const STARTED: KtimeNs = KtimeNs(50 * SECOND_NS);

fn at(ms: u64) -> KtimeNs {
    KtimeNs(STARTED.0 + ms * 1_000_000)
}

struct Session {
    gathering: Gathering,
    pipeline: Pipeline,
}

impl Session {
    fn begin(filter: Filter) -> Self {
        let options = DataOptions { states: filter.states, ..DataOptions::default() };
        let (gathering, sink) = Gathering::begin(options);
        let limits = Limits { max_closed: 3, ..Limits::default() };
        let mut pipeline =
            Pipeline::begin(STARTED, limits, filter, sink, WallClock::with_offset_ns(0)).expect("begins");
        pipeline.set_sees(Sees { minis: true, destruction: true, ..Sees::default() });
        Self { gathering, pipeline }
    }

    fn take(&mut self, events: Vec<Event>) {
        let taken = events.last().map_or(STARTED, Event::ts);
        let batch = Batch { events, taken, ..Batch::default() };
        self.pipeline.take(&batch, WallClock::with_offset_ns(0)).expect("nothing is written");
    }

    /// Refreshes so late that walks are due.
    fn refresh_all(&mut self, ms: u64) {
        self.gathering.walking = Pace(KtimeNs(0));
        self.gathering.looking = Pace(KtimeNs(1));
        assert!(self.gathering.refresh(&mut self.pipeline, at(ms)));
    }

    fn rows(&self, filter: &Filter) -> Vec<Row> {
        let mut rows = Vec::new();
        self.gathering.present(&self.pipeline, at(10_000)).each(filter, &mut |row| rows.push(row));
        rows
    }
}

fn key(socket: u64) -> SocketKey {
    SocketKey::from_address(socket)
}

fn transition(ms: u64, socket: u64, old: TcpState, new: TcpState) -> Transition {
    let end = |port| Endpoint { addr: Some([10, 0, 0, 1].into()), port: NonZeroU16::new(port) };
    Transition {
        local: end(1000 + u16::try_from(socket % 5).expect("is small")),
        remote: end(443),
        netns: NonZeroU32::new(1),
        error: Some(0),
        task: (old == Close).then(|| Task {
            pid: NonZeroU32::MIN,
            tid: NonZeroU32::MIN,
            comm: Comm::from("curl"),
            started: None,
            cgroup: None,
        }),
        ..Transition::bare(at(ms), key(socket), Family::V4, (old, new))
    }
}

fn go(socket: u64, states: &[TcpState]) -> Vec<Event> {
    let pairs = states.windows(2).zip(1..);
    pairs.map(|(pair, ms)| Event::Transition(transition(ms, socket, pair[0], pair[1]))).collect()
}

/// What happens to a handful of sockets.
fn event() -> impl Strategy<Value = Event> {
    let state = || (0..TcpState::ALL.len()).prop_map(|index| TcpState::ALL[index]);
    let of = (1..5_000_u64, 1..9_u64, state(), state(), any::<bool>());
    prop_oneof![
        6 => of.prop_map(|(ms, socket, old, new, is_orphan)| {
            Event::Transition(Transition { is_orphan, ..transition(ms, socket, old, new) })
        }),
        1 => (1..5_000_u64, 1..9_u64).prop_map(|(ms, socket)| {
            Event::Destroyed(Destroyed { ts: at(ms), key: key(socket) })
        }),
        1 => (1..5_000_u64, 1..9_u64, any::<bool>()).prop_map(|(ms, socket, ends)| {
            let Transition { key, family, local, remote, netns, ts, .. } = transition(ms, socket, Close, Close);
            let action = if ends { TimerAction::Expire } else { TimerAction::Start };
            let thread = crate::model::ThreadId(1);
            let (state, entered) = (TcpState::TimeWait, None);
            Event::TimeWait(TimeWait { ts, key, family, local, remote, netns, action, state, entered, thread })
        }),
    ]
}

proptest! {
    #[test]
    fn each_socket_is_a_row_once_and_that_of_its_key(
        events in prop::collection::vec(event(), 0..120),
        has_filter in any::<bool>(),
    ) {
        let states = has_filter.then(|| "close-wait,time-wait,close".parse().expect("is a set"));
        let mut session = Session::begin(Filter { states, ..Filter::default() });
        for event in events {
            session.take(vec![event]);
        }
        session.refresh_all(6_000);
        let rows = session.rows(&Filter::default());
        let present = session.gathering.present(&session.pipeline, at(6_000));
        let mut by_key = HashMap::new();
        for row in &rows {
            prop_assert!(by_key.insert(row.key, *row).is_none(), "{:?} twice", row);
            prop_assert_eq!(present.row(row.key), Some(*row));
            prop_assert_eq!(row.kind == Kind::Open, row.state() != Close);
        }
        prop_assert_eq!(present.len(), rows.len());
        let table = session.pipeline.table();
        for socket in 1..9 {
            let row = present.row(key(socket));
            prop_assert_eq!(row, by_key.get(&key(socket)).copied());
            let is_known = table.open(key(socket)).is_some() || table.ended(key(socket)).is_some()
                || table.held_one(key(socket)).is_some();
            prop_assert!(has_filter || is_known == row.is_some());
        }
        let overview = present.overview();
        for state in TcpState::ALL {
            let count = |rows: &mut dyn Iterator<Item = &[u64; 11]>| rows.map(|counts| counts[place(state)]).sum::<u64>();
            let open = rows.iter().filter(|row| row.kind == Kind::Open && row.state() == state).count() as u64;
            prop_assert_eq!(overview.states[place(state)].count, open, "{}", state);
            prop_assert_eq!(count(&mut present.ports().iter().map(|row| &row.counts)), open);
            prop_assert_eq!(count(&mut present.processes().iter().map(|row| &row.counts)), open);
        }
        if !has_filter {
            prop_assert_eq!(overview.held, table.held().len() as u64);
        }
        prop_assert_eq!(present.ports().iter().map(|row| row.held).sum::<u64>(), overview.held);
    }
}

#[test]
fn a_row_tells_what_stands_for_it() {
    let mut session = Session::begin(Filter::default());
    session.take(go(1, &[Close, SynSent, Established]));
    session.take(go(2, &[Close, SynSent, Established, CloseWait, Close]));
    session.take(go(3, &[Close, SynSent, Established, Close]));
    session.take(vec![Event::Destroyed(Destroyed { ts: at(9), key: key(3) })]);
    session.refresh_all(10);
    let present = session.gathering.present(&session.pipeline, at(10));
    let row = |socket| present.row(key(socket)).map(|row| (row.kind, row.state(), row.closed));
    assert_eq!(row(1), Some((Kind::Open, Established, None)));
    assert_eq!(row(2), Some((Kind::Held, Close, Some(at(4)))));
    assert_eq!(row(3), Some((Kind::Closed, Close, Some(at(3)))));
    assert_eq!(row(4), None);
    assert_eq!(
        present.row(key(1)).and_then(|row| row.owner).map(|owner| owner.task.comm),
        Some(Comm::from("curl"))
    );
    assert_eq!((present.len(), present.overview().held), (3, 1));
    assert_eq!(present.processes().first().map(|row| row.held), Some(1));
    assert_eq!(present.stack(key(1)), None);
    assert_eq!(present.now().elapsed_ns, 10_000_000);
}

#[test]
fn a_socket_that_is_held_beside_its_time_wait_socket_is_open_until_that_is_over() {
    let mut session = Session::begin(Filter::default());
    session.take(go(1, &[Close, SynSent, Established, FinWait1, FinWait2]));
    let Transition { key, family, local, remote, netns, .. } = transition(0, 1, Close, Close);
    let time_wait = |ms, action| {
        let (state, thread) = (TcpState::TimeWait, crate::model::ThreadId(1));
        Event::TimeWait(TimeWait {
            ts: at(ms),
            key,
            family,
            local,
            remote,
            netns,
            action,
            state,
            entered: None,
            thread,
        })
    };
    let swap = Event::Transition(transition(7, 1, FinWait2, Close));
    session.take(vec![time_wait(6, TimerAction::Start), swap]);
    session.refresh_all(10);
    let kinds =
        |session: &Session| session.rows(&Filter::default()).iter().map(|row| row.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&session), [Kind::Open]);
    assert_eq!(session.gathering.present(&session.pipeline, at(10)).overview().held, 1, "and is held");
    session.take(vec![time_wait(60_000, TimerAction::Expire)]);
    session.refresh_all(61_000);
    assert_eq!(kinds(&session), [Kind::Held]);
    assert_eq!(session.gathering.present(&session.pipeline, at(61_000)).len(), 1);
}

#[test]
fn both_filters_are_kept_to() {
    let states = |list: &str| Some(list.parse().expect("is a set"));
    let mut session =
        Session::begin(Filter { states: states("established,close-wait"), ..Filter::default() });
    session.take(go(1, &[Close, SynSent, Established]));
    session.take(go(2, &[Close, SynSent, Established, CloseWait]));
    session.take(go(3, &[Close, SynSent]));
    session.refresh_all(10);
    let count = |filter: &Filter| session.rows(filter).len();
    assert_eq!(count(&Filter::default()), 2);
    assert_eq!(count(&Filter { states: states("close-wait,syn-sent"), ..Filter::default() }), 1);
    assert_eq!(
        count(&Filter { local_ports: Some("1001".parse().expect("is a list")), ..Filter::default() }),
        1
    );
    let present = session.gathering.present(&session.pipeline, at(10));
    let counts = present.overview().states.clone();
    assert_eq!((counts[place(SynSent)].count, counts[place(Established)].count), (0, 1));
    assert_eq!((present.len(), present.row(key(3))), (2, None));
}

#[test]
fn walks_are_made_when_they_are_due() {
    let mut session = Session::begin(Filter::default());
    session.take(vec![Event::Transition(transition(1, 1, Listen, SynRecv))]);
    assert!(session.gathering.refresh(&mut session.pipeline, at(10)));
    let walked = |session: &Session| session.gathering.present(&session.pipeline, at(0)).walked();
    assert_eq!(walked(&session), Some(at(10)), "the first one at once");
    let looked = |session: &Session| session.gathering.present(&session.pipeline, at(0)).found().looked;
    assert_eq!(looked(&session), None);
    let mut pace = Pace(KtimeNs(0));
    pace.done(at(0), 1_000_000, 250);
    assert!(!pace.is_due(at(1_000)) && pace.is_due(at(1_001)), "a second, if it was short");
    pace.done(at(0), 40_000_000, 250);
    assert!(!pace.is_due(at(10_039)) && pace.is_due(at(10_040)), "250 times its length");
    session.refresh_all(20);
    assert_eq!((walked(&session), looked(&session)), (Some(at(20)), Some(at(20))));
    assert!(!session.gathering.refresh(&mut session.pipeline, at(30)), "nothing has happened");
    let due = session.gathering.due();
    assert!(due > at(1_020) && due <= at(1_150), "the next walk, or the end of the second");
    session.take(vec![Event::Transition(transition(40, 1, SynRecv, Established))]);
    assert!(session.gathering.refresh(&mut session.pipeline, at(50)));
    assert_eq!(walked(&session), Some(at(20)));
}

#[test]
fn our_own_share_is_that_of_the_last_seconds() {
    assert_eq!(own_cpu(&VecDeque::new()), None);
    let one = (KtimeNs(SECOND_NS), 0.5);
    assert_eq!(own_cpu(&VecDeque::from([one])), None);
    assert_eq!(own_cpu(&VecDeque::from([one, (KtimeNs(3 * SECOND_NS), 1.0)])), Some(0.25));
}

#[test]
fn a_look_at_many_goes_in_parts_and_tells_each_once() {
    let mut session = Session::begin(Filter::default());
    let count = u64::try_from(LOOK_PART).expect("some thousands") * 2 + 10;
    let begins = |ms: u64, n: u64| {
        let addr = u32::try_from(n).expect("is small").to_be_bytes();
        let remote = Endpoint { addr: Some(addr.into()), port: NonZeroU16::new(443) };
        Event::Transition(Transition { remote, ..transition(ms, n, Close, SynSent) })
    };
    session.take((1..=count).map(|n| begins(1, n)).collect());
    session.gathering.looking = Pace(KtimeNs(1));
    let found = |session: &Session| {
        let present = session.gathering.present(&session.pipeline, at(0));
        (present.found().looked, present.found().sockets)
    };
    for now in [10, 20] {
        session.gathering.refresh(&mut session.pipeline, at(now));
        assert_eq!(found(&session), (None, 0));
        assert_eq!(session.gathering.due(), at(now + 10), "it goes on soon");
    }
    // One is over that was told, others begin.
    session.take(vec![Event::Transition(transition(25, 1, SynSent, Close)), begins(26, count + 1)]);
    assert!(session.gathering.refresh(&mut session.pipeline, at(30)));
    let (looked, sockets) = found(&session);
    assert_eq!(looked, Some(at(30)));
    assert!((count..=count + 1).contains(&sockets), "{sockets}");
    assert!(session.gathering.due() > at(40));
}
