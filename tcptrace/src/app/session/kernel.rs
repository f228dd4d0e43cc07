//! The live kernel: its events, and looks at its tables.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::{
    UNWRITABLE,
    feed::{self, Feed},
};
use crate::{
    app::{
        Pipeline,
        launch::Launch,
        looks::Looks,
        names::HostNames,
        selection,
        survey::{Asked, Shown, Survey},
        symbols::SymbolThread,
    },
    cli::Session,
    model::{Filter, KtimeNs, Processes},
    output::{Summary, escape, tui::world::About},
    source::{
        Batch,
        cgroups::Cgroups,
        clock,
        live::{CgroupPlace, Live, Settings},
    },
};

const UNREADABLE: &str = "cannot read the ring buffer";

/// How long to leave the ring alone after it was read, where somebody looks at a screen.
const SHOWN_REST: Duration = Duration::from_millis(60);

/// The kernel half is attached, and nothing was taken from it yet.
pub(super) struct Opened {
    live: Live,
    survey: Survey,
    cgroups: Cgroups,
    symbols: Option<SymbolThread>,
    audit: Option<Duration>,
    has_stacks: bool,
}

impl Opened {
    /// Prepares what needs capabilities and gives them up. The filter is the session's with what only this host knows; the
    /// command waits to be started.
    pub(super) fn open(session: &Session) -> Result<(Self, Filter, Option<Launch>)> {
        let mut cgroups = Cgroups::new();
        let (filter, cgroup) = filter(session, &mut cgroups)?;
        let settings = Settings { filter: filter.clone(), cgroup, ..session.settings.clone() };
        let survey = Survey::start();
        let launch = Launch::prepare(&session.command)?;
        let has_stacks = session.settings.stacks;
        let symbols = has_stacks.then(SymbolThread::start).transpose()?;
        let live = Live::open(&settings)?;
        Ok((Self { live, survey, cgroups, symbols, audit: session.audit, has_stacks }, filter, launch))
    }

    /// A moment at which tracing was already on.
    pub(super) const fn started(&self) -> KtimeNs {
        self.live.started()
    }

    /// Tells the pipeline what there will be, and asks for what was open before.
    pub(super) fn begin(self, pipeline: &mut Pipeline) -> Kernel {
        let Self { live, survey, cgroups, symbols, audit, has_stacks } = self;
        pipeline.set_naming(Box::new(HostNames::new(cgroups)));
        pipeline.set_source_decides_owners(live.decides_owners());
        if let Some(symbols) = symbols {
            pipeline.set_symbols(Box::new(symbols));
        }
        let looks = Looks::begin(survey, &live, audit, pipeline);
        Kernel { live, looks, shown: None, has_stacks }
    }
}

/// The live kernel.
pub(super) struct Kernel {
    live: Live,
    looks: Looks,
    /// What a look has shown and was not taken in yet.
    shown: Option<Box<Shown>>,
    has_stacks: bool,
}

impl Kernel {
    /// Somebody looks at it, and not at each line: a little later does as well, and costs less.
    pub(super) const fn take_time(&mut self) {
        self.live.set_rest(SHOWN_REST);
    }

    /// Hands a batch to the pipeline and empties it.
    fn hand_over(&mut self, pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
        if !batch.lost.is_empty() {
            self.looks.note_loss();
        }
        feed::hand_over(pipeline, batch)
    }

    /// Takes in what a look shows. Nothing that the kernel reported before it was looked at may come after it.
    fn take_look(&mut self, shown: Shown, pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
        loop {
            let is_drained = !self.live.drain(batch).context(UNREADABLE)?
                || batch.events.last().is_some_and(|event| event.ts() > shown.ended);
            self.hand_over(pipeline, batch)?;
            if is_drained {
                break;
            }
        }
        self.looks.take(shown, pipeline).context(UNWRITABLE)
    }

