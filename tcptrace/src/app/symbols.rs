//! What code is behind the addresses of stacks: found by a thread that has kept the capabilities for that.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use caps::{CapSet, Capability, CapsHashSet};

use crate::{
    model::{Frame, Stack},
    output::Symbolise,
    source::symbols::Symbols,
};

/// What it takes to look into the files of other users' processes.
const KEPT: [Capability; 3] =
    [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH, Capability::CAP_CHECKPOINT_RESTORE];

/// How long to wait for an answer. The ring holds what comes meanwhile. Debug information of large programs takes longer;
/// it is read all the same, for the stacks that follow.
const PATIENCE: Duration = Duration::from_secs(2);

type Frames = Arc<[Frame]>;

/// The way to the thread.
pub(super) struct SymbolThread {
    /// `None` when it has ended.
    ways: Option<(SyncSender<Stack>, Receiver<Frames>)>,
    /// Its last answer was not waited for.
    owes: bool,
    /// It was told that there are addresses only.
    has_warned: bool,
}

impl SymbolThread {
    /// Starts the thread, before the process gives up its capabilities, which are each thread's own.
    pub(super) fn start() -> Result<Self> {
        let (ask, asked) = sync_channel::<Stack>(1);
        let (answer, answers) = sync_channel(1);
        let work = move || {
            if let Err(error) = keep_only_needed() {
                tracing::warn!("capabilities of the thread that finds symbols could not be dropped: {error}");
                return;
            }
            let mut symbols = Symbols::new();
            while let Ok(stack) = asked.recv() {
                let Stack { pid, started_ns, addrs, top, .. } = stack;
                if answer.send(symbols.resolve(pid, started_ns, &addrs, top.as_ref())).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("symbols".to_owned()).spawn(work).context("cannot start a thread")?;
        Ok(Self { ways: Some((ask, answers)), owes: false, has_warned: false })
    }

    /// `None` if it takes too long.
    fn ask(&mut self, stack: &Stack) -> Option<Frames> {
        let (ask, answers) = self.ways.as_ref()?;
        if self.owes {
            match answers.try_recv() {
                Ok(_) => self.owes = false,
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => {
                    self.ways = None;
                    return None;
                }
            }
        }
        if ask.send(stack.clone()).is_err() {
            self.ways = None;
            return None;
        }
        match answers.recv_timeout(PATIENCE) {
            Ok(frames) => Some(frames),
            Err(RecvTimeoutError::Timeout) => {
                self.owes = true;
                None
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.ways = None;
                None
            }
        }
    }
}

impl Symbolise for SymbolThread {
    fn frames(&mut self, stack: &Stack) -> Frames {
        self.ask(stack).unwrap_or_else(|| {
            if !self.has_warned {
                self.has_warned = true;
                tracing::warn!("it takes long to find the symbols of some stacks: their addresses are shown");
            }
            stack.addrs.iter().map(|addr| Frame { addr: *addr, ..Frame::default() }).collect()
        })
    }
}

fn keep_only_needed() -> Result<(), caps::errors::CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|capability| permitted.contains(capability)).collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)
}
