//! What a walk has counted, as rows: so many ports and processes, the rest in one row.

use std::{cmp::Reverse, collections::HashMap, num::NonZeroU16, sync::Arc};

use foldhash::fast::RandomState;

use super::{
    super::world::{PortRow, ProcessRow, STATES, place},
    survey::{Port, Process, Survey},
};
use crate::{
    model::{
        Cgroup, KtimeNs, Owner, Task, TcpState,
        histogram::{Ending, Entry, Key},
    },
    output::findings::Lookout,
};

/// Ports that are told apart.
const MOST_PORTS: usize = 2_000;

/// Processes that are told apart.
const MOST_PROCESSES: usize = 5_000;

/// Ports of a process that are named.
const NAMED_PORTS: usize = 5;

/// Median and 99 % quantile by state.
type Stays = [Option<(u64, u64)>; STATES];

/// Finds the name of an owner's cgroup.
pub type NameCgroup<'a> = &'a mut dyn FnMut(&Owner) -> Option<Arc<Cgroup>>;

/// Rows of the last walk.
#[derive(Debug, Default)]
pub(super) struct Rows {
    survey: Survey,
    /// By service port, those with the most connections first; the row without a port is the last.
    pub(super) ports: Vec<PortRow>,
    /// By process, the same.
    pub(super) processes: Vec<ProcessRow>,
    /// Ports and processes that are in the rows without one, as there was no room for them.
    pub(super) left_out: (usize, usize),
    /// When the walk was.
    pub(super) walked: Option<KtimeNs>,
    /// Stays by port, and how many transitions there had been by then.
    stays: HashMap<Option<NonZeroU16>, (u64, Stays), RandomState>,
    /// Cgroups of processes; only those that have a name.
    cgroups: HashMap<Task, Arc<Cgroup>, RandomState>,
}

impl Rows {
    /// A walk begins: [`Survey::add`] is told each connection, then comes [`Self::end`].
    pub(super) fn begin(&mut self, now: KtimeNs) -> &mut Survey {
        self.survey.begin(now);
        self.walked = Some(now);
        &mut self.survey
    }

    /// All have been gone through.
    pub(super) fn end(&mut self, lookout: &Lookout, name_cgroup: NameCgroup<'_>) -> &Survey {
        self.name_past_ports(lookout);
        self.survey.end();
        self.ports_by_count(lookout);
        self.processes_by_count(lookout, name_cgroup);
        &self.survey
    }

    /// Ports whose connections are all over have stays and endings, too.
    fn name_past_ports(&mut self, lookout: &Lookout) {
        for (key, _) in lookout.histograms().entries() {
            if let Key::Port(port) = key {
                self.survey.place_of_port(port);
            }
        }
    }

    fn ports_by_count(&mut self, lookout: &Lookout) {
        let entry = |of: &Port| lookout.histograms().entry(Key::Port(of.number));
        let mut order: Vec<(usize, (u64, u64))> = self
            .survey
            .ports
            .iter()
            .enumerate()
            .skip(1)
            .map(|(place, of)| {
                (
                    place,
                    (of.counts.iter().sum::<u64>() + of.held, entry(of).map_or(0, |entry| entry.transitions)),
                )
            })
            .collect();
        let port = |place: &usize| self.survey.ports.get(*place).and_then(|of| of.number);
        order.sort_unstable_by_key(|(place, count)| (Reverse(*count), port(place)));
        self.left_out.0 = order.len().saturating_sub(MOST_PORTS);
        if self.stays.len() > 2 * MOST_PORTS {
            self.stays.clear();
        }
        let mut rows = Vec::with_capacity(order.len().min(MOST_PORTS) + 1);
        for of in order.iter().take(MOST_PORTS).filter_map(|(place, _)| self.survey.ports.get(*place)) {
            rows.push(port_row(of, entry(of), &self.survey.processes, lookout, &mut self.stays));
        }
        let without = self.survey.ports.first();
        let mut rest = without
            .map(|of| port_row(of, entry(of), &self.survey.processes, lookout, &mut self.stays))
            .unwrap_or_default();
        for of in order.iter().skip(MOST_PORTS).filter_map(|(place, _)| self.survey.ports.get(*place)) {
            rest.held += of.held;
            add_all(&mut rest.counts, &of.counts);
            if let Some(entry) = entry(of) {
                rest.transitions += entry.transitions;
                add_all(&mut rest.endings, &Ending::ALL.map(|ending| entry.ended(ending)));
            }
            // Who owns most of them, and how long they stayed, is not summed up.
            (rest.owner, rest.stays) = (None, Stays::default());
        }
        if rest.transitions > 0 || rest.held > 0 || rest.counts.iter().any(|count| *count > 0) {
            rows.push(rest);
        }
        self.ports = rows;
    }

