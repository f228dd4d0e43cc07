//! Reading the ring buffer.

use std::{io, time::Duration};

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray, RingBuf},
};
use aya_log::EbpfLogger;
use tcptrace_common::{LOST_BACKUPS, LOST_RECORDS, LOST_STACKS, UNWANTED_BACKUPS};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    AcceptWay, Accepts, Hook, Lifecycle, Settings, Way,
    error::OpenError,
    ftrace::Switch,
    misses::{Misses, Settling},
    object::{self, Attached, Extras},
    privileges,
    programs::Link,
};
use crate::{
    model::{KtimeNs, Lost, LostAt},
    source::{
        Batch, clock,
        decode::{decode, decode_stack},
        poll,
    },
};

/// Records taken at once, at most. Bounds the batch and how stale the count of lost records can be.
const BATCH: usize = 4096;

/// How long to leave the ring alone after all of it was read. The kernel wakes the reader only when the reader has
/// caught up, so under load nobody is woken at all; a single record is still seen at once.
const REST: Duration = Duration::from_millis(5);

/// The kernel half, attached, and its ring buffer.
pub struct Live {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
    /// Empty once detached.
    links: Vec<Link>,
    /// Keeps the program, whose counters are read to the end.
    _ebpf: Ebpf,
    hook: Hook,
    lifecycle: Lifecycle,
    accepts: Accepts,
    started: KtimeNs,
    misses: Option<Misses>,
    timer_misses: Vec<Misses>,
    /// Of the function tracer, where programs at functions are used.
    switch: Option<Switch>,
    /// What these said last.
    timer_missed: u64,
    extras: Extras,
    decides_owners: bool,
    /// Lost in the full ring, as far as it was reported.
    lost_before: u64,
    tick_ns: u64,
    /// Transitions that the first program had missed when the ring was empty last.
    missed_before: Settling,
    /// When the first program was about to be detached.
    ended: Option<KtimeNs>,
    /// Transitions after that which the first program had missed.
    missed_after_end: u64,
    /// How long to leave the ring alone.
    rest: Duration,
    /// Until when, after all of it was read.
    rests_until: Option<KtimeNs>,
}

