//! Any observations: nothing is lost, the limits hold, parts are the whole.

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::*;
use crate::model::{
    Dwell, EndCause, Endpoint, Family, KtimeNs, Role, SocketKey, TcpState, Transition,
    connection::Connection, dwell::Since,
};

fn observation() -> impl Strategy<Value = Observation> {
    let state = || (0..TcpState::ALL.len()).prop_map(|index| TcpState::ALL[index]);
    let dwell = prop_oneof![
        Just(None),
        (0..u64::MAX).prop_map(|ns| Some(Dwell::Exact(ns))),
        (0..u64::MAX).prop_map(|ns| Some(Dwell::Jiffy(ns))),
        (0..u64::MAX).prop_map(|ns| Some(Dwell::AtLeast(ns))),
    ];
    let cause = prop_oneof![Just(None), Just(Some(EndCause::Fin)), Just(Some(EndCause::Refused))];
    (0..30_u16, state(), state(), dwell, cause).prop_map(|(port, old, new, dwell, end_cause)| {
        let transition = Transition {
            local: Endpoint { addr: None, port: NonZeroU16::new(port) },
            remote: Endpoint { addr: None, port: None },
            ..Transition::bare(KtimeNs(1), SocketKey::from_address(1), Family::V4, (old, new))
        };
        let mut connection = Connection::begin(&transition, Since::Unknown, KtimeNs(0));
        (connection.role, connection.end_cause) = (Some(Role::Server), end_cause);
        Observation { transition, connection, before: None, dwell, owner: None, reset_reason: None }
    })
}

fn of(observations: &[Observation], shown: usize) -> Histograms {
    let mut histograms = Histograms::new(By::Port, shown);
    for observed in observations {
        histograms.add(observed);
    }
    histograms
}

/// What there is to say of an entry.
fn told(entry: &Entry) -> impl PartialEq + std::fmt::Debug + use<> {
    let arrows = entry.arrows().into_iter().map(|(old, new, arrow)| (old, new, arrow.count, arrow.at_least));
    let stays = TcpState::ALL.map(|state| {
        let (stays, at_least) = entry.stays(state);
        (stays.count(), stays.sum_ns(), stays.quantile(0.5), stays.quantile(0.99), *stays.bars(), at_least)
    });
    let endings = Ending::ALL.map(|ending| entry.ended(ending));
    (entry.transitions, arrows.collect::<Vec<_>>(), stays, endings, entry.closed_by(None))
}

proptest! {
    #[test]
    fn nothing_is_lost(observations in prop::collection::vec(observation(), 0..300), shown in 0..5_usize) {
        let histograms = of(&observations, shown);
        prop_assert!(histograms.entries.len() <= SPARE * shown.max(1));
        let (top, others) = histograms.top(shown);
        prop_assert!(top.len() <= shown);
        let mut all = others.map_or_else(Entry::default, |others| others.entry);
        for (_, entry) in top {
            all.merge(entry);
        }
        prop_assert_eq!(all.transitions, observations.len() as u64);
        prop_assert_eq!(told(&all), told(&histograms.all()));
    }

    #[test]
    fn parts_are_the_whole(
        parts in prop::collection::vec(prop::collection::vec(observation(), 0..60), 1..6),
        shown in 1..12_usize,
    ) {
        let whole = of(&parts.concat(), shown);
        let mut merged = Histograms::new(By::Port, shown);
        for part in &parts {
            merged.merge(&of(part, shown));
        }
        prop_assert!(merged.entries.len() <= SPARE * shown);
        prop_assert_eq!(told(&merged.all()), told(&whole.all()));
        // Where no key had to go, each is the same.
        if merged.summed_up == 0 && whole.summed_up == 0 {
            let by_key = |histograms: &Histograms| -> Vec<_> {
                histograms.top(usize::MAX).0.into_iter().map(|(key, entry)| (key, told(entry))).collect()
            };
            prop_assert_eq!(by_key(&merged), by_key(&whole));
        }
    }
}
