//! The way of an event through model and output: one for live, replayed and synthetic events.

use std::io;

use crate::{
    model::{Filter, KtimeNs, Limits, Lost, Table, Transition},
    output::{LineFormat, Moment, Summary},
    source::{Batch, clock::WallClock},
};

/// Table, filter and format, put together.
pub struct Pipeline {
    table: Table,
    filter: Filter,
    format: Box<dyn LineFormat>,
    started: KtimeNs,
    wall_clock: WallClock,
    shown: u64,
}

impl Pipeline {
    /// Writes what comes first. `started` is a moment at which the source was already on.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn begin(
        started: KtimeNs,
        limits: Limits,
        filter: Filter,
        mut format: Box<dyn LineFormat>,
        wall_clock: WallClock,
    ) -> io::Result<Self> {
        format.begin()?;
        format.flush()?;
        Ok(Self { table: Table::new(started, limits), filter, format, started, wall_clock, shown: 0 })
    }

    /// Takes a batch in and writes the lines for it.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn take(&mut self, batch: &Batch, wall_clock: WallClock) -> io::Result<()> {
        self.wall_clock = wall_clock;
        for lost in &batch.lost {
            self.lost(lost)?;
        }
        for transition in &batch.transitions {
            self.transition(transition)?;
        }
        if let Some(lost) = self.table.missed(batch.missed, batch.taken) {
            self.format.lost(self.moment(lost.noticed), &lost)?;
        }
        self.format.flush()
    }

    fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        self.table.lost(lost);
        self.format.lost(self.moment(lost.noticed), lost)
    }

    fn transition(&mut self, transition: &Transition) -> io::Result<()> {
        let at = self.moment(transition.ts);
        let Some(observed) = self.table.apply(transition) else {
            return Ok(());
        };
        if !self.filter.keeps(&observed) {
            return Ok(());
        }
        self.shown += 1;
        self.format.transition(at, &observed)
    }

    /// Writes the end. `complete` adds what only the caller knows to the summary.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn end(&mut self, now: KtimeNs, complete: impl FnOnce(Summary) -> Summary) -> io::Result<Summary> {
        let at = self.moment(now);
        let mut summary = Summary::new(self.table.counters(), self.table.live().len());
        summary.shown = self.shown;
        let summary = complete(summary);
        self.format.end(at, &summary)?;
        self.format.flush()?;
        Ok(summary)
    }

    /// The table as it is now.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    fn moment(&self, ktime: KtimeNs) -> Moment {
        Moment {
            ktime,
            unix_ns: self.wall_clock.unix_ns(ktime),
            elapsed_ns: ktime.since(self.started).unwrap_or(0),
        }
    }
}
