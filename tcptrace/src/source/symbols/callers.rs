//! A stack, from what frame pointers tell and what the programs' own tables tell.

use super::{
    MAX_FRAMES, Symbols,
    look::Look,
    process::{Alive, Identity},
    unwind::Module,
};
use crate::model::StackTop;

/// Files that one stack leads through, at most.
const MAX_MODULES: usize = 64;

impl Symbols {
    /// The stack as the tables of the programs tell it, as far as the copied memory goes, and from there on by frame
    /// pointers. `None` if there is no more to it than `addrs`, which are found by frame pointers.
    pub(super) fn callers(
        &mut self,
        alive: Option<Alive>,
        identity: Identity,
        addrs: &[u64],
        top: &StackTop,
    ) -> Option<Vec<u64>> {
        // Another call's.
        if addrs.first() != Some(&top.ip) {
            return None;
        }
        // Reading the maps costs more than all the rest.
        let executable = alive.as_ref().and_then(Alive::executable);
        let known = self.processes.get(&identity).cloned();
        // A process that ends has none any more.
        let known = known.filter(|known| executable.is_none() || known.executable == executable);
        let mut may_be_old = known.is_some();
        let now = match known {
            Some(known) => Some(known),
            None => self.read(alive.as_ref()?, executable),
        };
        let mut look = Look { alive, now, before: None };
        let mut modules: Vec<Module> = Vec::new();
        // Their descriptors are their names: none may be used again for another file meanwhile.
        let mut open = Vec::new();
        let mut wanted: Vec<u64> = lookups(addrs).collect();
        loop {
            for (mapping, process) in wanted.drain(..).filter_map(|addr| look.find(addr)) {
                if modules.iter().all(|known| known.range != mapping.range) {
                    let file = self.readable(&look, process, mapping);
                    let path = file.as_ref().map(|(_, file)| file.path());
                    open.extend(file);
                    modules.push(Module { range: mapping.range.clone(), offset: mapping.offset, path });
                }
            }
            let Ok(mut unwound) = self.engine.unwind(modules.clone(), top.clone()) else {
                for (id, _) in open {
                    self.note_bad(id);
                }
                self.files.clear();
                return None;
            };
            let last = lookups(&unwound).last()?;
            match look.find(last) {
                Some((mapping, _))
                    if modules.len() < MAX_MODULES
                        && modules.iter().all(|known| known.range != mapping.range) =>
                {
                    wanted.push(last);
                    continue;
                }
                Some(_) => {}
                None if may_be_old && look.alive.is_some() => {
                    may_be_old = false;
                    look.now = look.alive.as_ref().and_then(|alive| self.read(alive, executable));
                    wanted.push(last);
                    continue;
                }
                // No code: something else was taken for an address.
                None => drop(unwound.pop()),
            }
            // What is no code was taken for a frame pointer's, in a function that has none.
            let code = lookups(addrs).take_while(|addr| look.find(*addr).is_some()).count();
            return joined(unwound, &addrs[..code]);
        }
    }
}

/// Where the calls of a stack are: before the addresses that they return to.
pub(super) fn lookups(addrs: &[u64]) -> impl Iterator<Item = u64> {
    addrs.iter().enumerate().map(|(index, addr)| addr.saturating_sub(u64::from(index > 0)))
}

/// Continues where the last caller is found among those that frame pointers tell.
fn joined(mut unwound: Vec<u64>, by_frame_pointers: &[u64]) -> Option<Vec<u64>> {
    if unwound.len() < 2 {
        return None;
    }
    let last = unwound.last()?;
    if let Some(at) = by_frame_pointers.iter().rposition(|addr| addr == last) {
        unwound.extend_from_slice(&by_frame_pointers[at + 1..]);
    }
    unwound.truncate(MAX_FRAMES);
    Some(unwound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_pointers_go_on_where_the_memory_ends() {
        assert_eq!(joined(vec![1, 2, 3], &[1, 3, 4, 5]), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(joined(vec![1, 2, 3, 4, 5], &[1, 3]), Some(vec![1, 2, 3, 4, 5]), "they had ended before");
        assert_eq!(joined(vec![1, 2, 3], &[1, 9, 9]), Some(vec![1, 2, 3]), "they were none");
        assert_eq!(joined(vec![1], &[1, 2, 3]), None, "the tables tell nothing");
        assert_eq!(joined(vec![], &[1, 2, 3]), None);
        assert_eq!(joined(vec![1, 2], &[1, 2, 2, 3]), Some(vec![1, 2, 3]), "a function that calls itself");
    }
}
