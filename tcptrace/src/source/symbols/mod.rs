//! What the addresses of a program's stack mean: functions, places in the source, modules.
//!
//! Everything is read from `/proc/PID` and from the files that a process runs, which its owner wrote: names are bounded
//! and nothing else than data, files are opened only if they are files (`file`), and are read in a thread that may
//! fail (`engine`). It blocks, and what is not in the cache takes milliseconds to seconds.
//!
//! Needed: `CAP_SYS_PTRACE` for the maps and the program of other users' processes; for files in directories that are
//! not everybody's `CAP_DAC_READ_SEARCH`; for deleted libraries `CAP_CHECKPOINT_RESTORE` (Linux 5.9) or
//! `CAP_SYS_ADMIN`. What may not be read is told without symbols.

mod cache;
mod callers;
pub(crate) mod demangle;
mod engine;
mod file;
mod look;
pub(crate) mod maps;
mod process;
#[cfg(test)]
mod tests;
pub(crate) mod unwind;

use std::{num::NonZeroU32, sync::Arc};

use rustc_hash::FxHashSet;
use rustix::fs;

use crate::model::{Frame, StackTop};

use self::{
    cache::Cache,
    callers::lookups,
    demangle::{MAX_NAME_BYTES, cut},
    engine::{Engine, Failed, Found, Place},
    file::{Id, Readable},
    look::Look,
    maps::{Mapping, Mappings},
    process::{Alive, Identity, NS_PER_TICK, Node, Root, Roots},
};

/// Of a stack, with what was inlined: `PERF_MAX_STACK_DEPTH`, the kernel's default (kernel.perf_event_max_stack).
pub const MAX_FRAMES: usize = 127;

/// Stacks that are remembered, and the memory for them.
const MAX_STACKS: usize = 8192;
const MAX_STACKS_BYTES: usize = 32 << 20;

/// Processes whose maps are remembered, and the memory for them.
const MAX_PROCESSES: usize = 4096;
const MAX_PROCESSES_BYTES: usize = 16 << 20;

/// Files that are open at a time, and their sizes together.
const MAX_FILES: usize = 128;
const MAX_FILES_BYTES: usize = 512 << 20;

/// Files that are not tried again.
const MAX_BAD_FILES: usize = 1024;

/// Of a process, as it was given.
type Stack = (Identity, Box<[u64]>);

/// What is remembered of one.
#[derive(Debug)]
struct Process {
    mappings: Mappings,
    executable: Option<Node>,
    root: Option<Arc<Root>>,
}

/// Tells what stacks mean, and remembers it. `Send`, to live in a thread of its own.
#[derive(Debug)]
pub struct Symbols {
    stacks: Cache<Stack, Arc<[Frame]>>,
    processes: Cache<Identity, Arc<Process>>,
    roots: Roots,
    files: Cache<Id, Arc<Readable>>,
    bad_files: FxHashSet<Id>,
    engine: Engine,
}

impl Default for Symbols {
    fn default() -> Self {
        Self::new()
    }
}

impl Symbols {
    /// Knows nothing yet, and opens nothing yet.
    pub fn new() -> Self {
        Self {
            stacks: Cache::new(MAX_STACKS, MAX_STACKS_BYTES),
            processes: Cache::new(MAX_PROCESSES, MAX_PROCESSES_BYTES),
            roots: Roots::default(),
            // One more than are kept: when that one comes, all are let go.
            files: Cache::new(MAX_FILES + 1, usize::MAX),
            bad_files: FxHashSet::default(),
            engine: Engine::default(),
        }
    }

    /// Remembers where the code of a process lies, for when it has ended: modules and, as long as their files are
    /// there, symbols can be told then. Some microseconds, if it is known and has not called `execve` since; else the
    /// time to read its maps. `start` as for [`resolve`](Self::resolve).
    pub fn note_process(&mut self, pid: NonZeroU32, start: Option<u64>) {
        if let Some(alive) = Alive::open(pid, start.map(ticks)) {
            let executable = alive.executable();
            let is_known =
                self.processes.get(&alive.identity).is_some_and(|known| known.executable == executable);
            if !is_known {
                self.read(&alive, executable);
            }
        }
    }

