//! Where an address of a process is, now or as it was noted.

use std::{os::fd::OwnedFd, sync::Arc};

use super::{Process, maps::Mapping, process::Alive};

/// What is known of a process for one look-up.
pub(super) struct Look {
    pub(super) alive: Option<Alive>,
    pub(super) now: Option<Arc<Process>>,
    /// Before this look-up.
    pub(super) before: Option<Arc<Process>>,
}

impl Look {
    /// What has been unmapped since then was noted, perhaps.
    pub(super) fn find(&self, addr: u64) -> Option<(&Mapping, &Process)> {
        let mut known = self.now.iter().chain(&self.before);
        known.find_map(|process| Some((process.mappings.find(addr)?, &**process)))
    }

    /// As `O_PATH`.
    pub(super) fn open(&self, process: &Process, mapping: &Mapping) -> Option<OwnedFd> {
        if mapping.inode == 0 {
            return None;
        }
        let is_mapped = self.now.as_ref().is_some_and(|now| std::ptr::eq(Arc::as_ptr(now), process));
        let mapped =
            self.alive.as_ref().filter(|_| is_mapped).and_then(|alive| alive.open_mapped(mapping).ok());
        mapped.or_else(|| process.root.as_ref().and_then(|root| root.open_named(mapping).ok()))
    }
}