    fn processes_by_count(&mut self, lookout: &Lookout, name_cgroup: NameCgroup<'_>) {
        let processes = &self.survey.processes;
        let mut order: Vec<(usize, u64)> = processes
            .iter()
            .enumerate()
            .skip(1)
            .map(|(place, of)| (place, of.counts.iter().sum::<u64>() + of.held))
            .collect();
        let name = |place: usize| {
            let owner = processes.get(place).and_then(|of| of.owner);
            owner.map(|owner| (owner.task.pid, owner.task.started))
        };
        order.sort_unstable_by_key(|(place, count)| (Reverse(*count), name(*place)));
        self.left_out.1 = order.len().saturating_sub(MOST_PROCESSES);
        if self.cgroups.len() > 2 * MOST_PROCESSES {
            self.cgroups.clear();
        }
        let mut rows = Vec::with_capacity(order.len().min(MOST_PROCESSES) + 1);
        for of in order.iter().take(MOST_PROCESSES).filter_map(|(place, _)| processes.get(*place)) {
            let mut row = process_row(of, &self.survey.ports);
            if let Some(owner) = &of.owner {
                row.pid = Some(owner.task.pid);
                row.comm = Some(lookout.name_of(&owner.task));
                row.cgroup = self.cgroups.get(&owner.task).cloned();
                if row.cgroup.is_none() && owner.task.cgroup.is_some() {
                    row.cgroup = name_cgroup(owner);
                    self.cgroups.extend(row.cgroup.clone().map(|cgroup| (owner.task, cgroup)));
                }
            }
            rows.push(row);
        }
        let mut rest = processes.first().map(|of| process_row(of, &self.survey.ports)).unwrap_or_default();
        let mut may_be_older = processes.first().is_some_and(|of| of.may_be_older);
        for of in order.iter().skip(MOST_PROCESSES).filter_map(|(place, _)| processes.get(*place)) {
            rest.held += of.held;
            rest.not_accepted += of.not_accepted;
            add_all(&mut rest.counts, &of.counts);
            may_be_older |= of.may_be_older;
            let oldest = [rest.oldest_close_wait, of.oldest_close_wait].into_iter().flatten();
            rest.oldest_close_wait =
                oldest.map(|(oldest, _)| oldest).max().map(|oldest| (oldest, may_be_older));
            // A peer of one may be another's, too: nothing is said of them together.
            rest.peers = (0, None);
            rest.ports.clear();
        }
        if rest.held > 0 || rest.counts.iter().any(|count| *count > 0) {
            rows.push(rest);
        }
        self.processes = rows;
    }
}

fn add_all(to: &mut [u64], counts: &[u64]) {
    for (to, count) in to.iter_mut().zip(counts) {
        *to += count;
    }
}

fn port_row(
    of: &Port,
    entry: Option<&Entry>,
    processes: &[Process],
    lookout: &Lookout,
    stays: &mut HashMap<Option<NonZeroU16>, (u64, Stays), RandomState>,
) -> PortRow {
    let known = of.processes.iter().filter_map(|(place, _)| processes.get(*place)?.owner);
    let owner = known
        .clone()
        .next()
        .map(|owner| (lookout.name_of(&owner.task), known.count().saturating_sub(1) as u64));
    PortRow {
        port: of.number,
        counts: of.counts,
        held: of.held,
        owner,
        stays: entry.map(|entry| stays_of(of.number, entry, stays)).unwrap_or_default(),
        endings: entry.map(|entry| Ending::ALL.map(|ending| entry.ended(ending))).unwrap_or_default(),
        transitions: entry.map_or(0, |entry| entry.transitions),
    }
}

/// Stays of a port; counted again only when there are more than the last time.
fn stays_of(
    port: Option<NonZeroU16>,
    entry: &Entry,
    known: &mut HashMap<Option<NonZeroU16>, (u64, Stays), RandomState>,
) -> Stays {
    if let Some((transitions, stays)) = known.get(&port)
        && *transitions == entry.transitions
    {
        return *stays;
    }
    let mut stays = Stays::default();
    for state in TcpState::ALL {
        let (dwells, _) = entry.stays(state);
        if let Some(stay) = stays.get_mut(place(state)) {
            *stay = dwells.quantile(0.5).zip(dwells.quantile(0.99));
        }
    }
    known.insert(port, (entry.transitions, stays));
    stays
}

fn process_row(of: &Process, ports: &[Port]) -> ProcessRow {
    ProcessRow {
        pid: None,
        comm: None,
        cgroup: None,
        counts: of.counts,
        held: of.held,
        not_accepted: of.not_accepted,
        peers: of.peers,
        oldest_close_wait: of.oldest_close_wait,
        ports: of.ports.iter().filter_map(|(place, _)| ports.get(*place)?.number).take(NAMED_PORTS).collect(),
    }
}

#[cfg(test)]
mod tests;
