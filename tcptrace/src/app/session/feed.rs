//! Where the events of a session come from, and what belongs to that.

use anyhow::{Context as _, Result};

use super::UNWRITABLE;
use crate::{
    app::Pipeline,
    model::KtimeNs,
    output::{Summary, tui::world::About},
    source::{Batch, clock::WallClock},
};

/// A source that is on.
pub(super) trait Feed {
    /// What there is to say about it.
    fn about(&self) -> About;

    /// Sees whether something is due. Call it each [`TICK`](crate::app::looks::TICK). What is there without waiting may be
    /// in `batch` afterwards.
    fn tick(&mut self, pipeline: &Pipeline, batch: &mut Batch) -> Result<()>;

    /// Waits until there is something for [`Self::take`]. Dropping the future loses nothing.
    async fn next(&mut self, batch: &mut Batch) -> Result<()>;

    /// Hands it to the pipeline, and empties the batch.
    fn take(&mut self, pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()>;

    /// Turns it off, takes in what it has reported so far, and no more, and writes the end. `is_hurried`: nobody waits for what
    /// a last look would tell.
    async fn finish(self, pipeline: &mut Pipeline, batch: &mut Batch, is_hurried: bool) -> Result<Summary>;
}

/// Hands a batch to the pipeline and empties it.
pub(super) fn hand_over(pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
    pipeline.take(batch, WallClock::read()).context(UNWRITABLE)?;
    batch.clear();
    Ok(())
}

/// How long a session was, in seconds.
#[expect(clippy::cast_precision_loss, reason = "2^52 ns are 52 days, then microseconds are lost")]
pub(super) fn seconds(started: KtimeNs, ended: KtimeNs) -> f64 {
    ended.since(started).unwrap_or(0) as f64 / 1e9
}
