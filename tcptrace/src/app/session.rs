//! A session of tracing: the live kernel, its events to a sink, until it is told to end.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    sync::oneshot,
    time::{Instant, Interval, MissedTickBehavior},
};

use super::{
    launch::Launch,
    looks::{self, Looks},
    names::HostNames,
    pipeline::Pipeline,
    selection,
    stop::{Reason, Stop},
    survey::{Asked, Shown, Survey},
    symbols::SymbolThread,
};
use crate::{
    cli::Session,
    model::{Filter, Processes},
    output::{Sink, Summary},
    source::{
        Batch,
        cgroups::Cgroups,
        clock::{self, WallClock},
        live::{CgroupPlace, Live, Settings},
    },
};

const UNWRITABLE: &str = "cannot write to standard output";
const UNREADABLE: &str = "cannot read the ring buffer";

/// How long to wait for the last look at the facts that findings are made of.
const LAST_FACTS: Duration = Duration::from_secs(5);

/// How long to go on when the command has ended: its last segments are on their way.
const LINGER: Duration = Duration::from_millis(500);

/// How often to look at what time alone makes clear.
const SETTLE: Duration = Duration::from_millis(25);

/// How a session ended.
pub(super) struct Ended {
    /// That of the command, where one was started.
    pub(super) code: ExitCode,
    /// `None` when nobody reads the output any more.
    pub(super) summary: Option<Summary>,
}

/// When to tell the sink that an interval is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intervals {
    pub(super) every: Duration,
    /// End after so many.
    pub(super) count: Option<u64>,
}

/// Runs it on one thread, so that dropped capabilities are dropped for all of the process.
pub(super) fn run(session: &Session, sink: Box<dyn Sink>, intervals: Option<Intervals>) -> Result<Ended> {
    start(session, sink, intervals, None)
}

/// The same, until somebody says, by sending or by dropping the other end, that there is `enough`.
pub(super) fn run_until(
    session: &Session,
    sink: Box<dyn Sink>,
    enough: oneshot::Receiver<()>,
) -> Result<Ended> {
    start(session, sink, None, Some(enough))
}

fn start(
    session: &Session,
    sink: Box<dyn Sink>,
    intervals: Option<Intervals>,
    enough: Option<oneshot::Receiver<()>>,
) -> Result<Ended> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(trace(session, sink, intervals, enough))
}

async fn trace(
    session: &Session,
    sink: Box<dyn Sink>,
    intervals: Option<Intervals>,
    enough: Option<oneshot::Receiver<()>>,
) -> Result<Ended> {
    let mut stop = Stop::prepare().context("cannot catch signals")?;
    let mut cgroups = Cgroups::new();
    let (filter, cgroup) = filter(session, &mut cgroups)?;
    let settings = Settings { filter: filter.clone(), cgroup, ..session.settings.clone() };
    let survey = Survey::start();
    let mut launch = Launch::prepare(&session.command)?;
    let symbols = session.settings.stacks.then(SymbolThread::start).transpose()?;
    let mut live = Live::open(&settings)?;
    stop.after(session.duration);
    stop.when(enough);
    let mut pipeline = Pipeline::begin(live.started(), session.limits, filter, sink, WallClock::read())
        .context(UNWRITABLE)?;
    pipeline.set_naming(Box::new(HostNames::new(cgroups)));
    pipeline.set_source_decides_owners(live.decides_owners());
    if let Some(symbols) = symbols {
        pipeline.set_symbols(Box::new(symbols));
    }

    let mut looks = Looks::begin(survey, &live, session.audit, &mut pipeline);
    let mut tick = tokio::time::interval(looks::TICK);
    let mut interval = intervals.map(|intervals| every(intervals.every));
    let mut left = intervals.and_then(|intervals| intervals.count);
    let mut code = ExitCode::SUCCESS;
    if let Some(launch) = &mut launch {
        launch.go().await?;
    }
    let mut batch = Batch::default();
    let reason = loop {
        tokio::select! {
            // What is rare comes first: under full load there are always events.
            biased;
            reason = stop.requested() => break reason,
            ended = ended(&mut launch) => {
                code = ExitCode::from(ended?);
                stop.within(LINGER);
            }
            () = elapsed(&mut interval) => {
                pipeline.interval(clock::now()).context(UNWRITABLE)?;
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    stop.within(Duration::ZERO);
                }
            }
            _ = tick.tick() => {
                let skipped = live.timer_events_skipped().context("cannot read the counts of skipped events")?;
                looks.note_skipped(skipped);
                if live.was_turned_off() {
                    tracing::warn!(
                        "kernel.ftrace_enabled was set to 0: the kernel calls no program at a function any more; \
                         from now on time-wait and half-open sockets are only looked up, and who accepts is not \
                         seen; turn it on again, or start tcptrace again"
                    );
                    looks.note_loss();
                }
                looks.tick(&pipeline);
                // What was missed is clear some time later, even if nothing happens any more.
                live.drain(&mut batch).context(UNREADABLE)?;
            }
            shown = looks.next() => take_look(shown, &mut live, &mut pipeline, &mut looks, &mut batch)?,
            read = live.next(&mut batch) => read.context(UNREADABLE)?,
            // What happened to a time-wait socket is clear only some milliseconds later.
            () = tokio::time::sleep(SETTLE), if pipeline.is_unsettled() => batch.taken = clock::now(),
        }
        take(&mut pipeline, &mut batch, &mut looks)?;
    };
    if let Some(launch) = &launch {
        launch.stop();
    }
    if reason == Reason::OutputClosed {
        return Ok(Ended { code, summary: None });
    }

    last_facts(&mut live, &mut pipeline, &mut looks, &mut batch).await?;
    let summary = finish(&mut live, &mut pipeline, looks, &mut batch).await?;
    Ok(Ended { code, summary: Some(summary) })
}

