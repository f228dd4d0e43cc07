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
        self.each_open(0, usize::MAX, &mut visit);
        self.each_held(&mut visit);
        let (keeps_all, table) = (self.has_no_filter(), &self.table);
        for (key, connection) in table.closed() {
            if table.held_one(*key).is_none() && table.open(*key).is_none() {
                let kind = Kind::Closed;
                self.offer(
                    keeps_all,
                    Entry { key: *key, kind, connection, held: None, is_beside: false },
                    &mut visit,
                );
            }
        }
    }

    /// The same of what is open, in so many places of the table from `start` on; returns where to go on, if there are more.
    pub(super) fn each_open<'a>(
        &'a self,
        start: usize,
        places: usize,
        mut visit: impl FnMut(Entry<'a>),
    ) -> Option<usize> {
        let keeps_all = self.has_no_filter();
        let (live, next) = self.table.live_part(start, places);
        for (key, connection) in live {
            let kind = Kind::Open;
            self.offer(
                keeps_all,
                Entry { key: *key, kind, connection, held: None, is_beside: false },
                &mut visit,
            );
        }
        next
    }

    /// The same of closed sockets that are held.
    pub(super) fn each_held<'a>(&'a self, mut visit: impl FnMut(Entry<'a>)) {
        let keeps_all = self.has_no_filter();
        for (key, held) in self.table.held() {
            let is_beside = self.table.open(*key).is_some();
            let connection = &held.connection;
            self.offer(
                keeps_all,
                Entry { key: *key, kind: Kind::Held, connection, held: Some(held), is_beside },
                &mut visit,
            );
        }
    }

    /// If it is asked for, as all are or the filter says.
    fn offer<'a>(&'a self, keeps_all: bool, entry: Entry<'a>, visit: &mut impl FnMut(Entry<'a>)) {
        if keeps_all || self.keeps(&self.filter, &entry, self.table.owner_of(entry.connection)) {
            visit(entry);
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
