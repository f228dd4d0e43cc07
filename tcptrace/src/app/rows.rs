//! What the table has, row by row, as far as it is asked for.

use std::sync::Arc;

use super::pipeline::Pipeline;
use crate::{
    model::{Cgroup, Connection, Filter, Held, Observation, Owner, SocketKey},
    output::{
        Names, escape,
        tui::world::{Kind, Row, judged},
    },
};

/// A row, with nothing copied.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: SocketKey,
    pub(super) kind: Kind,
    pub(super) connection: &'a Connection,
    /// What is held, of one that is.
    pub(super) held: Option<&'a Held>,
    /// Of one that is held: its connection is open, as a time-wait socket stands for it.
    pub(super) is_beside: bool,
}

impl Pipeline {
    /// Whether everything is asked for.
    pub(super) fn has_no_filter(&self) -> bool {
        self.filter == Filter::default()
    }

    /// Goes through everything that the session's filter keeps: what is open, closed sockets that are held, and what is closed and
    /// remembered. A socket that is held is not gone through once more as closed, which would be the same thing.
    pub(super) fn each_entry<'a>(&'a self, mut visit: impl FnMut(Entry<'a>)) {
        let keeps_all = self.has_no_filter();
        let table = &self.table;
        let mut visit = |entry: Entry<'a>| {
            if keeps_all || self.keeps(&self.filter, &entry, self.table.owner_of(entry.connection)) {
                visit(entry);
            }
        };
        for (key, connection) in table.live() {
            visit(Entry { key: *key, kind: Kind::Open, connection, held: None, is_beside: false });
        }
        for (key, held) in table.held() {
            let is_beside = table.open(*key).is_some();
            let connection = &held.connection;
            visit(Entry { key: *key, kind: Kind::Held, connection, held: Some(held), is_beside });
        }
        for (key, connection) in table.closed() {
            if table.held_one(*key).is_none() && table.open(*key).is_none() {
                visit(Entry { key: *key, kind: Kind::Closed, connection, held: None, is_beside: false });
            }
        }
    }

    /// Everything that both filters keep, each socket once. Where the connection of a socket that is held goes on as a time-wait
    /// socket, it is told as open until that is over.
    pub(super) fn each_row(&self, filter: &Filter, visit: &mut dyn FnMut(Row)) {
        let keeps_all = *filter == Filter::default();
        self.each_entry(|entry| {
            let is_wanted = || {
                let owner = judged(filter, self.table.owner_of(entry.connection));
                owner.is_some_and(|owner| self.keeps(filter, &entry, owner))
            };
            if !entry.is_beside && (keeps_all || is_wanted()) {
                visit(self.row_of(&entry));
            }
        });
    }

    /// That of a socket: open, else held, else closed.
    pub(super) fn row(&self, key: SocketKey) -> Option<Row> {
        let open = || {
            let connection = self.table.open(key)?;
            Some(Entry { key, kind: Kind::Open, connection, held: None, is_beside: false })
        };
        let held = || {
            let held = self.table.held_one(key)?;
            Some(Entry {
                key,
                kind: Kind::Held,
                connection: &held.connection,
                held: Some(held),
                is_beside: false,
            })
        };
        let ended = || {
            let connection = self.table.ended(key)?;
            Some(Entry { key, kind: Kind::Closed, connection, held: None, is_beside: false })
        };
        let entry = open().or_else(held).or_else(ended)?;
        let owner = self.table.owner_of(entry.connection);
        (self.has_no_filter() || self.keeps(&self.filter, &entry, owner)).then(|| self.row_of(&entry))
    }

    fn row_of(&self, entry: &Entry<'_>) -> Row {
        Row {
            key: entry.key,
            kind: entry.kind,
            connection: *entry.connection,
            owner: self.table.owner_of(entry.connection),
            closed: match (entry.kind, entry.held) {
                (_, Some(held)) => Some(held.since),
                (Kind::Closed, None) => entry.connection.entered(),
                (_, None) => None,
            },
            is_doubtful: entry.held.is_some_and(|held| held.is_doubtful),
        }
    }

    fn keeps(&self, filter: &Filter, entry: &Entry<'_>, owner: Option<Owner>) -> bool {
        let mut cgroup = None;
        if filter.cgroup.is_some() {
            cgroup = self.cgroup_of(owner.as_ref());
        }
        match entry.held {
            Some(held) => filter.keeps_held(entry.key, held, owner, cgroup.as_deref()),
            None => {
                filter.keeps(&Observation::of_state(entry.key, entry.connection, owner), cgroup.as_deref())
            }
        }
    }

    /// The cgroup of an owner.
    pub(super) fn cgroup_of(&self, owner: Option<&Owner>) -> Option<Arc<Cgroup>> {
        self.naming.borrow_mut().names(owner, None).cgroup.clone()
    }

    /// Names for the owner and the network namespace of a connection.
    pub(super) fn names(&self, connection: &Connection, owner: Option<&Owner>) -> Names {
        self.naming.borrow_mut().names(owner, connection.netns).clone()
    }

    /// The functions of the last call on a socket, harmless, the innermost first.
    pub(super) fn stack(&self, key: SocketKey) -> Option<Vec<String>> {
        Some(self.stacks.last(key)?.iter().map(escape::frame).collect())
    }
}
