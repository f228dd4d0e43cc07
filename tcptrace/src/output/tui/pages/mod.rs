//! The pages, one a file.

mod connection;
mod connections;
mod counts;
mod diagram;
mod findings;
mod overview;
mod ports;
mod processes;
mod ranking;
mod row_json;
mod staleness;
mod words;

pub use self::{
    connection::ConnectionPage, connections::ConnectionsPage, diagram::DiagramPage, findings::FindingsPage,
    overview::OverviewPage, ports::PortsPage, processes::ProcessesPage,
};
use super::page::{Page, PageId};

/// All of them, each with what it remembers.
#[derive(Debug, Default)]
pub struct Pages {
    /// Counts and rates.
    pub overview: OverviewPage,
    /// All connections.
    pub connections: ConnectionsPage,
    /// By service port.
    pub ports: PortsPage,
    /// By process.
    pub processes: ProcessesPage,
    /// What is wrong.
    pub findings: FindingsPage,
    /// The state machine.
    pub diagram: DiagramPage,
    /// One connection.
    pub connection: ConnectionPage,
}

impl Pages {
    /// One of them.
    pub fn get(&self, page: PageId) -> &dyn Page {
        match page {
            PageId::Overview => &self.overview,
            PageId::Connections => &self.connections,
            PageId::Ports => &self.ports,
            PageId::Processes => &self.processes,
            PageId::Findings => &self.findings,
            PageId::Diagram => &self.diagram,
            PageId::Connection => &self.connection,
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, page: PageId) -> &mut dyn Page {
        match page {
            PageId::Overview => &mut self.overview,
            PageId::Connections => &mut self.connections,
            PageId::Ports => &mut self.ports,
            PageId::Processes => &mut self.processes,
            PageId::Findings => &mut self.findings,
            PageId::Diagram => &mut self.diagram,
            PageId::Connection => &mut self.connection,
        }
    }
}