    /// The frames of a stack of user space, the innermost first, at most [`MAX_FRAMES`].
    ///
    /// `start` is when the process began, in nanoseconds of `CLOCK_BOOTTIME` (`start_boottime` of its first thread's
    /// `task_struct`), so that no other one of the same number is taken for it; without it, whoever has the number now
    /// is taken, or who had it last among those noted.
    ///
    /// All addresses but the first are where a call returns to, behind it, and perhaps in another line or even in
    /// another function: they are looked up one byte before. [`Frame::addr`] and [`Frame::offset`] are not changed.
    ///
    /// `addrs` is what frame pointers tell. With the `top` of the stack, callers are found by the tables that compilers write
    /// for exceptions, as far as the memory goes, and from there on by frame pointers.
    ///
    /// A process that calls `execve` stays the same one; of what it ran before, only what was noted is known, and only
    /// until its next stack is looked up.
    pub fn resolve(
        &mut self,
        pid: NonZeroU32,
        start: Option<u64>,
        addrs: &[u64],
        top: Option<&StackTop>,
    ) -> Arc<[Frame]> {
        let addrs = &addrs[..addrs.len().min(MAX_FRAMES)];
        let start = start.map(ticks);
        let mut alive = None;
        let identity = start.map(|start| (pid, start)).or_else(|| {
            alive = Alive::open(pid, None);
            let noted =
                || self.processes.recent().map(|(identity, _)| *identity).find(|known| known.0 == pid);
            alive.as_ref().map(|alive| alive.identity).or_else(noted)
        });
        let Some(identity) = identity else { return addrs.iter().copied().map(bare).collect() };
        let unwound = top.and_then(|top| {
            alive = alive.take().or_else(|| Alive::open(pid, start));
            self.callers(alive.take(), identity, addrs, top)
        });
        let addrs = unwound.as_deref().unwrap_or(addrs);
        let key = (identity, Box::from(addrs));
        if let Some(known) = self.stacks.get(&key) {
            return Arc::clone(known);
        }
        let alive = alive.or_else(|| Alive::open(pid, start));
        let before = self.processes.get(&identity).cloned();
        let now = alive.as_ref().and_then(|alive| self.read(alive, alive.executable()));
        let frames = self.frames(&Look { alive, now, before }, addrs);
        let frames: Arc<[Frame]> = frames.into();
        let bytes = size_of_val(addrs) + frames.iter().map(weight).sum::<usize>();
        self.stacks.insert(key, Arc::clone(&frames), bytes);
        frames
    }

    fn read(&mut self, alive: &Alive, executable: Option<Node>) -> Option<Arc<Process>> {
        let mappings = alive.mappings().ok()?;
        // It is ending, or a thread of the kernel.
        if mappings.is_empty() {
            return None;
        }
        let bytes = size_of::<Process>() + mappings.weight();
        let process = Arc::new(Process { mappings, executable, root: self.roots.of(alive) });
        self.processes.insert(alive.identity, Arc::clone(&process), bytes);
        Some(process)
    }

    fn frames(&mut self, look: &Look, addrs: &[u64]) -> Vec<Frame> {
        let mut called = Vec::with_capacity(addrs.len());
        for (addr, at) in addrs.iter().zip(lookups(addrs)) {
            called.push(Called { addr: *addr, at, mapping: look.find(at), found: None });
        }
        // A file at a time: opening it costs most.
        for first in 0..called.len() {
            let Some((mapping, process)) = called[first].mapping else { continue };
            if called[..first].iter().any(|earlier| earlier.is_in(mapping)) {
                continue;
            }
            let same: Vec<usize> = (first..called.len()).filter(|at| called[*at].is_in(mapping)).collect();
            let offsets = same.iter().filter_map(|at| called[*at].file_offset()).collect();
            let found = self.look_up(look, process, mapping, offsets).unwrap_or_default();
            for (at, found) in same.into_iter().zip(found) {
                called[at].found = found;
            }
        }
        let mut frames = Vec::with_capacity(called.len());
        for called in called {
            called.expand(&mut frames);
        }
        frames.truncate(MAX_FRAMES);
        frames
    }

