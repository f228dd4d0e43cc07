//! A session of tracing: events of a feed to a sink, and to whoever shows them, until it is told to end.

mod feed;
mod kernel;
mod synthetic;

use std::{future::Future, pin::Pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    sync::oneshot,
    time::{Instant, Interval, MissedTickBehavior},
};

use self::{feed::Feed, kernel::Opened, synthetic::Synthetic};
use super::{
    launch::Launch,
    looks,
    pipeline::Pipeline,
    stop::{Reason, Stop},
};
use crate::{
    cli::Session,
    model::{Filter, KtimeNs},
    output::{Sink, Summary, tui::world::About},
    source::{
        Batch,
        clock::{self, WallClock},
    },
};

const UNWRITABLE: &str = "cannot write to standard output";

/// How long to go on when the command has ended: its last segments are on their way.
const LINGER: Duration = Duration::from_millis(500);

/// How often to look at what time alone makes clear.
const SETTLE: Duration = Duration::from_millis(25);

/// Events that never stop must not keep the clock and the signals from being looked at for longer.
const TURN: Duration = Duration::from_millis(20);

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

/// Whoever shows a session while it goes on. Dropped when it is over, before the last events are taken in.
pub(super) trait Front {
    /// Tracing is on. Called once, before anything else.
    fn begin(&mut self, about: About) -> Result<()>;

    /// Waits until there is something for it to do. Dropping the future loses nothing: a pause goes on where it was, so that
    /// it ends however often it is asked.
    fn ready(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Does it: takes keys, draws. False: the person wants to end.
    fn act(&mut self, pipeline: &mut Pipeline, now: KtimeNs) -> Result<bool>;
}

/// What a session is run with besides its sink.
#[derive(Default)]
struct Company<'a> {
    intervals: Option<Intervals>,
    /// Somebody who says, by sending or by dropping the other end, that there is enough.
    enough: Option<oneshot::Receiver<()>>,
    front: Option<Box<dyn Front + 'a>>,
}

/// Runs it on one thread, so that dropped capabilities are dropped for all of the process.
pub(super) fn run(session: &Session, sink: Box<dyn Sink>, intervals: Option<Intervals>) -> Result<Ended> {
    start(session, sink, Company { intervals, ..Company::default() })
}

/// The same, until somebody says, by sending or by dropping the other end, that there is `enough`.
pub(super) fn run_until(
    session: &Session,
    sink: Box<dyn Sink>,
    enough: oneshot::Receiver<()>,
) -> Result<Ended> {
    start(session, sink, Company { enough: Some(enough), ..Company::default() })
}

/// The same, with somebody who shows it, and may end it.
pub(super) fn run_with(
    session: &Session,
    sink: Box<dyn Sink>,
    intervals: Option<Intervals>,
    front: Box<dyn Front + '_>,
) -> Result<Ended> {
    start(session, sink, Company { intervals, enough: None, front: Some(front) })
}

fn start(session: &Session, sink: Box<dyn Sink>, company: Company<'_>) -> Result<Ended> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(open(session, sink, company))
}

/// Turns the feed on.
async fn open(session: &Session, sink: Box<dyn Sink>, company: Company<'_>) -> Result<Ended> {
    let stop = Stop::prepare(company.front.is_some()).context("cannot catch signals")?;
    if let Some(load) = session.demo {
        let mut synthetic = Synthetic::open(load);
        let filter = session.settings.filter.clone();
        let (mut pipeline, stop, company) = begin(session, synthetic.started(), filter, sink, stop, company)?;
        synthetic.begin(&mut pipeline);
        return trace(synthetic, pipeline, None, stop, company).await;
    }
    let (opened, filter, launch) = Opened::open(session)?;
    let (mut pipeline, stop, company) = begin(session, opened.started(), filter, sink, stop, company)?;
    let mut kernel = opened.begin(&mut pipeline);
    if company.front.is_some() {
        kernel.take_time();
    }
    trace(kernel, pipeline, launch, stop, company).await
}

/// The feed is on.
fn begin<'a>(
    session: &Session,
    started: KtimeNs,
    filter: Filter,
    sink: Box<dyn Sink>,
    mut stop: Stop,
    mut company: Company<'a>,
) -> Result<(Pipeline, Stop, Company<'a>)> {
    stop.after(session.duration);
    stop.when(company.enough.take());
    let pipeline = Pipeline::begin(started, session.limits, filter, sink, WallClock::read());
    Ok((pipeline.context(UNWRITABLE)?, stop, company))
}

async fn trace(
    mut feed: impl Feed,
    mut pipeline: Pipeline,
    mut launch: Option<Launch>,
    mut stop: Stop,
    company: Company<'_>,
) -> Result<Ended> {
    let Company { intervals, mut front, .. } = company;
    let mut tick = tokio::time::interval(looks::TICK);
    let mut interval = intervals.map(|intervals| every(intervals.every));
    let mut left = intervals.and_then(|intervals| intervals.count);
    let mut code = ExitCode::SUCCESS;
    if let Some(front) = &mut front {
        front.begin(feed.about())?;
    }
    if let Some(launch) = &mut launch {
        launch.go().await?;
    }
    let mut batch = Batch::default();
    let mut turn = Instant::now();
    let reason = loop {
        if turn.elapsed() > TURN {
            tokio::task::yield_now().await;
            turn = Instant::now();
        }
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
            _ = tick.tick() => feed.tick(&pipeline, &mut batch)?,
            front = ready(&mut front) => {
                if !front.act(&mut pipeline, clock::now())? {
                    break Reason::Enough;
                }
                // It may be ready again at once, for ever: what else has come meanwhile has its turn.
                at_once(feed.next(&mut batch)).await?;
            }
            came = feed.next(&mut batch) => came?,
            // What happened to a time-wait socket is clear only some milliseconds later.
            () = tokio::time::sleep(SETTLE), if pipeline.is_unsettled() => batch.taken = clock::now(),
        }
        feed.take(&mut pipeline, &mut batch)?;
    };
    if let Some(launch) = &launch {
        launch.stop();
    }
    // It has shown all that it will show, and may have to leave a screen as it was.
    let had_front = front.take().is_some();
    if had_front {
        stop.alone();
    }
    if reason == Reason::OutputClosed {
        return Ok(Ended { code, summary: None });
    }
    let summary = feed.finish(&mut pipeline, &mut batch, had_front).await?;
    Ok(Ended { code, summary: Some(summary) })
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

/// Waits until the front has something to do, if there is one.
async fn ready<'f, 'a>(front: &'f mut Option<Box<dyn Front + 'a>>) -> &'f mut (dyn Front + 'a) {
    match front {
        Some(front) => {
            front.ready().await;
            front.as_mut()
        }
        None => std::future::pending().await,
    }
}

/// What is there without waiting.
async fn at_once(came: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        biased;
        came = came => came,
        () = std::future::ready(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
