//! Synthetic connections: a host that there is not, in the time of this one. Needs no privileges and asks the kernel nothing.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{
    UNWRITABLE,
    feed::{self, Feed},
};
use crate::{
    app::Pipeline,
    model::{Cgroup, KtimeNs, NetnsName, Owner},
    output::{Names, Naming, Summary, tui::world::About},
    source::{
        Batch, clock,
        demo::{self, Demo, Load},
    },
};

/// How often to see what has happened.
const PAUSE: Duration = Duration::from_millis(10);

/// How often to say what findings are made of besides connections.
const FACTS_NS: u64 = 1_000_000_000;

/// So that each run shows the same.
const SEED: u64 = 793;

/// The word for each way to learn something from a kernel: none was used.
const WAY: &str = "demo";

/// The synthetic host.
pub(super) struct Synthetic {
    demo: Demo,
    started: KtimeNs,
    wake: Instant,
    facts_due: KtimeNs,
}

impl Synthetic {
    /// It begins now.
    pub(super) fn open(load: Load) -> Self {
        let started = clock::now();
        let demo = Demo::new(load, SEED, started);
        Self { demo, started, wake: Instant::now(), facts_due: started }
    }

    /// When it began.
    pub(super) const fn started(&self) -> KtimeNs {
        self.started
    }

    /// Tells the pipeline what there will be, and what was open before.
    pub(super) fn begin(&mut self, pipeline: &mut Pipeline) {
        pipeline.set_naming(Box::new(MadeUpNames::new()));
        pipeline.set_sees(Demo::sees());
        let (sampled, holders) = self.demo.before();
        pipeline.expect_seed();
        pipeline.seed(&sampled);
        pipeline.note_holders(&holders);
    }
}

impl Feed for Synthetic {
    fn about(&self) -> About {
        About {
            source: "demo".to_owned(),
            host: "demo".to_owned(),
            ways: "synthetic connections, not this host's".to_owned(),
            selection: String::new(),
            has_stacks: false,
        }
    }

    fn tick(&mut self, _: &Pipeline, _: &mut Batch) -> Result<()> {
        Ok(())
    }

    async fn next(&mut self, batch: &mut Batch) -> Result<()> {
        tokio::time::sleep_until(self.wake).await;
        self.wake = Instant::now() + PAUSE;
        self.demo.until(clock::now(), batch);
        Ok(())
    }

    fn take(&mut self, pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
        feed::hand_over(pipeline, batch)?;
        let now = clock::now();
        if pipeline.wants_facts().is_some() && now >= self.facts_due {
            self.facts_due = KtimeNs(now.0 + FACTS_NS);
            pipeline.note_facts(self.demo.host(now));
        }
        Ok(())
    }

    async fn finish(mut self, pipeline: &mut Pipeline, batch: &mut Batch, _: bool) -> Result<Summary> {
        let ended = clock::now();
        self.demo.until(ended, batch);
        feed::hand_over(pipeline, batch)?;
        pipeline
            .end(ended, |summary| Summary {
                hook: WAY,
                accept: WAY,
                lifecycle: WAY,
                lifecycle_why: "synthetic connections, not this host's".to_owned(),
                duration_s: feed::seconds(self.started, ended),
                cpu_s: clock::own_cpu_seconds(),
                ..summary
            })
            .context(UNWRITABLE)
    }
}

/// Names of the cgroups and network namespaces that there are not.
struct MadeUpNames {
    cgroups: FxHashMap<NonZeroU64, Arc<Cgroup>>,
    namespaces: FxHashMap<NonZeroU32, NetnsName>,
    answers: FxHashMap<(Option<NonZeroU32>, Option<NonZeroU64>), Names>,
}

impl MadeUpNames {
    fn new() -> Self {
        Self {
            cgroups: demo::cgroups().map(|(id, cgroup)| (id, Arc::new(cgroup))).collect(),
            namespaces: demo::namespaces().collect(),
            answers: FxHashMap::default(),
        }
    }
}

impl Naming for MadeUpNames {
    fn begin(&mut self) {}

    fn names(&mut self, owner: Option<&Owner>, netns: Option<NonZeroU32>) -> &Names {
        let Self { cgroups, namespaces, answers } = self;
        let cgroup = owner.and_then(|owner| owner.task.cgroup);
        answers.entry((netns, cgroup)).or_insert_with(|| Names {
            cgroup: cgroup.and_then(|id| cgroups.get(&id).cloned()),
            netns: netns.and_then(|netns| namespaces.get(&netns).cloned()),
        })
    }

    fn report(&mut self, _: Vec<(NonZeroU32, NetnsName)>) {}
}
