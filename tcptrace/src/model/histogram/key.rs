//! What stays are counted by.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

use crate::model::{Comm, Connection, Owner, Role};

/// By what to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// The service port: the listening side's, whichever side we see.
    #[default]
    Port,
    /// The remote port.
    RemotePort,
    /// The name of the owner's process.
    Process,
    /// The remote address.
    Peer,
    /// The owner's cgroup.
    Cgroup,
    /// The network namespace.
    Netns,
    /// Client or server.
    Role,
}

impl By {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::RemotePort => "rport",
            Self::Process => "process",
            Self::Peer => "peer",
            Self::Cgroup => "cgroup",
            Self::Netns => "netns",
            Self::Role => "role",
        }
    }

    /// That of a connection.
    pub fn key(self, connection: &Connection, owner: Option<&Owner>) -> Key {
        match self {
            Self::Port => Key::Port(service_port(connection)),
            Self::RemotePort => Key::Port(connection.remote.port),
            Self::Process => Key::Process(owner.map(|owner| owner.task.comm)),
            Self::Peer => Key::Peer(connection.remote.addr),
            Self::Cgroup => Key::Cgroup(owner.and_then(|owner| owner.task.cgroup)),
            Self::Netns => Key::Netns(connection.netns),
            Self::Role => Key::Role(connection.role),
        }
    }
}

/// What is counted together. `None` is what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A port.
    Port(Option<NonZeroU16>),
    /// A process name.
    Process(Option<Comm>),
    /// An address.
    Peer(Option<IpAddr>),
    /// A cgroup's id.
    Cgroup(Option<NonZeroU64>),
    /// The inode of a network namespace.
    Netns(Option<NonZeroU32>),
    /// A side.
    Role(Option<Role>),
}

/// The listening side's port. Not known where it is not known who listened.
fn service_port(connection: &Connection) -> Option<NonZeroU16> {
    match connection.role? {
        Role::Server => connection.local.port,
        Role::Client => connection.remote.port,
    }
}
