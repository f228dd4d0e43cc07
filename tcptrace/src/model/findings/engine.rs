//! Asks the rules, and remembers what the numbers were before.

use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use super::{
    Activity, Census, Facts, Finding, Host, Measure, Rule, Thresholds, Trend, host::Counters, rules, words,
};
use crate::model::{KtimeNs, Observation, Owner, TcpState, histogram::Histograms};

/// States whose numbers are remembered.
const WATCHED: [TcpState; 8] = [
    TcpState::CloseWait,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::TimeWait,
    TcpState::SynSent,
    TcpState::SynRecv,
    TcpState::LastAck,
    TcpState::Closing,
];

/// Half of the time that is the recent past.
const HALF_NS: u64 = 10_000_000_000;

/// All rules and their memory.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Box<dyn Rule>>,
    thresholds: Thresholds,
    trends: FxHashMap<Measure, Trend>,
    activity: Activity,
    /// When the older half of the recent past began, and the younger one.
    halves: [KtimeNs; 2],
    /// What the kernel had counted when the older half began, and the younger one.
    counters: [FxHashMap<NonZeroU32, Counters>; 2],
}

impl Engine {
    /// With these rules, or all. `started` is when tracing began.
    pub fn new(only: Option<&[&str]>, thresholds: Thresholds, started: KtimeNs) -> Self {
        let mut rules = rules::all();
        rules.retain(|rule| only.is_none_or(|only| only.contains(&rule.id())));
        Self {
            rules,
            activity: Activity::new(thresholds.short_lived_churn.life),
            thresholds,
            trends: FxHashMap::default(),
            halves: [started; 2],
            counters: Default::default(),
        }
    }

    /// One more transition; `owner` is known by the name of his process.
    pub fn add(&mut self, observed: &Observation, owner: Option<&Owner>) {
        self.activity.add(observed, owner);
    }

    /// What is wrong at `now`, the worst first.
    pub fn look(
        &mut self,
        now: KtimeNs,
        census: &Census,
        histograms: &Histograms,
        host: &Host,
    ) -> Vec<Finding> {
        // Before the kernel's tables were read, and with them what was open before and whose it is, a number tells nothing: that
        // it becomes known is no growth.
        if host.read.is_some() {
            self.remember(now, census, host);
        }
        let flows = self.activity.recent();
        let counters = self.counted(host);
        let facts = Facts {
            now,
            recent_ns: now.since(self.halves[0]).unwrap_or(0),
            census,
            flows: &flows,
            activity: &self.activity,
            histograms,
            host,
            counters: &counters,
            thresholds: &self.thresholds,
            trends: &self.trends,
        };
        let mut found = Vec::new();
        for rule in &self.rules {
            rule.look(&facts, &mut found);
        }
        for finding in &mut found {
            compare_with_others(finding, &facts);
        }
        // Ties in the order of their names, so that the same is always told the same.
        found.sort_by_cached_key(|finding| {
            let worst = (std::cmp::Reverse(finding.severity), std::cmp::Reverse(finding.count));
            (worst, finding.rule, format!("{:?}", finding.subject))
        });
        found
    }

    /// A second is over. Call it each second, after the look at its end, if there is one.
    pub fn second(&mut self, now: KtimeNs, host: &Host) {
        self.activity.next_second();
        if now.since(self.halves[1]).is_some_and(|elapsed| elapsed >= HALF_NS) {
            self.activity.rotate();
            self.halves = [self.halves[1], now];
            let [_, younger] = std::mem::take(&mut self.counters);
            self.counters = [younger, host.counters.clone()];
        }
    }

    /// By how many the sockets in a state grow in a minute.
    pub fn slope(&self, state: TcpState) -> Option<f64> {
        self.trends.get(&Measure::All(state))?.per_minute()
    }

    /// Trends of what has gone to nothing are forgotten.
    fn remember(&mut self, now: KtimeNs, census: &Census, host: &Host) {
        let mut is_there: FxHashMap<Measure, u64> = FxHashMap::default();
        for state in WATCHED {
            let crowds =
                census.in_state(state).map(|(subject, crowd)| (Measure::State(*subject, state), crowd.count));
            is_there.extend(crowds);
        }
        is_there.extend(TcpState::ALL.map(|state| (Measure::All(state), census.total(state).0)));
        is_there.extend(census.routes.iter().map(|(route, used)| (Measure::Route(*route), used.all)));
        let waiting = census.routes.iter().filter(|(_, used)| used.time_wait > 0);
        is_there.extend(waiting.map(|(route, used)| (Measure::TimeWait(*route), used.time_wait)));
        is_there.extend(
            host.processes.iter().map(|process| (Measure::Descriptors(process.task.pid), process.open)),
        );
        self.trends.retain(|measure, _| is_there.contains_key(measure));
        for (measure, count) in is_there {
            self.trends.entry(measure).or_default().add(now, count);
        }
    }

    /// What was counted since the older half began. What a namespace had counted when it was first seen is not told.
    fn counted(&mut self, host: &Host) -> FxHashMap<NonZeroU32, Counters> {
        let [older, younger] = &mut self.counters;
        let counted = host.counters.iter().map(|(netns, now)| {
            younger.entry(*netns).or_insert(*now);
            let then = older.entry(*netns).or_insert(*now);
            (*netns, now.since(*then))
        });
        counted.collect()
    }
}

/// Says how long others of the same port were in the state. A rule that decides by that has said it.
fn compare_with_others(finding: &mut Finding, facts: &Facts<'_>) {
    let (Some(state), Some(_)) = (finding.state, finding.oldest_ns) else { return };
    if finding.rule != "close-wait-leak"
        && let Some(p99) = facts.p99(&finding.subject, state)
    {
        let p99 = words::span(p99);
        finding.evidence.push(format!("99 % of the others on this port left {} within {p99}", state.name()));
    }
}