impl Live {
    /// Loads and attaches the kernel half, then gives up the privileges that are not needed any more.
    ///
    /// # Errors
    ///
    /// What is missing and what to do about it.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        privileges::check()?;
        privileges::raise_memlock();
        let Attached { mut ebpf, links, hook, lifecycle, accepts, extras, decides_owners } =
            object::attach(settings)?;
        let timer_misses = object::lifecycle_misses(&ebpf, lifecycle.way);
        let uses_functions = lifecycle.way == Way::Fentry || accepts.way == AcceptWay::Fexit;
        let switch = if uses_functions { Switch::open() } else { None };
        let misses = object::misses(&ebpf, hook);
        let started = clock::now();
        let ring = take_map(&mut ebpf, "EVENTS")?;
        let ring = RingBuf::try_from(ring).map_err(|_| OpenError::Object("EVENTS"))?;
        let lost = take_map(&mut ebpf, "LOST")?;
        let lost = PerCpuArray::try_from(lost).map_err(|_| OpenError::Object("LOST"))?;
        if settings.kernel_log {
            pass_kernel_log(&mut ebpf)?;
        }
        let ring = poll::register(ring, Interest::READABLE).map_err(OpenError::Poll)?;
        privileges::raise_priority();
        if let Err(error) = privileges::drop_all(|| lost.get(&0, 0).is_ok()) {
            tracing::warn!("capabilities could not be dropped: {error}");
        }
        tracing::info!("lifecycle {}: {lifecycle}", lifecycle.way.name());
        tracing::info!("accepts {}: {accepts}", accepts.way.name());
        tracing::info!("attached: {}; ring buffer of {} bytes", hook.description(), settings.ring_size);
        Ok(Self {
            ring,
            lost,
            links,
            _ebpf: ebpf,
            hook,
            lifecycle,
            accepts,
            started,
            misses,
            timer_misses,
            switch,
            timer_missed: 0,
            extras,
            decides_owners,
            lost_before: 0,
            tick_ns: clock::tick_ns(),
            missed_before: Settling::default(),
            ended: None,
            missed_after_end: 0,
            rest: REST,
            rests_until: None,
        })
    }

    /// The hook in use.
    pub const fn hook(&self) -> Hook {
        self.hook
    }

    /// How time-wait sockets are followed.
    pub const fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// How it is learnt who accepts a connection.
    pub const fn accepts(&self) -> &Accepts {
        &self.accepts
    }

    /// What is reported besides.
    pub const fn extras(&self) -> &Extras {
        &self.extras
    }

    /// Whether the kernel counts the runs of our programs that it skips (Linux 5.12).
    pub const fn counts_skipped_runs(&self) -> bool {
        self.misses.is_some()
    }

    /// Whether nothing is reported any more of a connection whose owner is known and not asked for.
    pub const fn decides_owners(&self) -> bool {
        self.decides_owners
    }

    /// How many events of time-wait and request sockets were skipped by the kernel since the last call. Where these are
    /// followed by their timers, most are about timers that are no business of ours: nobody can tell.
    ///
    /// # Errors
    ///
    /// A counter cannot be read.
    pub fn timer_events_skipped(&mut self) -> io::Result<u64> {
        let mut sum = 0;
        for misses in &self.timer_misses {
            sum += misses.read()?;
        }
        Ok(sum - std::mem::replace(&mut self.timer_missed, sum).min(sum))
    }

    /// Whether, since the last call, somebody has turned off what calls our programs at functions
    /// (`kernel.ftrace_enabled`): from now on nothing comes of them.
    pub fn was_turned_off(&mut self) -> bool {
        self.switch.as_mut().is_some_and(Switch::was_turned_off)
    }

    /// Whether the kernel would leave the functions marked that it calls our programs at, were these taken off now, as its
    /// function tracer is turned off.
    pub fn leaves_marks(&self) -> bool {
        self.switch.as_ref().is_some_and(Switch::is_off_now)
    }

    /// How many stacks were not taken, so that there was room for what changes.
    ///
    /// # Errors
    ///
    /// The counter cannot be read.
    pub fn stacks_skipped(&self) -> io::Result<u64> {
        self.lost(LOST_STACKS)
    }

    /// A moment at which tracing was already on.
    pub const fn started(&self) -> KtimeNs {
        self.started
    }

    /// Waits for events. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// The ring or the count of lost records cannot be read.
    pub async fn next(&mut self, batch: &mut Batch) -> io::Result<()> {
        loop {
            // Where few records come at a time, what is done for a batch would cost more than the records.
            if let Some(until) = self.rests_until
                && let Some(left) = until.since(clock::now()).filter(|left| *left > 0)
            {
                tokio::time::sleep(Duration::from_nanos(left)).await;
            }
            let has_any = self.drain(batch)?;
            let is_emptied = batch.events.len() < BATCH;
            self.rests_until =
                (has_any && is_emptied).then(|| KtimeNs(batch.taken.0.saturating_add(nanos(self.rest))));
            if has_any {
                return Ok(());
            }
            self.ring.readable_mut().await?.clear_ready();
        }
    }

    /// How long to leave the ring alone after all of it was read: what happens meanwhile is seen so much later.
    pub const fn set_rest(&mut self, rest: Duration) {
        self.rest = rest;
    }

    /// Detaches, and returns the moment up to which all programs have reported: what comes after this is only what is
    /// still in the ring of that time, see [`Self::drain`].
    ///
    /// Each program takes the kernel some milliseconds, one after the other. What happens meanwhile is seen by some of them
    /// only: half of the story, which would look like gaps.
    pub fn detach(&mut self) -> KtimeNs {
        let ended = clock::now();
        self.ended = Some(ended);
        self.links.clear();
        ended
    }

    /// Takes what is in the ring, up to a batch, without waiting. Returns whether there was anything.
    ///
    /// # Errors
    ///
    /// The count of lost records cannot be read.
    pub fn drain(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let ring = self.ring.get_mut();
        let room = batch.events.len() + BATCH;
        let mut malformed = 0;
        while batch.events.len() < room
            && let Some(record) = ring.next()
        {
            let decoded = match decode_stack(&record) {
                Some(stack) => stack.map(|stack| batch.stacks.push(stack)),
                None => decode(&record, self.tick_ns).map(|event| {
                    if self.ended.is_none_or(|ended| event.ts() <= ended) {
                        batch.events.push(event);
                    } else if event.is_backup() {
                        self.missed_after_end += 1;
                    }
                }),
            };
            match decoded {
                Ok(()) => {}
                Err(problem) => {
                    tracing::debug!("malformed record: {problem}");
                    malformed += 1;
                }
            }
        }
        let is_empty = batch.events.len() < room;
        // After the records and before they are used: whatever was lost before any of them is in the counts.
        let lost_records = self.lost(LOST_RECORDS)?;
        let lost_backups = self.lost(LOST_BACKUPS)?;
        batch.taken = clock::now();
        let in_ring = lost_records + lost_backups - self.lost_before;
        for (count, at) in [(in_ring, LostAt::Ring), (malformed, LostAt::Decode)] {
            if count > 0 {
                batch.lost.push(Lost { noticed: batch.taken, count, at });
            }
        }
        self.lost_before = lost_records + lost_backups;
        if is_empty && let Some(misses) = &self.misses {
            // The backup's record of a miss comes right after the miss, unless something else runs between the two.
            // Some were lost and are counted so, and some are not asked for: these are as many as now, or fewer, which is
            // made up for the next time.
            let seen_or_lost = lost_backups + self.lost(UNWANTED_BACKUPS)? + self.missed_after_end;
            let settled = if self.ended.is_some() {
                self.missed_before.last()
            } else {
                self.missed_before.at(batch.taken)
            };
            batch.missed = settled.saturating_sub(seen_or_lost);
            self.missed_before.note(batch.taken, misses.read()?);
        }
        Ok(!batch.is_empty())
    }

    fn lost(&self, entry: u32) -> io::Result<u64> {
        Ok(self.lost.get(&entry, 0).map_err(io::Error::other)?.iter().sum())
    }
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, OpenError> {
    ebpf.take_map(name).ok_or(OpenError::Object(name))
}

/// Hands the kernel half's diagnostics (`-vv`) to our own log.
fn pass_kernel_log(ebpf: &mut Ebpf) -> Result<(), OpenError> {
    let logger = EbpfLogger::init(ebpf)
        .map_err(|error| OpenError::Load { what: "read the kernel half's log", source: Box::new(error) })?;
    let mut logger = poll::register(logger, Interest::READABLE).map_err(OpenError::Poll)?;
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
    Ok(())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
