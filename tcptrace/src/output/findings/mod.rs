//! `tcptrace leaks`: looks at the facts every so often, and tells what is wrong.

mod json;
mod lookout;
mod memory;
mod report;
mod text;
pub(in crate::output) mod words;

use std::{cell::Cell, io, rc::Rc, sync::Arc};

pub use self::{
    json::FindingsJson,
    lookout::{Looked, Lookout, LookoutOptions},
    memory::{Change, Memory},
    report::{FindingReport, LookReport, Status},
    text::{FindingsText, FindingsTextOptions},
};
use super::{Beside, Moment, Names, Notice, Sink, Summary};
use crate::model::{Connection, Frame, Held, Observation, Owner, SocketKey, findings::Host};

/// A format of findings.
pub trait FindingReporter {
    /// What comes first, once.
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Something was found.
    fn finding(&mut self, at: Moment, finding: &FindingReport) -> io::Result<()>;
    /// What was looked at, in the end.
    fn looked(&mut self, at: Moment, look: &LookReport) -> io::Result<()>;
    /// Anything else that happens, but for closed sockets that are held.
    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()>;
    /// The end.
    fn end(&mut self, _at: Moment, _summary: &Summary) -> io::Result<()> {
        Ok(())
    }
    /// Passes on what was written.
    fn flush(&mut self) -> io::Result<()>;
}

/// What to look for, and what to tell.
#[derive(Clone, Debug, Default)]
pub struct FindingsOptions {
    /// What to look for. Its stacks are told.
    pub lookout: LookoutOptions,
    /// Tell what is new, what is worse and what is over at each look, and not only at the end.
    pub is_watch: bool,
}

/// Looks, and tells.
pub struct Findings {
    is_watch: bool,
    reporter: Box<dyn FindingReporter>,
    lookout: Lookout,
    memory: Memory,
    /// The condition has held.
    has_held: Rc<Cell<bool>>,
}

impl Findings {
    /// Tells `reporter`.
    pub fn new(options: FindingsOptions, reporter: Box<dyn FindingReporter>) -> Self {
        Self {
            is_watch: options.is_watch,
            reporter,
            lookout: Lookout::new(options.lookout),
            memory: Memory::default(),
            has_held: Rc::default(),
        }
    }

    /// Tells, in the end, whether the condition has held: at the last look, or, when it watches, at any.
    pub fn has_held(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.has_held)
    }

    /// What is wrong now. The census is used up.
    fn look(&mut self, at: Moment) -> Looked {
        let looked = self.lookout.look(at);
        self.lookout.second(at);
        self.has_held.set(looked.holds || self.is_watch && self.has_held.get());
        looked
    }

    fn tell_changes(&mut self, at: Moment, looked: Looked) -> io::Result<()> {
        for change in self.memory.compare(at, looked.found).into_iter().filter(|change| change.is_news) {
            self.reporter.finding(at, &self.lookout.report(&change.finding, change.status))?;
        }
        Ok(())
    }
}

impl Sink for Findings {
    fn begin(&mut self) -> io::Result<()> {
        self.reporter.begin()
    }

    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        self.lookout.note(at, observed, beside.stack);
        Ok(())
    }

    fn accepted(&mut self, key: SocketKey, stack: &Arc<[Frame]>) {
        self.lookout.made(key, Arc::clone(stack));
    }

    fn wants_open(&self) -> bool {
        true
    }

    fn wants_facts(&self) -> Option<u64> {
        // 2 % of a processor for as long as it takes, or 20 % for some seconds.
        Some(if self.is_watch { 50 } else { 4 })
    }

    fn facts(&mut self, host: Host) {
        self.lookout.facts(host);
    }

    fn open(
        &mut self,
        at: Moment,
        key: SocketKey,
        connection: &Connection,
        owner: Option<&Owner>,
        names: &Names,
    ) {
        self.lookout.open(at, key, connection, owner, names);
    }

    fn held(&mut self, at: Moment, key: SocketKey, held: &Held, owner: Option<&Owner>, names: &Names) {
        self.lookout.held(at, key, held, owner, names);
    }

    fn interval(&mut self, at: Moment) -> io::Result<()> {
        let looked = self.look(at);
        if self.is_watch { self.tell_changes(at, looked) } else { Ok(()) }
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        match notice {
            // They are in the findings.
            Notice::Held(..) => Ok(()),
            notice => self.reporter.notice(at, notice),
        }
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        let looked = self.look(at);
        let mut not_seen = self.lookout.not_seen(summary.lost, summary.lifecycle != "off");
        not_seen.extend(self.lookout.overdue_facts(at));
        let look = LookReport {
            sockets: looked.sockets,
            findings: looked.found.len() as u64,
            seconds: summary.duration_s,
            not_seen,
        };
        if self.is_watch {
            self.tell_changes(at, looked)?;
        } else {
            for finding in &looked.found {
                self.reporter.finding(at, &self.lookout.report(finding, Status::New))?;
            }
        }
        self.reporter.looked(at, &look)?;
        self.reporter.end(at, summary)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reporter.flush()
    }
}