/// Takes in what a look shows. Nothing that the kernel reported before it was looked at may come after it.
fn take_look(
    shown: Shown,
    live: &mut Live,
    pipeline: &mut Pipeline,
    looks: &mut Looks,
    batch: &mut Batch,
) -> Result<()> {
    loop {
        let is_drained = !live.drain(batch).context(UNREADABLE)?
            || batch.events.last().is_some_and(|event| event.ts() > shown.ended);
        take(pipeline, batch, looks)?;
        if is_drained {
            break;
        }
    }
    looks.take(shown, pipeline).context(UNWRITABLE)
}

/// Where findings are wanted, looks a last time while the kernel still reports what happens meanwhile.
async fn last_facts(
    live: &mut Live,
    pipeline: &mut Pipeline,
    looks: &mut Looks,
    batch: &mut Batch,
) -> Result<()> {
    let deadline = Instant::now() + LAST_FACTS;
    let mut left = looks.ask_for_last_facts();
    while left > 0 {
        tokio::select! {
            shown = looks.next() => {
                left -= u32::from(shown.asked == Asked::Facts);
                take_look(shown, live, pipeline, looks, batch)?;
            }
            read = live.next(batch) => {
                read.context(UNREADABLE)?;
                take(pipeline, batch, looks)?;
            }
            () = tokio::time::sleep_until(deadline) => break,
        }
    }
    Ok(())
}

/// Takes in what the kernel has reported so far, and no more.
async fn finish(
    live: &mut Live,
    pipeline: &mut Pipeline,
    mut looks: Looks,
    batch: &mut Batch,
) -> Result<Summary> {
    // What the kernel put into the ring before we detached still counts. The second time that nothing is there, what
    // the first program has missed is settled, too.
    live.detach();
    // What is open now may not be for as long as the last counts are waited for.
    let ended = clock::now();
    let mut times_empty = 0;
    while times_empty < 2 {
        times_empty += u32::from(!live.drain(batch).context(UNREADABLE)?);
        take(pipeline, batch, &mut looks)?;
    }
    looks.finish(pipeline).await.context(UNWRITABLE)?;
    let stacks_skipped = live.stacks_skipped().context("cannot read the count of skipped stacks")?;
    pipeline
        .end(ended, |summary| Summary {
            hook: live.hook().name(),
            accept: live.accepts().way.name(),
            lifecycle: live.lifecycle().way.name(),
            lifecycle_why: live.lifecycle().to_string(),
            timer_events_skipped: looks.skipped(),
            stacks_skipped,
            #[expect(
                clippy::cast_precision_loss,
                reason = "2^52 ns are 52 days, then microseconds are lost"
            )]
            duration_s: ended.since(live.started()).unwrap_or(0) as f64 / 1e9,
            cpu_s: clock::own_cpu_seconds(),
            ..summary
        })
        .context(UNWRITABLE)
}

/// The first of them is over after `length`.
fn every(length: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + length, length);
    // Late is late: two in a row would be one and nothing.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Waits for the end of an interval, if there are any.
async fn elapsed(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Waits for the end of a command, if there is one.
async fn ended(launch: &mut Option<Launch>) -> Result<u8> {
    match launch {
        Some(launch) => launch.ended().await,
        None => std::future::pending().await,
    }
}

/// The filter with what only this host knows, and who is asked for because we start it.
fn filter(session: &Session, cgroups: &mut Cgroups) -> Result<(Filter, Option<CgroupPlace>)> {
    let (mut filter, place) = selection::resolve(session.settings.filter.clone(), &session.places, cgroups)?;
    if let Some(parent) = Launch::parent().filter(|_| !session.command.is_empty()) {
        filter.processes = Some(Processes::children_of(parent));
    }
    Ok((filter, place))
}

/// Hands a batch to the pipeline and empties it.
fn take(pipeline: &mut Pipeline, batch: &mut Batch, looks: &mut Looks) -> Result<()> {
    if !batch.lost.is_empty() {
        looks.note_loss();
    }
    pipeline.take(batch, WallClock::read()).context(UNWRITABLE)?;
    batch.clear();
    Ok(())
}
