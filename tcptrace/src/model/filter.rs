//! Which transitions are asked for.

use std::num::NonZeroU32;

use super::{
    connection::Role,
    event::{Family, SocketKey},
    filter_lists::{CommList, NetworkList, PortList, StateSet},
    held::Held,
    observation::Observation,
    owner::{Owner, OwnerIs},
    processes::Processes,
    state::TcpState::{Close, Listen},
    workload::Cgroup,
};

/// A conjunction of conditions; an absent one holds for everything.
///
/// A condition that cannot be decided yet (a client's port before it is bound, the owner of a connection before it
/// is known) holds: an event too many can be seen, a missing one cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The socket's family.
    pub family: Option<Family>,
    /// The owner is one of these processes.
    pub processes: Option<Processes>,
    /// Owner's name.
    pub comms: Option<CommList>,
    /// Local port.
    pub local_ports: Option<PortList>,
    /// Remote port.
    pub remote_ports: Option<PortList>,
    /// The service's port, whichever side it is on.
    pub service_ports: Option<PortList>,
    /// Local address.
    pub local_networks: Option<NetworkList>,
    /// Remote address.
    pub remote_networks: Option<NetworkList>,
    /// Inodes of network namespaces.
    pub netns: Option<Vec<NonZeroU32>>,
    /// Path of a cgroup from the root of its hierarchy: the owner is in it or below it.
    pub cgroup: Option<String>,
    /// The state that is left or entered.
    pub states: Option<StateSet>,
}

impl Filter {
    /// Whether a closed socket that is held is asked for.
    pub fn keeps_held(
        &self,
        key: SocketKey,
        held: &Held,
        owner: Option<Owner>,
        cgroup: Option<&Cgroup>,
    ) -> bool {
        self.keeps(&held.observation(key, owner), cgroup)
    }

    /// Whether the observed transition is asked for. `cgroup` is its owner's, where that is known.
    pub fn keeps(&self, observed: &Observation, cgroup: Option<&Cgroup>) -> bool {
        let connection = &observed.connection;
        let (local, remote) = (connection.local, connection.remote);
        // A listener has no peer and never will: that is decided.
        let is_listener =
            matches!((observed.transition.old, observed.transition.new), (_, Listen) | (Listen, Close));
        let is_service = |ports: &PortList| match connection.role {
            Some(Role::Server) => ports.may_contain(local.port),
            Some(Role::Client) => ports.may_contain(remote.port),
            None => ports.may_contain(local.port) || ports.may_contain(remote.port),
        };
        holds(self.family.as_ref(), |family| connection.family == *family)
            && holds(self.states.as_ref(), |states| {
                states.contains(observed.transition.old) || states.contains(observed.transition.new)
            })
            && holds(self.local_ports.as_ref(), |ports| ports.may_contain(local.port))
            && holds(self.remote_ports.as_ref(), |ports| !is_listener && ports.may_contain(remote.port))
            && holds(self.service_ports.as_ref(), is_service)
            && holds(self.local_networks.as_ref(), |networks| networks.may_contain(local.addr))
            && holds(self.remote_networks.as_ref(), |networks| {
                !is_listener && networks.may_contain(remote.addr)
            })
            && holds(self.netns.as_ref(), |wanted| {
                connection.netns.is_none_or(|netns| wanted.contains(&netns))
            })
            && holds(self.processes.as_ref(), |processes| observed.owner.is_some() || !processes.are_new())
            && self.keeps_owner(observed.owner.as_ref(), cgroup)
    }

    /// Whether nothing that is known of the owner speaks against it.
    pub fn keeps_owner(&self, owner: Option<&Owner>, cgroup: Option<&Cgroup>) -> bool {
        let Some(Owner { task, is }) = owner else { return true };
        // Another process can still accept what its listener's owner has not.
        let is_undecided = *is == OwnerIs::Listener;
        let is_wanted_process = |processes: &Processes| {
            if is_undecided { processes.may_inherit_from(task) } else { processes.contains(task) }
        };
        holds(self.processes.as_ref(), is_wanted_process)
            && holds(self.comms.as_ref(), |comms| is_undecided || comms.contains(task.comm))
            && holds(self.cgroup.as_ref(), |wanted| {
                is_undecided || cgroup.is_none_or(|cgroup| cgroup.is_within(wanted))
            })
    }

    /// Whether anything is asked of owners.
    pub const fn asks_for_owners(&self) -> bool {
        self.processes.is_some() || self.comms.is_some() || self.cgroup.is_some()
    }
}

fn holds<T>(condition: Option<&T>, decide: impl FnOnce(&T) -> bool) -> bool {
    condition.is_none_or(decide)
}
