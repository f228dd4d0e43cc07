//! The user stacks of calls: which code opened a connection, accepted or closed it.

use std::{num::NonZeroU32, sync::Arc};

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;

use super::event::{KtimeNs, ProcessStart, SocketKey, ThreadId};

/// One function call of a stack. Names are what others wrote, unchecked but for their length of at most 512 bytes:
/// whoever prints them escapes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// As it is on the stack. Frames of inlined functions have that of the function which they are part of.
    pub addr: u64,
    /// The function, demangled (Rust, C++).
    pub symbol: Option<String>,
    /// Of `addr`, in bytes: in `symbol` if that is known, else in the file `module`. `None` for inlined functions.
    pub offset: Option<u64>,
    /// The path of the program or library as the process sees it, or `[vdso]` and the like.
    pub module: Option<String>,
    /// The source file as the compiler was told of it.
    pub file: Option<String>,
    /// The line in `file`: of the call, except for the innermost frame.
    pub line: Option<u32>,
    /// Whether the compiler made it part of the function in the next frame.
    pub inlined: bool,
}

/// The stack of a call, as addresses. What the call does is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// When.
    pub ts: KtimeNs,
    /// Which socket.
    pub key: SocketKey,
    /// The process.
    pub pid: NonZeroU32,
    /// The thread.
    pub thread: ThreadId,
    /// When the process started, in nanoseconds of `CLOCK_BOOTTIME`.
    pub started_ns: Option<u64>,
    /// Return addresses, the innermost first, as the kernel finds them by frame pointers.
    pub addrs: Box<[u64]>,
    /// What else can be found by who knows the program.
    pub top: Option<StackTop>,
}

/// Registers of user space at a system call, and the memory where its stack pointer points to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackTop {
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub fp: u64,
    /// Link register, where there is one.
    pub lr: u64,
    /// From `sp` upwards.
    pub memory: Box<[u8]>,
}

impl Stack {
    /// When the process started.
    pub fn started(&self) -> Option<ProcessStart> {
        self.started_ns.and_then(ProcessStart::from_ns)
    }
}

/// Connections whose last call's stack is remembered.
const MAX_STACKS: usize = 65_536;

/// The stack belongs to a call that is told so much later at most: the two records are written one after the other.
const TOGETHER_NS: u64 = 100_000_000;

/// The last call on a socket.
#[derive(Debug)]
struct LastCall {
    frames: Arc<[Frame]>,
    is_told: bool,
}

/// Stacks of calls: those whose call is not told yet, and the last one of each connection.
#[derive(Debug, Default)]
pub struct Stacks {
    /// The oldest first.
    waiting: Vec<Stack>,
    last: LinkedHashMap<SocketKey, LastCall, FxBuildHasher>,
}

impl Stacks {
    /// The stack of a call that will be told.
    pub fn wait(&mut self, stack: Stack) {
        self.waiting.push(stack);
    }

    /// A call of this thread on this socket is told: its stack, if there is one.
    pub fn take(&mut self, ts: KtimeNs, key: SocketKey, thread: ThreadId) -> Option<Stack> {
        let is_it = |stack: &Stack| stack.key == key && stack.thread == thread && stack.ts <= ts;
        let at = self.waiting.iter().rposition(is_it)?;
        Some(self.waiting.swap_remove(at))
    }

    /// Time has come to `now`: what waits for longer waits in vain, because its call was lost.
    pub fn settle(&mut self, now: KtimeNs) {
        self.waiting.retain(|stack| now.since(stack.ts).is_none_or(|elapsed| elapsed < TOGETHER_NS));
    }

    /// The last call on a socket had these frames.
    pub fn remember(&mut self, key: SocketKey, frames: Arc<[Frame]>) {
        self.last.remove(&key);
        self.last.insert(key, LastCall { frames, is_told: false });
        if self.last.len() > MAX_STACKS {
            self.last.pop_front();
        }
    }

    /// The frames of the last call on a socket.
    pub fn last(&self, key: SocketKey) -> Option<&Arc<[Frame]>> {
        self.last.get(&key).map(|last| &last.frames)
    }

    /// The same, and whether this is the first time that they are told.
    pub fn tell(&mut self, key: SocketKey) -> Option<(&[Frame], bool)> {
        let last = self.last.get_mut(&key)?;
        Some((&last.frames, !std::mem::replace(&mut last.is_told, true)))
    }

    /// Its connection is over, or the stack of its last call is not known.
    pub fn forget(&mut self, key: SocketKey) {
        self.last.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn stack(ts: u64, cookie: u64, thread: u64) -> Stack {
        Stack {
            ts: KtimeNs(ts),
            key: SocketKey::from_cookie(NonZeroU64::new(cookie).expect("is not 0")),
            pid: NonZeroU32::MIN,
            thread: ThreadId(thread),
            started_ns: None,
            addrs: Box::new([1, 2]),
            top: None,
        }
    }

    #[test]
    fn a_call_gets_the_stack_of_its_thread_and_socket_and_no_other() {
        let mut stacks = Stacks::default();
        let (mine, other, later) = (stack(10, 1, 7), stack(11, 1, 8), stack(30, 1, 7));
        for stack in [&mine, &other, &later] {
            stacks.wait(stack.clone());
        }
        assert_eq!(stacks.take(KtimeNs(12), mine.key, ThreadId(7)), Some(mine.clone()));
        assert_eq!(stacks.take(KtimeNs(12), mine.key, ThreadId(7)), None, "the later one is of a later call");
        assert_eq!(stacks.take(KtimeNs(31), mine.key, ThreadId(7)), Some(later));
        stacks.settle(KtimeNs(11 + TOGETHER_NS));
        assert!(stacks.waiting.is_empty(), "a stack whose call was lost is given up");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut stacks = Stacks::default();
        let frames: Arc<[Frame]> = Arc::new([Frame::default()]);
        for cookie in 1..=u64::try_from(MAX_STACKS).expect("fits") + 1 {
            stacks.remember(stack(1, cookie, 1).key, Arc::clone(&frames));
        }
        assert_eq!(stacks.last.len(), MAX_STACKS);
        assert!(stacks.tell(stack(1, 1, 1).key).is_none() && stacks.tell(stack(1, 2, 1).key).is_some());
    }

    #[test]
    fn a_stack_is_new_once() {
        let mut stacks = Stacks::default();
        let key = stack(1, 1, 1).key;
        for _ in 0..2 {
            stacks.remember(key, Arc::new([Frame::default()]));
            assert!(stacks.tell(key).is_some_and(|(_, is_new)| is_new));
            assert!(stacks.tell(key).is_some_and(|(frames, is_new)| frames.len() == 1 && !is_new));
        }
    }
}
