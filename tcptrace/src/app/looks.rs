//! When to look at the kernel's socket tables beside tracing, for what, and what to make of it.

use std::{io, num::NonZeroU32, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    pipeline::Pipeline,
    survey::{Asked, Shown, Survey},
};
use crate::{
    model::{KtimeNs, SampledKind, Sees},
    output::SynCookies,
    source::{
        clock,
        diag::TcpExt,
        live::{Hook, Live, Way},
    },
};

/// How often to see whether a look is due. Where orphans are is then looked up: a view is never wrong for longer.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Looks after a loss: one that was begun before the loss, and two that agree.
const LOOKS_TO_HEAL: u32 = 3;

/// A look at everything is followed by a pause of so many times its own length: 1 % of a processor at most.
const PAUSE_FACTOR: u64 = 100;

/// The same after a loss, when what is shown is known to be wrong: 10 %.
const PAUSE_FACTOR_AFTER_LOSS: u64 = 10;

/// A look at single sockets is followed by a pause of so many times its own length: 5 % of a processor at most. What is shown of
/// them is wrong for as long.
const PAUSE_FACTOR_OF_CORRECTIONS: u64 = 20;

/// How often to read what the kernel counts.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How long to wait for an owner's own calls before it is looked for among all processes.
const UNOWNED_NS: u64 = 1_000_000_000;

/// A search for connections without an owner is followed by a pause of so many times its own length, or by the longest one:
/// 0.1 % of a processor.
const SEARCH_PAUSE_FACTOR: u64 = 1000;

/// How often to look for owners at most.
const SEEK_EVERY: Duration = Duration::from_secs(5);

/// How often to read the facts that findings are made of, at most.
const FACTS_EVERY: Duration = Duration::from_millis(950);

/// How long to wait for the last facts at least, and at most where they have taken long before.
const LAST_FACTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

/// How much longer than before the last facts may take.
const LAST_FACTS_FACTOR: u64 = 4;

/// How long to wait for the last counts.
const LAST_COUNT: Duration = Duration::from_secs(1);

/// A look at everything that comes again and again.
#[derive(Clone, Copy, Debug, Default)]
struct Paced {
    is_under_way: bool,
    not_before: KtimeNs,
}

impl Paced {
    fn is_due(&self, now: KtimeNs) -> bool {
        !self.is_under_way && now >= self.not_before
    }

    fn done(&mut self, started: KtimeNs, ended: KtimeNs, pause_factor: u64) {
        let took = ended.since(started).unwrap_or(0);
        *self = Self { is_under_way: false, not_before: KtimeNs(ended.0 + took * pause_factor) };
    }
}

/// The looks of one run.
pub(super) struct Looks {
    survey: Survey,
    way: Way,
    /// Without cookies a sampled socket and its events would not be known as the same.
    has_identity: bool,
    to_heal: u32,
    is_after_loss: bool,
    healing: Paced,
    sampling: Paced,
    auditing: Paced,
    audit_every: Option<Duration>,
    correcting: Paced,
    counting: Paced,
    /// What the kernel had counted when it was told last.
    counted: FxHashMap<NonZeroU32, TcpExt>,
    seeking_holders: Paced,
    /// Where the output wants findings, with the factor of the pause.
    facts: Option<(Paced, u64)>,
    /// How long it took to read them, at most.
    facts_took_ns: u64,
    /// Connections that entered their state before this moment were looked for, or have been given up.
    sought_until: KtimeNs,
    /// Timer events that the kernel skipped.
    skipped: u64,
}

impl Looks {
    /// Tells the pipeline what there will be to see, and asks for what was open before.
    pub(super) fn begin(
        survey: Survey,
        live: &Live,
        audit_every: Option<Duration>,
        pipeline: &mut Pipeline,
    ) -> Self {
        let way = live.lifecycle().way;
        let has_identity = matches!(live.hook(), Hook::Btf { cookie: true });
        pipeline.set_sees(Sees {
            minis: way.sees_events(),
            samples: way == Way::Sample,
            resets: live.extras().resets.is_ok(),
            destruction: live.extras().destruction.is_ok(),
            tables: has_identity && survey.is_there(),
        });
        if survey.ask_for_all(if has_identity { Asked::Seed } else { Asked::Count }) && has_identity {
            pipeline.expect_seed();
        }
        let first_audit = after(clock::now(), audit_every.unwrap_or_default());
        Self {
            survey,
            way,
            has_identity,
            to_heal: 0,
            is_after_loss: false,
            healing: Paced::default(),
            sampling: Paced::default(),
            auditing: Paced { is_under_way: false, not_before: first_audit },
            audit_every,
            correcting: Paced::default(),
            counting: Paced { is_under_way: false, not_before: after(clock::now(), COUNT_EVERY) },
            counted: FxHashMap::default(),
            seeking_holders: Paced::default(),
            facts: pipeline.wants_facts().map(|factor| (Paced::default(), factor)),
            facts_took_ns: 0,
            sought_until: KtimeNs(0),
            skipped: 0,
        }
    }

