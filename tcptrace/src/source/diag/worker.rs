//! A thread that reads the sockets of all namespaces after the rest of the process has given up its capabilities.

use std::{
    num::NonZeroU32,
    sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel},
    thread,
};

use caps::{CapSet, Capability, CapsHashSet};
use rustc_hash::FxHashSet;
use thiserror::Error;

use super::{DiagClient, DiagError, DiagSocket, Lookup, Namespace, Namespaces, Places, StateMask, TcpExt};
use crate::{
    model::{KtimeNs, NetnsName, findings::host::Settings},
    source::{clock, holders::Holders, netns_names::NetnsNames},
};

/// Requests that may wait; whoever asks faster than the kernel answers is told so.
const WAITING: usize = 4;

/// What the thread keeps: CAP_SYS_ADMIN to enter namespaces, CAP_SYS_PTRACE to find those of other users' processes,
/// CAP_DAC_READ_SEARCH besides to see which sockets these processes hold.
const KEPT: [Capability; 3] =
    [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Which namespaces are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Our own.
    #[default]
    Own,
    /// Every one that [`Namespaces::find`] finds, and our own.
    All,
    /// Those with these inodes.
    Only(Vec<NonZeroU32>),
}

/// A question.
#[derive(Clone, Debug)]
pub struct DiagRequest {
    /// Anything; the reply carries it.
    pub tag: u64,
    /// The states wanted.
    pub states: StateMask,
    /// Whether to read [`DiagSocket::times`].
    pub with_times: bool,
    /// Which namespaces.
    pub scope: Scope,
    /// Whether to read [`DiagReply::counters`].
    pub with_counters: bool,
    /// Whether to read [`DiagReply::settings`].
    pub with_settings: bool,
    /// Whether to look for the processes that hold the sockets, see [`DiagReply::holders`].
    pub with_holders: bool,
    /// Single sockets wanted besides, each with the inode of its namespace, which must be in the scope.
    pub lookups: Vec<(NonZeroU32, Lookup)>,
}

/// A namespace that was not read.
#[derive(Debug)]
pub struct NamespaceError {
    /// Its inode; `None` when the list of namespaces itself was not to be had.
    pub netns: Option<NonZeroU32>,
    /// Why.
    pub error: DiagError,
}

/// An answer.
#[derive(Debug)]
pub struct DiagReply {
    /// That of the request.
    pub tag: u64,
    /// The states that were asked for.
    pub states: StateMask,
    /// Before the first namespace was looked for.
    pub started: KtimeNs,
    /// After the last socket was read.
    pub ended: KtimeNs,
    /// The namespaces that were read to the end; see [`DiagClient::dump`] for what a socket's absence means.
    pub namespaces: Vec<NonZeroU32>,
    /// The sockets, each once.
    pub sockets: Vec<DiagSocket>,
    /// Names of the namespaces that were read, where they have any and counters were asked for.
    pub names: Vec<(NonZeroU32, NetnsName)>,
    /// Who holds the sockets that have a descriptor.
    pub holders: Holders,
    /// What the kernel counts in each namespace.
    pub counters: Vec<(NonZeroU32, TcpExt)>,
    /// The settings of each namespace.
    pub settings: Vec<(NonZeroU32, Settings)>,
    /// The namespaces that were not read.
    pub errors: Vec<NamespaceError>,
    /// Processes whose namespace could not be looked at, see [`super::Found::hidden_processes`].
    pub hidden_processes: u64,
    /// Sockets whose report could not be understood.
    pub malformed: u64,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotTaken {
    /// Enough requests are waiting.
    #[error("the thread that reads sockets is still busy; ask again later")]
    Busy,
    /// The thread has ended.
    #[error("the thread that reads sockets has ended; restart the program")]
    Gone,
}

/// The way to the thread. The thread ends when the last clone of this is dropped.
#[derive(Clone, Debug)]
pub struct DiagWorker {
    requests: SyncSender<DiagRequest>,
}

impl DiagWorker {
    /// Starts the thread; call it before the process gives up its capabilities, which are each thread's own. Returns
    /// when the thread has given up all it does not need. Works without any, too: then for our own namespace.
    ///
    /// `reply` is called in that thread, once for each request taken, and should not block.
    pub fn start(reply: Box<dyn FnMut(DiagReply) + Send>) -> Result<Self, DiagError> {
        let (requests, taken) = sync_channel(WAITING);
        let (ready, is_ready) = channel();
        thread::Builder::new()
            .name("diag".to_owned())
            .spawn(move || {
                let prepared = keep_only_needed();
                let is_prepared = prepared.is_ok();
                if ready.send(prepared).is_ok() && is_prepared {
                    serve(&taken, reply);
                }
            })
            .map_err(DiagError::Thread)?;
        is_ready.recv().map_err(|error| DiagError::Thread(std::io::Error::other(error)))??;
        Ok(Self { requests })
    }

    /// Asks. The answer goes to the callback.
    pub fn request(&self, request: DiagRequest) -> Result<(), NotTaken> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Busy,
            TrySendError::Disconnected(_) => NotTaken::Gone,
        })
    }
}

fn serve(requests: &Receiver<DiagRequest>, mut reply: Box<dyn FnMut(DiagReply) + Send>) {
    // It is alive as long as we are, so that its client may stay open.
    let mut own = None;
    let mut places = Places::default();
    let mut names = NetnsNames::new();
    while let Ok(request) = requests.recv() {
        reply(answer(&request, &mut own, &mut places, &mut names));
    }
}

