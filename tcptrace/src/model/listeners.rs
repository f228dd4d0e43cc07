//! Who listens where: whose a connection is until it is accepted, and whether anybody can have answered it.

use std::num::{NonZeroU16, NonZeroU32};

use rustc_hash::FxHashMap;

use super::{
    connection::Connection,
    event::SocketKey,
    owner::{OwnerIs, OwnerRef},
};

/// Ports of listeners, past ones included, before the past ones are forgotten.
const MAX_PORTS: usize = 100_000;

/// Listeners by their addresses, before all are forgotten and ports alone decide.
const MAX_SOCKETS: usize = 100_000;

/// The listeners on one port of a network namespace.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    count: u32,
    /// `None` when none was ever known, or when they are of several owners.
    owner: Option<OwnerRef>,
}

/// All listeners.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    ports: FxHashMap<(Option<NonZeroU32>, NonZeroU16), Port>,
    /// Owners by the address of the listening socket.
    sockets: FxHashMap<SocketKey, OwnerRef>,
}

impl Listeners {
    /// One more.
    pub(super) fn begin(&mut self, connection: &Connection) {
        let Some(key) = connection.local.port.map(|port| (connection.netns, port)) else { return };
        if self.ports.len() >= MAX_PORTS {
            self.ports.retain(|_, port| port.count > 0);
        }
        let port = self.ports.entry(key).or_default();
        let is_first = port.count == 0;
        port.owner = connection.owner.filter(|owner| is_first || port.owner == Some(*owner));
        port.count += 1;
    }

    /// One less.
    pub(super) fn end(&mut self, connection: &Connection) {
        let Some(key) = connection.local.port.map(|port| (connection.netns, port)) else { return };
        if let Some(port) = self.ports.get_mut(&key) {
            port.count = port.count.saturating_sub(1);
        }
    }

    /// The listening socket at this address has this owner.
    pub(super) fn note_socket(&mut self, address: SocketKey, owner: OwnerRef) {
        if self.sockets.len() >= MAX_SOCKETS {
            self.sockets.clear();
        }
        self.sockets.insert(address, owner);
    }

    /// It listens no more.
    pub(super) fn forget_socket(&mut self, address: SocketKey) {
        self.sockets.remove(&address);
    }

    /// The owner of a listener that was there before is found.
    pub(super) fn found_owner(&mut self, connection: &Connection, owner: OwnerRef) {
        let Some(key) = connection.local.port.map(|port| (connection.netns, port)) else { return };
        if let Some(port) = self.ports.get_mut(&key)
            && port.count == 1
        {
            port.owner = Some(owner);
        }
    }

    /// Whether a listener has the local port of a connection; `None` when none was ever known.
    pub(super) fn is_listening(&self, connection: &Connection) -> Option<bool> {
        let port = connection.local.port?;
        self.ports.get(&(connection.netns, port)).map(|port| port.count > 0)
    }

    /// Who will accept a connection, as far as can be told: the owner of its listener (by its address, where that is
    /// known), or of the only listeners on its port.
    pub(super) fn owner_for(&self, connection: &Connection, listener: Option<SocketKey>) -> Option<OwnerRef> {
        let by_address = listener.and_then(|address| self.sockets.get(&address).copied());
        let by_port = || {
            let port = self.ports.get(&(connection.netns, connection.local.port?))?;
            port.owner.filter(|_| port.count > 0)
        };
        by_address.or_else(by_port).map(|owner| owner.known_as(OwnerIs::Listener))
    }

    /// All owners of listeners.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerRef> {
        self.ports.values().filter_map(|port| port.owner).chain(self.sockets.values().copied())
    }
}
