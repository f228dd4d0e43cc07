//! A sink that passes on what is told of sockets on 127.0.0.1.

use std::{io, net::IpAddr, num::NonZeroU32, sync::mpsc::Sender};

use crate::{
    model::Observation,
    output::{Beside, Moment, Notice, Sink, Summary},
};

/// A row of the trace.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) observed: Observation,
    /// Path of the owner's cgroup.
    pub(super) cgroup: Option<String>,
}

/// What is passed on.
#[derive(Debug)]
pub(super) enum Told {
    /// Tracing is on.
    Begun,
    /// Something happened.
    Row(Box<Row>),
    /// Something happened and was lost.
    Lost(u64),
}

/// Passes it on. Nobody may be there to take it any more.
pub(super) struct Witness {
    told: Sender<Told>,
    addr: IpAddr,
    netns: Option<NonZeroU32>,
}

impl Witness {
    /// Of sockets with this local address in this network namespace, as far as that is known of them.
    pub(super) const fn new(told: Sender<Told>, addr: IpAddr, netns: Option<NonZeroU32>) -> Self {
        Self { told, addr, netns }
    }
}

impl Sink for Witness {
    fn begin(&mut self) -> io::Result<()> {
        let _ = self.told.send(Told::Begun);
        Ok(())
    }

    fn transition(&mut self, _: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        let connection = &observed.connection;
        let is_here = connection.local.addr.is_none_or(|addr| addr == self.addr);
        let is_in_our_netns = connection.netns.zip(self.netns).is_none_or(|(netns, ours)| netns == ours);
        if is_here && is_in_our_netns {
            let cgroup = beside.names.cgroup.as_ref().map(|cgroup| cgroup.path.clone());
            let _ = self.told.send(Told::Row(Box::new(Row { observed: *observed, cgroup })));
        }
        Ok(())
    }

    fn notice(&mut self, _: Moment, notice: &Notice<'_>) -> io::Result<()> {
        if let Notice::Lost(lost) = notice {
            let _ = self.told.send(Told::Lost(lost.count));
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
