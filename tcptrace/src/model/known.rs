//! What the table knows of one socket, and what it is told of.

use super::{
    connection::Connection,
    event::SocketKey,
    held::Held,
    table::{Sees, Table},
};

impl Table {
    /// Its connection, if that is alive.
    pub fn open(&self, key: SocketKey) -> Option<&Connection> {
        self.live.get(&key)
    }

    /// Its connection, if that is closed and remembered.
    pub fn ended(&self, key: SocketKey) -> Option<&Connection> {
        self.closed.get(&key)
    }

    /// It, if it is closed while a descriptor holds it.
    pub fn held_one(&self, key: SocketKey) -> Option<&Held> {
        self.held.get(&key)
    }

    /// What the source reports.
    pub const fn sees(&self) -> Sees {
        self.sees
    }
}
