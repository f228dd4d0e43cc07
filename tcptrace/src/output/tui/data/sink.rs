//! The way of events into it.

use std::{cell::RefCell, io, rc::Rc, sync::Arc};

use super::Data;
use crate::{
    model::{Frame, Observation, SocketKey, findings::Host},
    output::{Beside, Moment, Notice, Sink, Summary},
};

/// A look at the facts is followed by a pause of so many times its own length: 0.4 % of a processor.
const FACTS_PAUSE: u64 = 250;

/// Feeds what the view shows.
pub struct DataSink(Rc<RefCell<Data>>);

impl DataSink {
    /// Feeds this. It must not be borrowed while events are told.
    pub const fn new(data: Rc<RefCell<Data>>) -> Self {
        Self(data)
    }
}

impl Sink for DataSink {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        let data = &mut *self.0.borrow_mut();
        data.begin(at);
        data.activity.add(observed);
        data.counts.add(observed);
        data.arrows.add(observed);
        data.lookout.note(at, observed, beside.stack);
        Ok(())
    }

    fn accepted(&mut self, key: SocketKey, stack: &Arc<[Frame]>) {
        self.0.borrow_mut().lookout.made(key, Arc::clone(stack));
    }

    fn wants_names(&self) -> bool {
        false
    }

    fn wants_facts(&self) -> Option<u64> {
        Some(FACTS_PAUSE)
    }

    fn facts(&mut self, host: Host) {
        self.0.borrow_mut().lookout.facts(host);
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        if let Notice::Lost(_) = notice {
            self.0.borrow_mut().overview.lost_at = Some(at.ktime);
        }
        Ok(())
    }

    fn end(&mut self, _: Moment, _: &Summary) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
