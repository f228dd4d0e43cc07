//! What is known of the times of a life: counted back from the last entry into a state, which is known best.

use crate::{
    model::{Dwell, KtimeNs, TcpState},
    output::tui::world::{Kind, Row},
};

/// A moment, with what is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Seen.
    At(KtimeNs),
    /// Known to one tick of the kernel's timer.
    About(KtimeNs),
    /// Then, or before.
    By(KtimeNs),
    /// Not known.
    Unknown,
}

impl When {
    /// The moment at which a stay began that ended at `self`.
    fn before(self, stayed: Option<Dwell>) -> Self {
        let Some(stayed) = stayed else { return Self::Unknown };
        let earlier = |at: KtimeNs| KtimeNs(at.0.saturating_sub(stayed.ns()));
        match (self, stayed) {
            (Self::Unknown, _) => Self::Unknown,
            (Self::At(at), Dwell::Exact(_)) => Self::At(earlier(at)),
            (Self::At(at) | Self::About(at), Dwell::Exact(_) | Dwell::Jiffy(_)) => Self::About(earlier(at)),
            (Self::By(at), _) | (Self::At(at) | Self::About(at), Dwell::AtLeast(_)) => Self::By(earlier(at)),
        }
    }

    /// The same, where what followed at once is not known to have done so.
    const fn or_before(self) -> Self {
        match self {
            Self::At(at) | Self::About(at) => Self::By(at),
            other => other,
        }
    }

    /// The time since then.
    fn running(self, now: KtimeNs) -> Option<Dwell> {
        match self {
            Self::At(at) => now.since(at).map(Dwell::Exact),
            Self::About(at) => now.since(at).map(Dwell::Jiffy),
            Self::By(at) => now.since(at).map(Dwell::AtLeast),
            Self::Unknown => None,
        }
    }
}

/// One state of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    /// Which.
    pub(super) state: TcpState,
    /// When it was entered.
    pub(super) began: When,
    /// For how long, so far where it goes on; `None` when that is not known.
    pub(super) stayed: Option<Dwell>,
    /// Since the first one was entered; `None` when nothing is known of that.
    pub(super) offset: Option<Dwell>,
    /// It is the one that the socket is in.
    pub(super) is_present: bool,
    /// States before it were dropped from what is remembered.
    pub(super) follows_dropped: bool,
}

/// A life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// The first state first.
    pub(super) stays: Vec<Stay>,
    /// Nanoseconds that are known of, until now or until its end.
    pub(super) total_ns: u64,
    /// It was longer, or may have been.
    pub(super) is_total_at_least: bool,
}

impl Life {
    /// What is known of a row at a moment.
    pub(super) fn of(row: &Row, now: KtimeNs) -> Self {
        let connection = &row.connection;
        let mut stays: Vec<Stay> = Vec::new();
        let stay = |state, stayed| Stay {
            state,
            began: When::Unknown,
            stayed,
            offset: None,
            is_present: false,
            follows_dropped: false,
        };
        stays.extend(connection.history().iter().map(|(state, stayed)| stay(state, stayed)));
        // The one it is in, as far as its connection tells; of a closed one that is its end.
        let is_over = row.kind != Kind::Open;
        let anchor = stays.len();
        let entered = match (connection.entered(), connection.age(now)) {
            (Some(at), _) if connection.is_entered_to_a_jiffy() => When::About(at),
            (Some(at), _) => When::At(at),
            (None, (Some(age), _)) => When::By(KtimeNs(now.0.saturating_sub(age))),
            (None, (None, _)) => When::Unknown,
        };
        let goes_on = entered.running(now).filter(|_| !is_over);
        stays.push(Stay {
            began: entered,
            follows_dropped: connection.is_truncated,
            ..stay(connection.state, goes_on)
        });
        if is_over && connection.state != TcpState::Close {
            // Its socket was closed by a time that is its own: a time-wait socket took over.
            let began = row.closed.map_or(When::Unknown, When::At);
            stays.push(Stay { began, ..stay(TcpState::Close, None) });
        }
        if let Some(last) = stays.last_mut() {
            last.is_present = true;
            if row.kind == Kind::Held {
                last.stayed = row.closed.and_then(|closed| now.since(closed)).map(Dwell::Exact);
            }
        }
        // Backwards: where a stay ended, the next one began.
        let mut next = if connection.is_truncated { entered.or_before() } else { entered };
        for stay in stays[..anchor].iter_mut().rev() {
            stay.began = next.before(stay.stayed);
            next = stay.began;
        }
        Self::measured(stays)
    }

    /// With the times since the first state.
    fn measured(mut stays: Vec<Stay>) -> Self {
        let first = stays.first().map_or(When::Unknown, |stay| stay.began);
        let (mut sum, mut is_at_least) = (0_u64, false);
        for stay in &mut stays {
            stay.offset = match (first, stay.began) {
                (When::At(first), When::At(at)) => at.since(first).map(Dwell::Exact),
                (When::At(first) | When::About(first), When::At(at) | When::About(at)) => {
                    at.since(first).map(Dwell::Jiffy)
                }
                // What was stayed before is at most what has passed.
                _ => Some(Dwell::AtLeast(sum)).filter(|_| sum > 0),
            };
            let is_end = stay.is_present && stay.state == TcpState::Close;
            sum = sum.max(stay.offset.map_or(0, Dwell::ns));
            match stay.stayed {
                Some(stayed) => {
                    sum = sum.saturating_add(stayed.ns());
                    is_at_least |= matches!(stayed, Dwell::AtLeast(_));
                }
                None => is_at_least |= !is_end,
            }
            is_at_least |= matches!(stay.began, When::By(_) | When::Unknown);
        }
        Self { stays, total_ns: sum, is_total_at_least: is_at_least }
    }
}

#[cfg(test)]
mod tests;