    /// Records were lost.
    pub(super) const fn note_loss(&mut self) {
        self.to_heal = LOOKS_TO_HEAL;
        if !self.is_after_loss {
            self.is_after_loss = true;
            self.healing.not_before = KtimeNs(0);
        }
    }

    /// Timer events that the kernel skipped. Some may have been about sockets of ours: the tables tell.
    pub(super) const fn note_skipped(&mut self, count: u64) {
        self.skipped += count;
        if count > 0 && self.to_heal == 0 {
            self.to_heal = LOOKS_TO_HEAL;
        }
    }

    /// How many there were in all.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Asks for what is due. Call it each [`TICK`].
    pub(super) fn tick(&mut self, pipeline: &Pipeline) {
        let now = clock::now();
        if self.counting.is_due(now) {
            self.counting.is_under_way = self.survey.ask_for_all(Asked::Count);
        }
        if let Some((facts, _)) = &mut self.facts
            && facts.is_due(now)
        {
            facts.is_under_way = self.survey.ask_for_all(Asked::Facts);
        }
        if !self.has_identity {
            return;
        }
        // Samples show all of them.
        if self.correcting.is_due(now) && self.way != Way::Sample {
            let table = pipeline.table();
            self.correcting.is_under_way = self.survey.ask_for(table.suspects().chain(table.orphans()));
        }
        if self.way == Way::Sample && self.sampling.is_due(now) {
            self.sampling.is_under_way = self.survey.ask_for_all(Asked::Sample);
        }
        let settled = KtimeNs(now.0.saturating_sub(UNOWNED_NS));
        if self.seeking_holders.is_due(now) {
            if pipeline.table().has_unowned(self.sought_until, settled) {
                self.seeking_holders.is_under_way = self.survey.ask_for_all(Asked::Holders);
                self.sought_until = settled;
            } else {
                // That has gone through all connections.
                self.seeking_holders.done(now, clock::now(), SEARCH_PAUSE_FACTOR);
                let latest = after(now, SEEK_EVERY);
                self.seeking_holders.not_before = self.seeking_holders.not_before.min(latest);
            }
        }
        if self.to_heal > 0 && self.healing.is_due(now) {
            self.healing.is_under_way = self.survey.ask_for_all(Asked::Heal);
        }
        if self.audit_every.is_some() && self.auditing.is_due(now) {
            self.auditing.is_under_way = self.survey.ask_for_all(Asked::Audit);
        }
    }