    /// Where findings are wanted, looks a last time while the kernel still reports what happens meanwhile.
    async fn last_facts(&mut self, pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
        let (mut left, wait) = self.looks.ask_for_last_facts();
        let deadline = Instant::now() + wait;
        while left > 0 {
            tokio::select! {
                shown = self.looks.next() => {
                    left -= u32::from(shown.asked == Asked::Facts);
                    self.take_look(shown, pipeline, batch)?;
                }
                read = self.live.next(batch) => {
                    read.context(UNREADABLE)?;
                    self.hand_over(pipeline, batch)?;
                }
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        Ok(())
    }
}

impl Feed for Kernel {
    fn about(&self) -> About {
        let (hook, lifecycle) = (self.live.hook().name(), self.live.lifecycle().way.name());
        let accept = self.live.accepts().way.name();
        About {
            source: "live".to_owned(),
            host: escape::text(&rustix::system::uname().nodename().to_string_lossy()).into_owned(),
            ways: format!("hook {hook}, lifecycle {lifecycle}, accept {accept}"),
            selection: String::new(),
            has_stacks: self.has_stacks,
        }
    }

    fn tick(&mut self, pipeline: &Pipeline, batch: &mut Batch) -> Result<()> {
        let skipped = self.live.timer_events_skipped().context("cannot read the counts of skipped events")?;
        self.looks.note_skipped(skipped);
        if self.live.was_turned_off() {
            tracing::warn!(
                "kernel.ftrace_enabled was set to 0: the kernel calls no program at a function any more; \
                 from now on time-wait and half-open sockets are only looked up, and who accepts is not \
                 seen; turn it on again before tcptrace ends (sudo sysctl kernel.ftrace_enabled=1)"
            );
            self.looks.note_loss();
        }
        self.looks.tick(pipeline);
        // What was missed is clear some time later, even if nothing happens any more.
        self.live.drain(batch).context(UNREADABLE)?;
        Ok(())
    }

    async fn next(&mut self, batch: &mut Batch) -> Result<()> {
        tokio::select! {
            // What is rare comes first: under full load there are always events.
            biased;
            shown = self.looks.next() => self.shown = Some(Box::new(shown)),
            read = self.live.next(batch) => read.context(UNREADABLE)?,
        }
        Ok(())
    }

    fn take(&mut self, pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
        if let Some(shown) = self.shown.take() {
            self.take_look(*shown, pipeline, batch)?;
        }
        self.hand_over(pipeline, batch)
    }

    async fn finish(
        mut self,
        pipeline: &mut Pipeline,
        batch: &mut Batch,
        is_hurried: bool,
    ) -> Result<Summary> {
        if !is_hurried {
            self.last_facts(pipeline, batch).await?;
        }
        if self.live.leaves_marks() {
            tracing::warn!(
                "kernel.ftrace_enabled is 0 while tcptrace ends: the kernel leaves the functions marked that \
                 tcptrace was called at, and may turn its function tracer off until the next boot when it \
                 finds the marks; to clear them: sudo sysctl kernel.ftrace_enabled=1, then start and end \
                 tcptrace once more with the same flags"
            );
        }
        // What the kernel put into the ring before we detached still counts. The second time that nothing is there, what
        // the first program has missed is settled, too.
        let ended = self.live.detach();
        let mut times_empty = 0;
        while times_empty < 2 {
            times_empty += u32::from(!self.live.drain(batch).context(UNREADABLE)?);
            self.hand_over(pipeline, batch)?;
        }
        self.looks.finish(pipeline).await.context(UNWRITABLE)?;
        let Self { live, looks, .. } = self;
        let stacks_skipped = live.stacks_skipped().context("cannot read the count of skipped stacks")?;
        pipeline
            .end(ended, |summary| Summary {
                hook: live.hook().name(),
                accept: live.accepts().way.name(),
                lifecycle: live.lifecycle().way.name(),
                lifecycle_why: live.lifecycle().to_string(),
                timer_events_skipped: looks.skipped(),
                stacks_skipped,
                duration_s: feed::seconds(live.started(), ended),
                cpu_s: clock::own_cpu_seconds(),
                ..summary
            })
            .context(UNWRITABLE)
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
