//! Who owns a socket. Processes are few and connections many: each process is kept once.

use std::num::NonZeroU32;

use super::{
    connection::{Body, Connection, Role},
    event::{KtimeNs, SocketKey, Task},
    state::TcpState,
    table::Table,
};

/// How we know who owns a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerIs {
    /// It made a system call of the socket's own: `connect`, `listen`, `accept`, `close`, `shutdown`.
    Caller,
    /// Nobody has accepted the connection yet, as far as we know: its listener's owner.
    Listener,
    /// It was found to hold a descriptor of the socket.
    Holder,
}

impl OwnerIs {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Listener => "listener",
            Self::Holder => "holder",
        }
    }
}

/// The owner of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The process.
    pub task: Task,
    /// How we know.
    pub is: OwnerIs,
}

/// The owner as a connection remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OwnerRef {
    number: NonZeroU32,
    pub(super) is: OwnerIs,
}

impl OwnerRef {
    pub(super) const fn known_as(self, is: OwnerIs) -> Self {
        Self { is, ..self }
    }
}

/// Those forgotten at once are at least so many.
const AT_LEAST: usize = if cfg!(any(test, fuzzing)) { 3 } else { 4096 };

/// All owners of sockets in the table.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// By number less 1; `None` where a number is free.
    tasks: Vec<Option<Task>>,
    /// Names of processes are chosen by anybody: the hash has a seed.
    numbers: std::collections::HashMap<Task, NonZeroU32, foldhash::fast::RandomState>,
    free: Vec<NonZeroU32>,
    /// The one that was asked for last is most often asked for next.
    last: Option<(Task, NonZeroU32)>,
    /// When there are more, those that nobody refers to are forgotten.
    limit: usize,
}

impl Owners {
    pub(super) fn refer(&mut self, owner: Owner) -> OwnerRef {
        let Owner { task, is } = owner;
        if let Some((last, number)) = self.last
            && last == task
        {
            return OwnerRef { number, is };
        }
        let number = self.numbers.get(&task).copied().unwrap_or_else(|| self.insert(task));
        self.last = Some((task, number));
        OwnerRef { number, is }
    }

    fn insert(&mut self, task: Task) -> NonZeroU32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            u32::try_from(self.tasks.len()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX)
        });
        if let Some(slot) = self.tasks.get_mut(index(number)) {
            *slot = Some(task);
        }
        self.numbers.insert(task, number);
        number
    }

    pub(super) fn get(&self, owner: OwnerRef) -> Option<Owner> {
        let task = (*self.tasks.get(index(owner.number))?)?;
        Some(Owner { task, is: owner.is })
    }

    fn is_full(&self) -> bool {
        self.numbers.len() > self.limit.max(AT_LEAST)
    }

    /// Forgets all that are not among these.
    fn keep(&mut self, used: impl Iterator<Item = OwnerRef>) {
        let mut is_used = vec![false; self.tasks.len()];
        for owner in used {
            if let Some(used) = is_used.get_mut(index(owner.number)) {
                *used = true;
            }
        }
        for ((task, is_used), number) in self.tasks.iter_mut().zip(is_used).zip(1..) {
            if !is_used && let Some(task) = task.take() {
                self.numbers.remove(&task);
                self.free.extend(NonZeroU32::new(number));
            }
        }
        self.last = None;
        // The work of looking through all connections is spread over as many new owners as there are.
        self.limit = 2 * self.numbers.len();
    }
}

fn index(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).map_or(usize::MAX, |number| number - 1)
}

impl Table {
    /// Who owns the socket of a connection.
    pub fn owner_of(&self, connection: &Connection) -> Option<Owner> {
        connection.owner.and_then(|owner| self.owners.get(owner))
    }

    /// A number for its owner's process, below the number of processes that are known and the same for all of its connections
    /// until the table changes: to look things up in a list.
    pub fn owner_number(&self, connection: &Connection) -> Option<usize> {
        connection.owner.map(|owner| index(owner.number))
    }

    /// Takes in who was found to hold descriptors of sockets. What an owner's own calls have told stands.
    pub fn note_holders(&mut self, holders: &[(SocketKey, Task)]) {
        for (key, task) in holders {
            let Some(connection) = self.live.get_mut(key) else { continue };
            if connection.owner.is_none_or(|owner| owner.is != OwnerIs::Caller) {
                let owner = self.owners.refer(Owner { task: *task, is: OwnerIs::Holder });
                connection.owner = Some(owner);
                if connection.state == TcpState::Listen {
                    self.listeners.found_owner(connection, owner);
                }
            }
        }
        self.note_listeners_owners();
        self.forget_owners();
    }

    /// Connections that were open before, and that nobody was found to hold, wait for their listener's owner.
    fn note_listeners_owners(&mut self) {
        let waits = |connection: &Connection| {
            connection.owner.is_none()
                && connection.role == Some(Role::Server)
                && matches!(connection.body, Body::Full | Body::Request)
                && matches!(connection.state, TcpState::SynRecv | TcpState::Established | TcpState::CloseWait)
        };
        for connection in self.live.values_mut() {
            if waits(connection) {
                connection.owner = self.listeners.owner_for(connection, None);
            }
        }
    }

    /// Whether there are connections that nobody is known to own and that entered their state between these moments.
    pub fn has_unowned(&self, after: KtimeNs, before: KtimeNs) -> bool {
        let between = |connection: &Connection| (after..before).contains(&connection.since_ns());
        let is_unowned = |connection: &Connection| {
            connection.owner.is_none_or(|owner| owner.is == OwnerIs::Listener)
                && connection.body == Body::Full
        };
        self.live.values().any(|connection| is_unowned(connection) && between(connection))
    }

    /// Forgets processes that own nothing any more, when there are many.
    pub(super) fn forget_owners(&mut self) {
        if self.owners.is_full() {
            let connections = self.connections().filter_map(|connection| connection.owner);
            let used = connections.chain(self.listeners.owners());
            let used: Vec<OwnerRef> = used.chain(self.accepted_early.values().copied()).collect();
            self.owners.keep(used.into_iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Comm;

    fn owner(pid: u32) -> Owner {
        let pid = NonZeroU32::new(pid).expect("is not 0");
        Owner {
            task: Task { pid, tid: pid, comm: Comm::default(), started: None, cgroup: None },
            is: OwnerIs::Caller,
        }
    }

    #[test]
    fn each_process_is_kept_once_and_as_long_as_it_is_referred_to() {
        let mut owners = Owners::default();
        let first = owners.refer(owner(1));
        assert_eq!(owners.refer(owner(1)), first);
        for pid in 2..=u32::try_from(AT_LEAST + 1).expect("fits") {
            let number = owners.refer(owner(pid));
            assert_eq!(owners.get(number), Some(owner(pid)));
        }
        assert!(owners.is_full());
        let second = owners.refer(owner(2));
        owners.keep([first, second].into_iter());
        assert_eq!((owners.get(first), owners.get(second)), (Some(owner(1)), Some(owner(2))));
        assert_eq!(owners.numbers.len(), 2);
        assert!(!owners.is_full());
        let (new, capacity) = (owners.refer(owner(7)), owners.tasks.len());
        assert_eq!(owners.get(new), Some(owner(7)));
        assert_eq!(owners.tasks.len(), capacity, "free numbers are used again");
    }
}
