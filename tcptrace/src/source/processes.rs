//! Which process was made by which, and which one we are, as /proc tells it now.

use std::num::NonZeroU32;

use procfs::process::{Process, all_processes};
use rustc_hash::FxHashMap;

use super::holders;
use crate::model::{ProcessStart, Processes, Task};

/// A process and the one that made it, or that has taken it over since.
#[derive(Clone, Copy, Debug)]
struct Link {
    parent: Option<NonZeroU32>,
    started: Option<ProcessStart>,
}

/// This process and its first thread, numbered as the pid namespace of /proc numbers them. `None` where /proc does not tell.
pub fn own() -> Option<Task> {
    holders::task(&Process::myself().ok()?)
}

/// Adds to processes that are asked for what they have made so far, with their starts, and what they come from.
pub fn complete(processes: &mut Processes) {
    let all = match all_processes() {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!("children that processes have made so far are not known: {error}");
            return;
        }
    };
    let mut links = FxHashMap::default();
    for stat in all.filter_map(|process| process.ok()?.stat().ok()) {
        let number = |pid: i32| u32::try_from(pid).ok().and_then(NonZeroU32::new);
        if let Some(pid) = number(stat.pid) {
            let started = ProcessStart::from_ticks(stat.starttime);
            links.insert(pid, Link { parent: number(stat.ppid), started });
        }
    }
    complete_from(processes, &links);
}

fn complete_from(processes: &mut Processes, links: &FxHashMap<NonZeroU32, Link>) {
    let named: Vec<NonZeroU32> = processes.members().map(|(pid, _)| pid).chain(processes.parents()).collect();
    for (pid, link) in links {
        let mut line = ancestors(*pid, links);
        if named.contains(pid) && processes.members().any(|(member, _)| member == *pid)
            || line.any(|ancestor| named.contains(&ancestor))
        {
            processes.insert(*pid, link.started);
        }
    }
    for ancestor in named.iter().flat_map(|pid| ancestors(*pid, links)) {
        processes.insert_ancestor(ancestor);
    }
}

/// The processes that this one comes from, the nearest first.
fn ancestors(
    of: NonZeroU32,
    links: &FxHashMap<NonZeroU32, Link>,
) -> impl Iterator<Item = NonZeroU32> + use<'_> {
    let parent = |pid: NonZeroU32| links.get(&pid).and_then(|link| link.parent);
    // A number that is given again while we read could make a circle.
    std::iter::successors(parent(of), move |pid| parent(*pid)).take(links.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Comm, Task, filter_lists::PidList};

    #[test]
    fn children_belong_to_it_and_ancestors_do_not() {
        let pid = |number: u32| NonZeroU32::new(number).expect("is not 0");
        let link =
            |parent: u32| Link { parent: NonZeroU32::new(parent), started: ProcessStart::from_ticks(7) };
        let links: FxHashMap<_, _> = [(1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 10), (10, 9)]
            .map(|(child, parent)| (pid(child), link(parent)))
            .into_iter()
            .collect();
        let mut processes = Processes::from(&"5".parse::<PidList>().expect("is a list"));
        complete_from(&mut processes, &links);
        let mut members: Vec<u32> = processes.members().map(|(pid, _)| pid.get()).collect();
        members.sort_unstable();
        assert_eq!(members, [5, 6, 7]);
        let task = |number| Task {
            pid: pid(number),
            tid: pid(number),
            comm: Comm::default(),
            started: ProcessStart::from_ticks(7),
            cgroup: None,
        };
        assert!(processes.may_inherit_from(&task(1)) && !processes.may_inherit_from(&task(8)));
    }

    #[test]
    fn our_parent_has_us_for_a_child() {
        let parent = rustix::process::getppid().expect("has a parent").as_raw_nonzero();
        let parent = NonZeroU32::try_from(parent).expect("is positive");
        let mut processes = Processes::from(&parent.to_string().parse::<PidList>().expect("is a list"));
        complete(&mut processes);
        assert!(processes.members().any(|(pid, _)| pid.get() == std::process::id()));
    }
}
