//! What is asked for, with what only this host knows: its network namespaces, cgroups and processes.

use anyhow::{Context as _, Result};

use crate::{
    cli::Places,
    model::Filter,
    source::{cgroups::Cgroups, live::CgroupPlace, netns_names, processes},
};

/// Completes a filter.
pub(super) fn resolve(
    mut filter: Filter,
    places: &Places,
    cgroups: &mut Cgroups,
) -> Result<(Filter, Option<CgroupPlace>)> {
    let mut place = None;
    if !places.netns.is_empty() {
        let inodes = places.netns.iter().map(|word| netns_names::resolve(word));
        filter.netns = Some(inodes.collect::<Result<_, _>>().context("--netns")?);
    }
    if let Some(path) = &places.cgroup {
        let id = cgroups.id_of(path).context("--cgroup")?;
        let cgroup =
            cgroups.name(id, None).with_context(|| format!("--cgroup: {} has gone", path.display()))?;
        filter.cgroup = Some(cgroup.path.clone());
        let level = cgroup.path.split('/').filter(|name| !name.is_empty()).count();
        place = Some(CgroupPlace { id, level: u32::try_from(level)? });
    }
    if let Some(processes) = &mut filter.processes {
        processes::complete(processes);
    }
    Ok((filter, place))
}
