//! The table takes what the synthetic host reports as it takes what a kernel reports.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::model::{Counters, Event, Limits, Table, TcpState};

const STARTED: KtimeNs = KtimeNs(5_000 * S);

fn load(connections: usize, rate: u32) -> Load {
    Load {
        connections: NonZeroUsize::new(connections).expect("is not 0"),
        rate: NonZeroU32::new(rate).expect("is not 0"),
    }
}

/// A table that follows a synthetic host.
struct Follower {
    demo: Demo,
    table: Table,
    now: KtimeNs,
    events: u64,
    lost: u64,
}

impl Follower {
    fn new(load: Load) -> Self {
        let mut demo = Demo::new(load, 1, STARTED);
        let mut table = Table::new(STARTED, Limits::default());
        table.set_sees(Demo::sees());
        let (sampled, holders) = demo.before();
        table.seed(&sampled);
        table.note_holders(&holders);
        Self { demo, table, now: STARTED, events: 0, lost: 0 }
    }

    fn go_on(&mut self, seconds: u64) {
        for _ in 0..seconds * 50 {
            self.now.0 += S / 50;
            let mut batch = Batch::default();
            self.demo.until(self.now, &mut batch);
            for lost in &batch.lost {
                self.lost += lost.count;
                self.table.lost(lost);
            }
            for event in &batch.events {
                self.table.apply(event, &mut |_| {});
            }
            self.table.settle(batch.taken, &mut |_| {});
            self.events += batch.events.len() as u64;
        }
    }

    fn count(&self, state: TcpState) -> usize {
        self.table.live().filter(|(_, connection)| connection.state == state).count()
    }
}

#[track_caller]
fn assert_sound(counters: &Counters) {
    let Counters { gaps, illegal, backwards, unborn, evicted, .. } = *counters;
    assert_eq!((gaps, illegal, backwards, unborn, evicted), (0, 0, 0, 0, 0));
}

#[test]
fn a_kernel_could_report_it_and_it_goes_on_for_ever() {
    let mut follower = Follower::new(load(2_000, 150));
    let (live, mut last) = (follower.table.live().len(), 0);
    assert!((1_700..2_300).contains(&live), "{live} at first");
    follower.go_on(19);
    assert_eq!(follower.lost, 0, "nothing is lost at first");
    follower.go_on(281);
    assert_sound(follower.table.counters());
    assert!(follower.lost > 0, "something is lost in five minutes");
    for minutes in [5, 10, 15] {
        let live = follower.table.live().len();
        assert!((1_700..2_400).contains(&live), "{live} after {minutes} minutes");
        let events = follower.events - std::mem::replace(&mut last, follower.events);
        let rate = events / 300;
        assert!((130..170).contains(&rate), "{rate} events a second");
        let held = follower.table.held().len();
        assert!((2..40).contains(&held), "{held} held");
        for state in TcpState::ALL {
            let (count, most) = (
                follower.count(state),
                match state {
                    TcpState::Established => 2_000,
                    TcpState::TimeWait => 700,
                    TcpState::CloseWait => 220,
                    _ => 100,
                },
            );
            assert!(count <= most, "{count} in {state:?}");
        }
        for state in [
            TcpState::SynSent,
            TcpState::SynRecv,
            TcpState::TimeWait,
            TcpState::CloseWait,
            TcpState::FinWait2,
        ] {
            assert!(follower.count(state) > 0, "none in {state:?}");
        }
        follower.go_on(300);
        assert_sound(follower.table.counters());
    }
}

#[test]
fn the_restart_ends_what_was_leaked() {
    let mut follower = Follower::new(load(100, 20));
    follower.go_on(479);
    let before = follower.count(TcpState::CloseWait);
    assert!((100..200).contains(&before), "{before}");
    follower.go_on(2);
    assert!(follower.count(TcpState::CloseWait) < 10, "{}", follower.count(TcpState::CloseWait));
    follower.go_on(60);
    let java = follower.table.live().filter_map(|(_, connection)| follower.table.owner_of(connection));
    let pids: Vec<_> = java.filter(|owner| owner.task.comm.bytes() == b"java").collect();
    assert!(pids.len() > 5, "{}", pids.len());
    assert!(pids.iter().all(|owner| owner.task.pid.get() == 3331), "another process has all of them");
    assert_sound(follower.table.counters());
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let events = |seed, step: u64| {
        let mut demo = Demo::new(load(500, 400), seed, STARTED);
        let mut batch = Batch::default();
        for at in (0..=20 * S).step_by(usize::try_from(step).expect("fits")) {
            demo.until(KtimeNs(STARTED.0 + at), &mut batch);
        }
        (demo.before(), batch.events)
    };
    assert_eq!(events(7, S / 100), events(7, 5 * S), "however often it is asked");
    assert_ne!(events(7, S).1, events(8, S).1);
}

#[test]
fn events_are_in_the_order_of_time_and_none_is_in_the_future() {
    let mut demo = Demo::new(load(5_000, 2_000), 3, STARTED);
    let mut batch = Batch::default();
    let mut last = STARTED;
    for tick in 1..=1_000 {
        let now = KtimeNs(STARTED.0 + tick * S / 100);
        demo.until(now, &mut batch);
        for event in batch.events.drain(..) {
            assert!(event.ts() >= last, "{event:?}");
            last = event.ts();
        }
        assert!(last <= batch.taken);
    }
}

#[test]
fn a_large_load_is_as_large_as_was_asked_for() {
    let mut follower = Follower::new(load(200_000, 20_000));
    let before = follower.table.live().len();
    follower.go_on(10);
    assert_sound(follower.table.counters());
    let rate = follower.events / 10;
    let live = follower.table.live().len();
    assert!((15_000..23_000).contains(&rate), "{rate} events a second");
    assert!((180_000..220_000).contains(&live), "{before} at first, {live} at last");
}

#[test]
fn no_two_open_connections_are_alike() {
    let mut follower = Follower::new(load(60_000, 5_000));
    follower.go_on(5);
    let mut tuples = std::collections::HashSet::new();
    for (key, connection) in follower.table.live() {
        if connection.state != TcpState::Listen && connection.local.port.is_some() {
            let tuple = (connection.netns, connection.local, connection.remote);
            assert!(tuples.insert(tuple), "{key:?} {connection:?}");
        }
    }
}

#[test]
fn names_are_there_for_all_numbers() {
    let mut demo = Demo::new(load(1_000, 500), 1, STARTED);
    let mut batch = Batch::default();
    demo.until(KtimeNs(STARTED.0 + 20 * S), &mut batch);
    let known: Vec<_> = cgroups().map(|(id, _)| id).collect();
    let spaces: Vec<_> = namespaces().map(|(inode, _)| inode).collect();
    for event in &batch.events {
        if let Event::Transition(transition) = event {
            assert!(transition.netns.is_some_and(|netns| spaces.contains(&netns)));
            assert!(transition.task.is_none_or(|task| task.cgroup.is_some_and(|id| known.contains(&id))));
        }
    }
    let workloads: Vec<_> = cgroups().map(|(_, cgroup)| cgroup.workload).collect();
    assert_eq!(workloads.iter().filter(|workload| workload.container.is_some()).count(), 3);
}
