//! What is gathered is what has happened.

use std::{cell::RefCell, rc::Rc};

use super::*;
use crate::{
    model::{Event, Family, Limits, Lost, LostAt, Table, TcpState, Transition, histogram::Ending},
    output::{Beside, Notice, Sink as _, tui::world::place},
};

use TcpState::{Close, CloseWait, Established, FinWait1, SynSent};

const SECOND_NS: u64 = 1_000_000_000;

fn moment(ns: u64) -> Moment {
    Moment { ktime: KtimeNs(100 * SECOND_NS + ns), unix_ns: 0, elapsed_ns: ns }
}

struct Fed {
    table: Table,
    data: Rc<RefCell<Data>>,
    sink: DataSink,
}

impl Fed {
    fn new() -> Self {
        let data = Rc::new(RefCell::new(Data::new(DataOptions::default())));
        let table = Table::new(moment(0).ktime, Limits::default());
        Self { table, sink: DataSink::new(Rc::clone(&data)), data }
    }

    fn go(&mut self, ns: u64, socket: u64, old: TcpState, new: TcpState) {
        let key = SocketKey::from_address(socket);
        let bare = Transition::bare(moment(ns).ktime, key, Family::V4, (old, new));
        let transition = Transition { error: Some(0), is_orphan: true, ..bare };
        let sink = &mut self.sink;
        self.table.apply(&Event::Transition(transition), &mut |observed| {
            let beside = Beside { names: &Names::default(), stack: None, is_new_stack: false };
            sink.transition(moment(ns), observed, beside).expect("nothing is written");
        });
    }

    fn refresh(&mut self, ns: u64) -> bool {
        let outside =
            Outside { counters: *self.table.counters(), held: Some(0), syncookies: 0, own_cpu: Some(0.01) };
        self.data.borrow_mut().refresh(moment(ns), &outside)
    }

    fn walk(&mut self, ns: u64) {
        let table = &self.table;
        self.data.borrow_mut().walk(
            moment(ns).ktime,
            |tell| table.live().for_each(|(_, connection)| tell(false, connection, None)),
            &mut |_| None,
        );
    }

    fn look(&mut self, ns: u64) {
        let mut data = self.data.borrow_mut();
        for (key, connection) in self.table.live() {
            data.open(moment(ns), *key, connection, None, &Names::default());
        }
        data.look(moment(ns), self.table.counters().lost, true);
    }
}

#[test]
fn the_overview_is_brought_up_to_date_when_something_has_changed() {
    let mut fed = Fed::new();
    assert!(!fed.refresh(10), "nothing has happened");
    fed.go(20, 1, Close, SynSent);
    assert!(fed.refresh(30));
    assert!(!fed.refresh(40));
    let states = |fed: &Fed| fed.data.borrow().overview().states.clone();
    assert_eq!(states(&fed)[place(SynSent)].count, 1);
    fed.go(50, 1, SynSent, Established);
    fed.go(60, 2, Close, SynSent);
    fed.go(70, 2, SynSent, Close);
    assert!(!fed.refresh(SECOND_NS + TOLD_NS - 1) || fed.data.borrow().overview().opened.is_empty());
    fed.walk(80);
    assert!(fed.refresh(SECOND_NS + TOLD_NS), "a second is over");
    let data = fed.data.borrow();
    let overview = data.overview();
    assert_eq!((overview.states[place(SynSent)].count, overview.states[place(Established)].count), (0, 1));
    assert_eq!(overview.states[place(Established)].history, [1]);
    assert_eq!((&overview.opened[..], &overview.closed[..]), (&[2][..], &[1][..]));
    assert_eq!((overview.opened_total, overview.closed_total, overview.transitions), (2, 1, 4));
    assert_eq!(overview.transitions_per_s, 4);
    assert_eq!(overview.endings[Ending::Unknown as usize], (1, 1));
    assert_eq!(overview.own_cpu, Some(0.01));
    assert_eq!(data.next_second(), moment(2 * SECOND_NS + TOLD_NS).ktime);
    let arrow = data.arrows().iter().find(|arrow| (arrow.from, arrow.to) == (SynSent, Established));
    assert_eq!(arrow.map(|arrow| (arrow.count, arrow.p50_ns)), Some((1, Some(30))));
}

#[test]
fn a_walk_counts_and_is_shown_at_once() {
    let mut fed = Fed::new();
    fed.go(20, 1, Close, SynSent);
    fed.table.forget(SocketKey::from_address(1));
    fed.go(20, 2, Close, SynSent);
    fed.refresh(30);
    let count = |fed: &Fed| fed.data.borrow().overview().states[place(SynSent)].count;
    assert_eq!(count(&fed), 2, "nothing has told of it");
    fed.walk(40);
    assert_eq!(count(&fed), 1);
    assert_eq!(fed.data.borrow().walked(), Some(moment(40).ktime));
    fed.go(50, 2, SynSent, Established);
    fed.refresh(60);
    assert_eq!((count(&fed), fed.data.borrow().processes().len()), (0, 1));
}

#[test]
fn a_loss_is_told_with_its_moment() {
    let mut fed = Fed::new();
    let lost = Lost { noticed: moment(5).ktime, count: 3, at: LostAt::Ring };
    fed.table.lost(&lost);
    fed.sink.notice(moment(5), &Notice::Lost(&lost)).expect("nothing is written");
    assert!(fed.refresh(6));
    let data = fed.data.borrow();
    assert_eq!((data.overview().lost, data.overview().lost_at), (3, Some(moment(5).ktime)));
}

#[test]
fn what_is_found_keeps_its_moment_and_what_is_over_is_remembered() {
    let mut fed = Fed::new();
    for socket in 1..=30 {
        fed.go(socket, socket, Close, SynSent);
        fed.go(socket, socket, SynSent, Established);
        fed.go(100, socket, Established, CloseWait);
    }
    let found = |fed: &Fed| fed.data.borrow().found().clone();
    fed.look(SECOND_NS);
    assert_eq!((found(&fed).looked, found(&fed).sockets), (Some(moment(SECOND_NS).ktime), 30));
    assert_eq!(found(&fed).findings, [], "that is not long enough");
    assert!(found(&fed).not_seen.iter().any(|what| what.contains("socket tables")), "facts have not come");
    for minutes in [10, 11] {
        fed.look(minutes * 60 * SECOND_NS);
    }
    let (first, report) = found(&fed).findings.first().cloned().expect("they are leaked");
    assert_eq!((first, report.rule), (moment(600 * SECOND_NS), "close-wait-leak"));
    for socket in 1..=30 {
        fed.go(700 * SECOND_NS, socket, CloseWait, Close);
    }
    fed.look(720 * SECOND_NS);
    assert_eq!(found(&fed).findings, []);
    let over = found(&fed).over;
    assert_eq!(
        over.first().map(|(at, report)| (*at, report.rule)),
        Some((moment(720 * SECOND_NS), "close-wait-leak"))
    );
    assert_eq!(over.first().map(|(_, report)| report.status), Some(crate::output::findings::Status::Gone));
}

#[test]
fn names_are_asked_for_once_in_a_look() {
    let mut fed = Fed::new();
    fed.go(20, 1, Close, FinWait1);
    let (_, connection) = fed.table.live().next().expect("is there");
    let mut data = fed.data.borrow_mut();
    assert!(data.wants_names(connection, None));
    assert!(!data.wants_names(connection, None));
    data.look(moment(30), 0, true);
    assert!(data.wants_names(connection, None), "they may be others by now");
}
