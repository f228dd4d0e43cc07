//! Lives that a table made, and what is said of their times.

use std::num::NonZeroU64;

use super::*;
use crate::model::{Connection, Event, Family, Limits, SocketKey, Table, Transition};

const MS: u64 = 1_000_000;

fn key() -> SocketKey {
    SocketKey::from_cookie(NonZeroU64::MIN)
}

/// The row after these transitions, given as milliseconds, old and new state.
fn row(steps: &[(u64, TcpState, TcpState)]) -> Row {
    let mut table = Table::new(KtimeNs(0), Limits::default());
    for (at, old, new) in steps {
        let bare = Transition::bare(KtimeNs(at * MS), key(), Family::V4, (*old, *new));
        table.apply(&Event::Transition(Transition { error: Some(0), ..bare }), &mut |_| {});
    }
    let open = table.live().next().map(|(_, connection)| (*connection, Kind::Open));
    let closed = || table.closed().next().map(|(_, connection)| (*connection, Kind::Closed));
    let (connection, kind): (Connection, _) = open.or_else(closed).expect("one was made");
    let ended = connection.entered().filter(|_| kind == Kind::Closed);
    Row { key: key(), kind, connection, owner: None, closed: ended, is_doubtful: false }
}

fn said(life: &Life) -> Vec<(TcpState, When, Option<Dwell>, Option<Dwell>)> {
    life.stays.iter().map(|stay| (stay.state, stay.began, stay.stayed, stay.offset)).collect()
}

fn at(ms: u64) -> When {
    When::At(KtimeNs(ms * MS))
}

#[expect(clippy::unnecessary_wraps, reason = "as it is compared")]
fn exact(ms: u64) -> Option<Dwell> {
    Some(Dwell::Exact(ms * MS))
}

#[test]
fn all_was_seen() {
    use TcpState::{Close, CloseWait, Established, LastAck, SynSent};
    let steps = [(10, Close, SynSent), (12, SynSent, Established), (40, Established, CloseWait)];
    let open = Life::of(&row(&steps), KtimeNs(100 * MS));
    let mut expected = vec![
        (SynSent, at(10), exact(2), exact(0)),
        (Established, at(12), exact(28), exact(2)),
        (CloseWait, at(40), exact(60), exact(30)),
    ];
    assert_eq!(said(&open), expected);
    assert_eq!((open.total_ns, open.is_total_at_least), (90 * MS, false));

    let end = [(45, CloseWait, LastAck), (46, LastAck, Close)];
    let closed = Life::of(&row(&[&steps[..], &end].concat()), KtimeNs(100 * MS));
    expected[2].2 = exact(5);
    expected.extend([(LastAck, at(45), exact(1), exact(35)), (Close, at(46), None, exact(36))]);
    assert_eq!(said(&closed), expected);
    assert_eq!((closed.total_ns, closed.is_total_at_least), (36 * MS, false));
}

#[test]
fn before_what_is_not_known_nothing_is() {
    use TcpState::{Close, CloseWait, Established, LastAck, SynSent};
    // ESTABLISHED -> CLOSE_WAIT was lost.
    let steps = [(10, Close, SynSent), (12, SynSent, Established), (45, CloseWait, LastAck)];
    let life = Life::of(&row(&steps), KtimeNs(100 * MS));
    let expected = [
        (SynSent, When::Unknown, exact(2), None),
        (CloseWait, When::Unknown, None, Some(Dwell::AtLeast(2 * MS))),
        (LastAck, at(45), exact(55), Some(Dwell::AtLeast(2 * MS))),
    ];
    assert_eq!(said(&life), expected);
    assert_eq!((life.total_ns, life.is_total_at_least), (57 * MS, true));
}

#[test]
fn a_lower_bound_makes_all_before_it_one() {
    let (exact, jiffy) = (Dwell::Exact(2), Dwell::Jiffy(2));
    let (now, by) = (KtimeNs(10), When::By(KtimeNs(8)));
    assert_eq!(When::At(now).before(Some(Dwell::AtLeast(2))), by);
    assert_eq!(When::By(now).before(Some(exact)), by);
    assert_eq!(When::At(now).before(Some(jiffy)), When::About(KtimeNs(8)));
    assert_eq!(When::About(now).before(Some(exact)), When::About(KtimeNs(8)));
    assert_eq!(by.before(None), When::Unknown);
    assert_eq!(When::Unknown.before(Some(exact)), When::Unknown);
}

#[test]
fn what_was_dropped_lies_before_the_present() {
    use TcpState::{Close, SynRecv, SynSent};
    let mut steps = vec![(10, Close, SynSent)];
    for step in 0..8 {
        let (old, new) = if step % 2 == 0 { (SynSent, SynRecv) } else { (SynRecv, SynSent) };
        steps.push((20 + step * 10, old, new));
    }
    let life = Life::of(&row(&steps), KtimeNs(100 * MS));
    assert_eq!(life.stays.len(), 7);
    let (last, before) = (life.stays[6], life.stays[5]);
    assert!(last.follows_dropped && last.began == at(90));
    // It ended at 70, which nothing tells any more.
    assert_eq!(before.began, When::By(KtimeNs(80 * MS)));
    assert_eq!(last.offset, Some(Dwell::AtLeast(60 * MS)));
}
