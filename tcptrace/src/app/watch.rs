//! `tcptrace watch`: the live kernel, a line for each transition.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;

use super::{
    launch::Launch,
    looks::{self, Looks},
    names::HostNames,
    pipeline::Pipeline,
    stop::{Reason, Stop},
    survey::Survey,
    symbols::SymbolThread,
    terminal,
};
use crate::{
    cli::{OutputFormat, Watch},
    model::{Filter, Processes},
    output::{Csv, Json, LineFormat, OnlySummary, Summary, Text, TextOptions},
    source::{
        Batch,
        cgroups::Cgroups,
        clock::{self, WallClock},
        live::{CgroupPlace, Live, Settings},
        netns_names, processes,
    },
};

/// Room for a few hundred lines: one write for a batch under load, one a line when it is quiet.
const OUTPUT_BUFFER: usize = 64 * 1024;

const UNWRITABLE: &str = "cannot write to standard output";
const UNREADABLE: &str = "cannot read the ring buffer";

/// How long to go on when the command has ended: its last segments are on their way.
const LINGER: Duration = Duration::from_millis(500);

/// How often to look at what time alone makes clear.
const SETTLE: Duration = Duration::from_millis(25);

/// Runs it on one thread, so that dropped capabilities are dropped for all of the process.
pub(super) fn run(watch: &Watch) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(trace(watch))
}

async fn trace(watch: &Watch) -> Result<ExitCode> {
    let mut stop = Stop::prepare().context("cannot catch signals")?;
    let mut cgroups = Cgroups::new();
    let (filter, cgroup) = filter(watch, &mut cgroups)?;
    let settings = Settings { filter: filter.clone(), cgroup, ..watch.settings.clone() };
    let survey = Survey::start();
    let mut launch = Launch::prepare(&watch.command)?;
    let symbols = watch.settings.stacks.then(SymbolThread::start).transpose()?;
    let mut live = Live::open(&settings)?;
    stop.after(watch.duration);
    let mut pipeline =
        Pipeline::begin(live.started(), watch.limits, filter, format(watch), WallClock::read())
            .context(UNWRITABLE)?;
    pipeline.set_naming(Box::new(HostNames::new(cgroups)));
    pipeline.set_source_decides_owners(live.decides_owners());
    if let Some(symbols) = symbols {
        pipeline.set_symbols(Box::new(symbols));
    }

    let mut looks = Looks::begin(survey, &live, watch.audit, &mut pipeline);
    let mut tick = tokio::time::interval(looks::TICK);
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
            shown = looks.next() => {
                // Nothing that the kernel reported before it was looked at may come after it.
                loop {
                    let is_drained = !live.drain(&mut batch).context(UNREADABLE)?
                        || batch.events.last().is_some_and(|event| event.ts() > shown.ended);
                    take(&mut pipeline, &mut batch, &mut looks)?;
                    if is_drained {
                        break;
                    }
                }
                looks.take(shown, &mut pipeline).context(UNWRITABLE)?;
            }
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
        return Ok(code);
    }

    // What the kernel put into the ring before we detached still counts. The second time that nothing is there, what
    // the first program has missed is settled, too.
    live.detach();
    let mut times_empty = 0;
    while times_empty < 2 {
        times_empty += u32::from(!live.drain(&mut batch).context(UNREADABLE)?);
        take(&mut pipeline, &mut batch, &mut looks)?;
    }
    looks.finish(&mut pipeline).await.context(UNWRITABLE)?;
    let ended = clock::now();
    let stacks_skipped = live.stacks_skipped().context("cannot read the count of skipped stacks")?;
    let summary = pipeline
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
        .context(UNWRITABLE)?;
    if matches!(watch.output, OutputFormat::Text | OutputFormat::Csv) {
        eprintln!("tcptrace: {summary}");
    }
    Ok(code)
}

/// Waits for the end of a command, if there is one.
async fn ended(launch: &mut Option<Launch>) -> Result<u8> {
    match launch {
        Some(launch) => launch.ended().await,
        None => std::future::pending().await,
    }
}

/// The filter with what only this host knows: its network namespaces and cgroups.
fn filter(watch: &Watch, cgroups: &mut Cgroups) -> Result<(Filter, Option<CgroupPlace>)> {
    let mut filter = watch.settings.filter.clone();
    let mut place = None;
    if !watch.places.netns.is_empty() {
        let inodes = watch.places.netns.iter().map(|word| netns_names::resolve(word));
        filter.netns = Some(inodes.collect::<Result<_, _>>().context("--netns")?);
    }
    if let Some(path) = &watch.places.cgroup {
        let id = cgroups.id_of(path).context("--cgroup")?;
        let cgroup =
            cgroups.name(id, None).with_context(|| format!("--cgroup: {} has gone", path.display()))?;
        filter.cgroup = Some(cgroup.path.clone());
        let level = cgroup.path.split('/').filter(|name| !name.is_empty()).count();
        place = Some(CgroupPlace { id, level: u32::try_from(level)? });
    }
    if let Some(parent) = Launch::parent().filter(|_| !watch.command.is_empty()) {
        filter.processes = Some(Processes::children_of(parent));
    } else if let Some(processes) = &mut filter.processes {
        processes::complete(processes);
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

fn format(watch: &Watch) -> Box<dyn LineFormat> {
    let out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout());
    match watch.output {
        OutputFormat::Json => Box::new(Json::new(out)),
        OutputFormat::Csv => Box::new(Csv::new(out, watch.header)),
        OutputFormat::Summary => Box::new(OnlySummary::new(out)),
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
