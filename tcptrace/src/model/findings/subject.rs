//! What a finding is about.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

use crate::model::{Comm, Connection, Origin, Owner, Role, TcpState};

/// An owner, a service port and a peer, as far as a rule tells them apart. Processes of one name in one cgroup are one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The name of the owner's process.
    pub comm: Option<Comm>,
    /// Its cgroup's id.
    pub cgroup: Option<NonZeroU64>,
    /// Inode of the network namespace.
    pub netns: Option<NonZeroU32>,
    /// The service port: the listening side's.
    pub port: Option<NonZeroU16>,
    /// Which side of it we are.
    pub role: Option<Role>,
    /// The peer's address, where the rule tells peers apart.
    pub peer: Option<IpAddr>,
}

impl Subject {
    /// That of a connection, whoever its peer is.
    pub fn of(connection: &Connection, owner: Option<&Owner>) -> Self {
        let role = role(connection);
        Self {
            comm: owner.map(|owner| owner.task.comm),
            cgroup: owner.and_then(|owner| owner.task.cgroup),
            netns: connection.netns,
            port: match role {
                Some(Role::Server) => connection.local.port,
                Some(Role::Client) => connection.remote.port,
                None => None,
            },
            role,
            peer: None,
        }
    }

    /// The same with that peer.
    #[must_use]
    pub const fn with_peer(self, peer: Option<IpAddr>) -> Self {
        Self { peer, ..self }
    }

    /// The owner alone.
    #[must_use]
    pub const fn owner_alone(self) -> Self {
        Self { port: None, role: None, peer: None, ..self }
    }
}

/// Of a connection that was open before the start the role is known where somebody listens on its port; else it is taken for a
/// client, as `snapshot` does. Only a server that has closed its listener is not.
pub(super) fn role(connection: &Connection) -> Option<Role> {
    match connection.role {
        None if connection.origin == Origin::Seeded && connection.state != TcpState::Listen => {
            Some(Role::Client)
        }
        role => role,
    }
}
