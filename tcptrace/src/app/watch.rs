//! `tcptrace watch`: the live kernel, a line for each transition.

use std::{
    io::{self, BufWriter},
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;

use super::{
    pipeline::Pipeline,
    stop::{Reason, Stop},
    survey::{Asked, Survey},
    terminal,
};
use crate::{
    cli::{OutputFormat, Watch},
    output::{Csv, Json, LineFormat, Summary, Text, TextOptions},
    source::{
        Batch,
        clock::{self, WallClock},
        live::{Hook, Lifecycle, Live},
    },
};

/// Room for a few hundred lines: one write for a batch under load, one a line when it is quiet.
const OUTPUT_BUFFER: usize = 64 * 1024;

const UNWRITABLE: &str = "cannot write to standard output";

/// How often to look where orphans are: a view is never wrong for longer.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Looks at the kernel's tables after a loss: one that was begun before the loss, and two that agree.
const LOOKS_TO_HEAL: u32 = 3;

/// How often to look at what time alone makes clear.
const SETTLE: Duration = Duration::from_millis(25);

/// Runs it on one thread, so that dropped capabilities are dropped for all of the process.
pub(super) fn run(watch: &Watch) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(trace(watch))
}

async fn trace(watch: &Watch) -> Result<()> {
    let mut stop = Stop::prepare().context("cannot catch signals")?;
    let mut survey = Survey::start();
    let mut live = Live::open(&watch.settings)?;
    stop.after(watch.duration);
    let mut pipeline =
        Pipeline::begin(live.started(), watch.limits, watch.filter.clone(), format(watch), WallClock::read())
            .context(UNWRITABLE)?;

    // Without cookies a sampled socket and its events would not be known as the same.
    let has_identity = matches!(live.hook(), Hook::Btf { cookie: true });
    if has_identity && survey.ask_for_seed() {
        pipeline.expect_seed();
    }
    // A time-wait socket whose end cannot be seen would stay for ever.
    let follows_time_wait = *live.lifecycle() == Lifecycle::Timer;
    // After a loss: how many looks at the kernel's tables are left, and whether one is under way.
    let (mut looks_to_heal, mut is_healing) = (0_u32, false);
    let mut look_again = tokio::time::interval(LOOK_AGAIN);
    let mut batch = Batch::default();
    let reason = loop {
        tokio::select! {
            // What is rare comes first: under full load there are always events.
            biased;
            reason = stop.requested() => break reason,
            _ = look_again.tick() => {
                survey.ask_for(pipeline.table().orphans());
                if has_identity && looks_to_heal > 0 && !is_healing {
                    is_healing = survey.ask_for_healing();
                }
            }
            mut shown = survey.next() => {
                // Nothing that the kernel reported before it was looked at may come after it.
                loop {
                    let is_drained = !live.drain(&mut batch).context("cannot read the ring buffer")?
                        || batch.events.last().is_some_and(|event| event.ts() > shown.ended);
                    if !batch.lost.is_empty() {
                        looks_to_heal = LOOKS_TO_HEAL;
                    }
                    take(&mut pipeline, &mut batch)?;
                    if is_drained {
                        break;
                    }
                }
                shown.sampled.retain(|socket| follows_time_wait || !socket.is_time_wait);
                match shown.asked {
                    Asked::Seed => {
                        pipeline.seed(&shown.sampled);
                        tracing::info!("{} sockets were open before", shown.sampled.len());
                    }
                    Asked::Correct => pipeline.correct(&shown.sampled).context(UNWRITABLE)?,
                    Asked::Heal => {
                        pipeline.heal(&shown.look());
                        is_healing = false;
                        looks_to_heal = looks_to_heal.saturating_sub(1);
                    }
                }
            }
            read = live.next(&mut batch) => read.context("cannot read the ring buffer")?,
            // What happened to a time-wait socket is clear only some milliseconds later.
            () = tokio::time::sleep(SETTLE), if pipeline.is_unsettled() => batch.taken = clock::now(),
        }
        if !batch.lost.is_empty() {
            looks_to_heal = LOOKS_TO_HEAL;
        }
        take(&mut pipeline, &mut batch)?;
    };
    if reason == Reason::OutputClosed {
        return Ok(());
    }

    // What the kernel put into the ring before we detached still counts. The second time that nothing is there, what
    // the first program has missed is settled, too.
    live.detach();
    let mut times_empty = 0;
    while times_empty < 2 {
        times_empty += u32::from(!live.drain(&mut batch).context("cannot read the ring buffer")?);
        take(&mut pipeline, &mut batch)?;
    }
    let ended = clock::now();
    let summary = pipeline
        .end(ended, |summary| Summary {
            hook: live.hook().name(),
            lifecycle: live.lifecycle().name(),
            #[expect(
                clippy::cast_precision_loss,
                reason = "2^52 ns are 52 days, then microseconds are lost"
            )]
            duration_s: ended.since(live.started()).unwrap_or(0) as f64 / 1e9,
            cpu_s: clock::own_cpu_seconds(),
            ..summary
        })
        .context(UNWRITABLE)?;
    if watch.output != OutputFormat::Json {
        eprintln!("tcptrace: {summary}");
    }
    Ok(())
}

/// Hands a batch to the pipeline and empties it.
fn take(pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
    pipeline.take(batch, WallClock::read()).context(UNWRITABLE)?;
    batch.clear();
    Ok(())
}

fn format(watch: &Watch) -> Box<dyn LineFormat> {
    let out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout());
    match watch.output {
        OutputFormat::Json => Box::new(Json::new(out)),
        OutputFormat::Csv => Box::new(Csv::new(out, watch.header)),
        OutputFormat::Text => Box::new(Text::new(
            out,
            TextOptions {
                header: watch.header,
                color: terminal::wants_color(watch.color),
                wide: watch.wide,
                wall_clock: watch.wall_clock.then(TimeZone::system),
            },
        )),
    }
}