/// Reads the namespaces one after the other. A client of another namespace is closed at once: an open one would keep
/// the namespace, and with it the time-wait sockets that we watch, alive when its last process has gone.
fn answer(
    request: &DiagRequest,
    own: &mut Option<DiagClient>,
    places: &mut Places,
    names: &mut NetnsNames,
) -> DiagReply {
    let mut reply = DiagReply {
        tag: request.tag,
        states: request.states,
        started: clock::now(),
        ended: KtimeNs(0),
        namespaces: Vec::new(),
        sockets: Vec::new(),
        names: Vec::new(),
        holders: Holders::default(),
        counters: Vec::new(),
        settings: Vec::new(),
        errors: Vec::new(),
        hidden_processes: 0,
        malformed: 0,
    };
    if own.is_none() {
        match DiagClient::own() {
            Ok(client) => *own = Some(client),
            Err(error) => reply.errors.push(NamespaceError { netns: None, error }),
        }
    }
    let own_inode = own.as_ref().map(|client| client.netns().inode());
    if let Some(client) = own
        && is_wanted(&request.scope, client.netns().inode())
    {
        if request.with_settings {
            client.read_own_settings();
        }
        reply.read(client, request);
    }
    if !is_only_own(&request.scope, own_inode) {
        for namespace in reply.find(&request.scope, own_inode, places) {
            let inode = namespace.inode();
            if Some(inode) == own_inode || !is_wanted(&request.scope, inode) {
                continue;
            }
            match DiagClient::enter(namespace, request.with_settings) {
                Ok(mut client) => reply.read(&mut client, request),
                Err(error) => reply.errors.push(NamespaceError { netns: Some(inode), error }),
            }
        }
    }
    reply.note_absent(&request.scope);
    reply.ended = clock::now();
    if request.with_counters {
        let named = |netns: &NonZeroU32| Some((*netns, names.name(*netns)?));
        reply.names = reply.namespaces.iter().filter_map(named).collect();
    }
    if request.with_holders {
        let inodes = reply.sockets.iter().filter_map(|socket| socket.inode).collect();
        reply.holders = Holders::find(&inodes).unwrap_or_else(|error| {
            tracing::info!("holders of sockets were not looked for: {error}");
            Holders { failure: Some(error.to_string()), ..Holders::default() }
        });
    }
    reply
}

fn is_wanted(scope: &Scope, inode: NonZeroU32) -> bool {
    match scope {
        // Only our own client comes here with this scope.
        Scope::Own | Scope::All => true,
        Scope::Only(inodes) => inodes.contains(&inode),
    }
}

fn is_only_own(scope: &Scope, own: Option<NonZeroU32>) -> bool {
    match scope {
        Scope::Own => true,
        Scope::All => false,
        Scope::Only(inodes) => inodes.iter().all(|inode| Some(*inode) == own),
    }
}

impl DiagReply {
    /// All namespaces, or, where some are asked for and are where they were found last, these.
    fn find(&mut self, scope: &Scope, own: Option<NonZeroU32>, places: &mut Places) -> Vec<Namespace> {
        if let Scope::Only(inodes) = scope {
            let others: Vec<_> = inodes.iter().copied().filter(|inode| Some(*inode) != own).collect();
            if let Some(namespaces) = places.open(&others) {
                return namespaces;
            }
        }
        match Namespaces::find() {
            Ok(found) => {
                *places = found.places;
                self.hidden_processes = found.hidden_processes;
                for (path, error) in found.unreadable_names {
                    tracing::debug!("{} is no network namespace: {error}", path.display());
                }
                found.namespaces
            }
            Err(error) => {
                self.errors.push(NamespaceError { netns: None, error });
                Vec::new()
            }
        }
    }

    fn read(&mut self, client: &mut DiagClient, request: &DiagRequest) {
        let netns = client.netns().inode();
        if request.with_counters {
            self.counters.extend(client.counters().map(|counters| (netns, counters)));
        }
        if request.with_settings {
            self.settings.extend(client.settings().map(|settings| (netns, settings)));
        }
        for (_, wanted) in request.lookups.iter().filter(|(of, _)| *of == netns) {
            match client.lookup(wanted) {
                Ok(found) => self.sockets.extend(found),
                Err(error) => self.errors.push(NamespaceError { netns: Some(netns), error }),
            }
        }
        if request.states == StateMask::NONE {
            self.namespaces.push(netns);
            return;
        }
        match client.dump(request.states, request.with_times) {
            Ok(dump) => {
                self.namespaces.push(netns);
                self.malformed += dump.malformed;
                if self.sockets.is_empty() {
                    self.sockets = dump.sockets;
                } else {
                    self.sockets.extend(dump.sockets);
                }
            }
            Err(error) => self.errors.push(NamespaceError { netns: Some(netns), error }),
        }
    }

    /// Namespaces that were asked for by inode and are not there.
    fn note_absent(&mut self, scope: &Scope) {
        let Scope::Only(inodes) = scope else { return };
        let seen: FxHashSet<NonZeroU32> = self
            .namespaces
            .iter()
            .copied()
            .chain(self.errors.iter().filter_map(|error| error.netns))
            .collect();
        for netns in inodes.iter().filter(|inode| !seen.contains(inode)) {
            let error = DiagError::Absent { netns: netns.get() };
            self.errors.push(NamespaceError { netns: Some(*netns), error });
        }
    }
}

/// Gives up every capability of the calling thread but those in [`KEPT`].
fn keep_only_needed() -> Result<(), caps::errors::CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|capability| permitted.contains(capability)).collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)?;
    Ok(())
}