    /// `None` if the file cannot be read.
    fn look_up(
        &mut self,
        look: &Look,
        process: &Process,
        mapping: &Mapping,
        offsets: Vec<u64>,
    ) -> Option<Vec<Option<Found>>> {
        let (id, file) = self.readable(look, process, mapping)?;
        let found = self.engine.look_up(file.path(), file.depth, offsets);
        if found == Err(Failed) {
            self.note_bad(id);
            self.files.clear();
        }
        found.ok()
    }

    /// `None` if the file cannot be read.
    fn readable(&mut self, look: &Look, process: &Process, mapping: &Mapping) -> Option<(Id, Arc<Readable>)> {
        let opened = look.open(process, mapping)?;
        let stat = fs::fstat(&opened).ok()?;
        let id = file::id(&stat);
        if self.bad_files.contains(&id) {
            return None;
        }
        let file = if let Some(known) = self.files.get(&id) {
            Arc::clone(known)
        } else {
            let is_ours = process.root.as_ref().is_some_and(|root| root.is_ours);
            let Ok(file) = Readable::open(&opened, &stat, is_ours) else {
                self.note_bad(id);
                return None;
            };
            self.make_room(file.bytes);
            let file = Arc::new(file);
            self.files.insert(id, Arc::clone(&file), file.bytes);
            file
        };
        Some((id, file))
    }

    /// The reader has no way to let go of one file with all that belongs to it.
    fn make_room(&mut self, bytes: usize) {
        let (count, total) = self.files.size();
        if count >= MAX_FILES || total.saturating_add(bytes) > MAX_FILES_BYTES {
            self.engine.forget();
            self.files.clear();
        }
    }

    fn note_bad(&mut self, id: Id) {
        if self.bad_files.len() >= MAX_BAD_FILES {
            self.bad_files.clear();
        }
        self.bad_files.insert(id);
    }
}

/// An address on its way to frames.
struct Called<'look> {
    addr: u64,
    /// Where it is looked up.
    at: u64,
    mapping: Option<(&'look Mapping, &'look Process)>,
    found: Option<Found>,
}

impl Called<'_> {
    fn is_in(&self, other: &Mapping) -> bool {
        self.mapping.is_some_and(|(mapping, _)| mapping.inode == other.inode && mapping.name == other.name)
    }

    fn file_offset(&self) -> Option<u64> {
        self.mapping.map(|(mapping, _)| mapping.file_offset(self.at))
    }

    /// Inlined functions first, the innermost of them before the others.
    fn expand(self, frames: &mut Vec<Frame>) {
        let module = self.mapping.map(|(mapping, _)| &mapping.name).filter(|name| !name.is_empty());
        let module = module.map(|name| cut(&name.to_string_lossy()));
        let behind_call = self.addr.wrapping_sub(self.at);
        let Some(found) = self.found else {
            let offset = self.file_offset().map(|offset| offset.wrapping_add(behind_call));
            let offset = offset.filter(|_| module.is_some());
            frames.push(Frame { offset, module, ..bare(self.addr) });
            return;
        };
        let frame = |name: String, place: Place| Frame {
            symbol: Some(name),
            module: module.clone(),
            file: place.file,
            line: place.line,
            ..bare(self.addr)
        };
        let inlined = found.inlined.into_iter().rev();
        frames.extend(inlined.map(|(name, place)| Frame { inlined: true, ..frame(name, place) }));
        let offset = Some(found.offset.wrapping_add(behind_call));
        frames.push(Frame { offset, ..frame(found.name, found.place) });
    }
}

fn bare(addr: u64) -> Frame {
    Frame { addr, ..Frame::default() }
}

fn ticks(start_ns: u64) -> u64 {
    start_ns / NS_PER_TICK
}

/// Memory that it takes, in bytes, about.
fn weight(frame: &Frame) -> usize {
    let texts = [&frame.symbol, &frame.module, &frame.file];
    size_of::<Frame>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

const _: () = assert!(MAX_FRAMES * 3 * MAX_NAME_BYTES < MAX_STACKS_BYTES);