    /// Waits for what a look shows. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Shown {
        self.survey.next().await
    }

    /// Takes it in. Every event that the kernel made up to `shown.ended` must have been taken by the pipeline.
    pub(super) fn take(&mut self, mut shown: Shown, pipeline: &mut Pipeline) -> io::Result<()> {
        if self.way == Way::Off {
            // The end of one that cannot be seen would never come.
            shown.sampled.retain(|socket| socket.kind == SampledKind::Full);
        }
        match shown.asked {
            Asked::Seed => {
                pipeline.seed(&shown.sampled);
                tracing::info!("{} sockets were open before", shown.sampled.len());
                self.seeking_holders.is_under_way = self.survey.ask_for_all(Asked::Holders);
                self.sought_until = shown.ended;
            }
            Asked::Correct => {
                self.correcting.done(shown.started, shown.ended, PAUSE_FACTOR_OF_CORRECTIONS);
                pipeline.correct(&shown.sampled, &shown.keys)?;
            }
            Asked::Sample => {
                self.sampling.done(shown.started, shown.ended, PAUSE_FACTOR);
                pipeline.resample(&shown.look())?;
            }
            Asked::Heal => {
                let factor = if self.is_after_loss { PAUSE_FACTOR_AFTER_LOSS } else { PAUSE_FACTOR };
                self.healing.done(shown.started, shown.ended, factor);
                self.to_heal = self.to_heal.saturating_sub(1);
                self.is_after_loss &= self.to_heal > 0;
                pipeline.heal(&shown.look())?;
            }
            Asked::Audit => {
                self.auditing.done(shown.started, shown.ended, PAUSE_FACTOR);
                let due = after(shown.ended, self.audit_every.unwrap_or_default());
                self.auditing.not_before = self.auditing.not_before.max(due);
                pipeline.audit(&shown.look())?;
            }
            Asked::Holders => {
                self.seeking_holders.done(shown.started, clock::now(), PAUSE_FACTOR);
                let due = after(shown.ended, SEEK_EVERY);
                self.seeking_holders.not_before = self.seeking_holders.not_before.max(due);
                pipeline.note_holders(&shown.holders);
            }
            Asked::Facts => {
                let now = clock::now();
                self.facts_took_ns = self.facts_took_ns.max(now.since(shown.started).unwrap_or(0));
                if let Some((facts, factor)) = &mut self.facts {
                    facts.done(shown.started, now, *factor);
                    facts.not_before = facts.not_before.max(after(shown.started, FACTS_EVERY));
                }
                pipeline.note_holders(&shown.holders);
                pipeline.note_facts(shown.host.take().unwrap_or_default());
            }
            Asked::Count => {
                self.counting.done(shown.started, shown.ended, PAUSE_FACTOR);
                self.counting.not_before = self.counting.not_before.max(after(shown.ended, COUNT_EVERY));
            }
        }
        self.count(&shown, pipeline)
    }

    /// Asks for facts, where they are wanted, whenever the last ones came. Returns how many answers there will be, and how long
    /// to wait for them.
    pub(super) fn ask_for_last_facts(&mut self) -> (u32, Duration) {
        let (shortest, longest) = LAST_FACTS;
        let wait = Duration::from_nanos(self.facts_took_ns.saturating_mul(LAST_FACTS_FACTOR));
        let wait = wait.clamp(shortest, longest);
        let Some((facts, _)) = &mut self.facts else { return (0, wait) };
        let before = u32::from(facts.is_under_way);
        let is_asked = self.survey.ask_for_all(Asked::Facts);
        if wait > shortest {
            tracing::warn!(
                "the kernel's socket tables take long to read: up to {} s for the last look at them",
                wait.as_secs()
            );
        }
        (before + u32::from(is_asked), wait)
    }

    /// Waits for the last counts of the kernel.
    pub(super) async fn finish(&mut self, pipeline: &mut Pipeline) -> io::Result<()> {
        // Facts have them, too.
        if self.facts.is_some() || !self.survey.ask_for_all(Asked::Count) {
            return Ok(());
        }
        let deadline = tokio::time::Instant::now() + LAST_COUNT;
        while let Ok(shown) = tokio::time::timeout_at(deadline, self.next()).await {
            self.count(&shown, pipeline)?;
            if shown.asked == Asked::Count {
                break;
            }
        }
        Ok(())
    }

    /// Tells of half-open connections that the kernel keeps nothing of. What it had counted when a namespace was first
    /// seen is not told.
    fn count(&mut self, shown: &Shown, pipeline: &mut Pipeline) -> io::Result<()> {
        if !shown.names.is_empty() {
            pipeline.report_namespaces(shown.names.clone());
        }
        for (netns, now) in &shown.counters {
            let Some(before) = self.counted.insert(*netns, *now) else { continue };
            let increment = |of: fn(&TcpExt) -> Option<u64>| {
                of(now).unwrap_or(0).saturating_sub(of(&before).unwrap_or(0))
            };
            let cookies = SynCookies {
                netns: *netns,
                sent: increment(|counters| counters.syncookies_sent),
                received: increment(|counters| counters.syncookies_received),
                failed: increment(|counters| counters.syncookies_failed),
            };
            if cookies.sent > 0 || cookies.received > 0 {
                pipeline.syncookies(shown.ended, cookies)?;
            }
        }
        Ok(())
    }
}

fn after(moment: KtimeNs, span: Duration) -> KtimeNs {
    KtimeNs(moment.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
}
