//! How old is too old, by state.

use crate::{
    model::{KtimeNs, TcpState},
    output::tui::world::{Kind, Row},
};

const SECOND: u64 = 1_000_000_000;

/// Up to when a stay is as fresh as any, and from when it is longer than it should be, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Nothing to look at.
    pub(super) fresh: u64,
    /// It should be over.
    pub(super) stale: u64,
}

/// How a stay compares with what is normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Staleness {
    /// From fresh (0) to stale (1) and no further, for the colour: each doubling of the age is the same step.
    pub(super) share: f64,
    /// The age in thousandths of what is normal at most.
    pub(super) thousandths: u64,
    /// The age is a lower bound, and so is this.
    pub(super) is_at_least: bool,
}

/// What is normal; `None` where a stay may be as long as it likes. Where a rule of `leaks` draws a line, it is drawn here, too.
pub(super) fn span(kind: Kind, state: TcpState) -> Option<Span> {
    let seconds = |fresh, stale| Some(Span { fresh: fresh * SECOND, stale: stale * SECOND });
    match kind {
        // What is over is over.
        Kind::Closed => None,
        // The program has been told (0, ECONNRESET, EPIPE) and has but to call close(); rule closed-fd-held.
        Kind::Held => seconds(1, 10),
        Kind::Open => match state {
            // As long as the program wants; a closed one that is open is none.
            TcpState::Established | TcpState::Listen | TcpState::Close => None,
            // What gets no answer is sent again after 1 s (TCP_TIMEOUT_INIT), and once more by 3 s; rule syn-sent-stuck.
            TcpState::SynSent | TcpState::SynRecv => seconds(1, 3),
            // We wait for one ACK, a round trip away: after 30 s our FIN was sent again some six times; rules fin-wait1-stuck,
            // closing-stuck, last-ack-stuck. Or, in CLOSE_WAIT, for the program, which has but to read the end of the stream
            // and to call close(); rule close-wait-leak.
            TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck | TcpState::CloseWait => {
                seconds(1, 30)
            }
            // An orphan ends after 60 s (tcp_fin_timeout); rule fin-wait2-stuck.
            TcpState::FinWait2 => seconds(10, 60),
            // 60 s (TCP_TIMEWAIT_LEN) and up to two for the timer wheel; late segments of the peer begin them anew.
            TcpState::TimeWait => seconds(62, 124),
        },
    }
}

/// How stale a row is; `None` where there is nothing to compare with, or its age is not known at all.
pub(super) fn of(row: &Row, now: KtimeNs) -> Option<Staleness> {
    let Span { fresh, stale } = span(row.kind, row.state())?;
    let (age, is_at_least) = row.age(now);
    let (age, thousandths) = (age?, thousandths(row, now)?);
    #[expect(clippy::cast_precision_loss, reason = "a colour")]
    let doublings = |ns: u64| (ns.max(1) as f64 / fresh as f64).log2();
    Some(Staleness { share: (doublings(age) / doublings(stale)).clamp(0.0, 1.0), thousandths, is_at_least })
}

/// The age in thousandths of what is normal at most; `None` as with [`of`].
pub(super) fn thousandths(row: &Row, now: KtimeNs) -> Option<u64> {
    let Span { stale, .. } = span(row.kind, row.state())?;
    Some(row.age(now).0? / (stale / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::findings::Thresholds;

    #[test]
    fn lines_are_where_the_rules_draw_them() {
        let rules = Thresholds::default();
        for (kind, state, ns) in [
            (Kind::Held, TcpState::Close, rules.closed_fd_held.age),
            (Kind::Open, TcpState::SynSent, rules.syn_sent_stuck.age),
            (Kind::Open, TcpState::CloseWait, rules.close_wait_leak.age),
            (Kind::Open, TcpState::FinWait1, rules.fin_wait1_stuck.age),
            (Kind::Open, TcpState::FinWait2, rules.fin_wait2_stuck.age),
            (Kind::Open, TcpState::Closing, rules.closing_stuck.age),
            (Kind::Open, TcpState::LastAck, rules.last_ack_stuck.age),
        ] {
            assert_eq!(span(kind, state).map(|span| span.stale), Some(ns), "{state}");
        }
    }

    #[test]
    fn every_span_goes_up() {
        for state in TcpState::ALL {
            for kind in [Kind::Open, Kind::Held, Kind::Closed] {
                if let Some(span) = span(kind, state) {
                    assert!(SECOND <= span.fresh && span.fresh < span.stale, "{kind:?} {state}");
                }
            }
        }
        let time_wait = span(Kind::Open, TcpState::TimeWait).expect("it ends");
        assert!(time_wait.fresh >= 60 * SECOND);
    }
}
