//! Questions to one network namespace.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
        netlink::{self, SocketAddrNetlink},
        recv, send, socket_with,
        sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout},
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use zerocopy::{Immutable, IntoBytes, byteorder::native_endian};

use super::{
    DiagError, DiagSocket, Namespace, ReadAt, StateMask, TcpExt,
    answer::Answer,
    counters::Counters,
    settings,
    socket::{AF_INET, AF_INET6},
    wire::{
        INET_DIAG_INFO, NLM_F_DUMP, NLM_F_REQUEST, RawDumpRequest, RawLookup, RawMessage, RawSocketId,
        SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK,
    },
};
use crate::{
    model::{KtimeNs, findings::host::Settings},
    source::clock,
};

/// The kernel fills datagrams up to the size of the buffer that is read into, but no larger than 32 KiB
/// (`netlink_recvmsg`); larger ones than this do not exist.
const DATAGRAM_BYTES: usize = 64 << 10;
/// A dump waits for its reader, so that this is room for a few datagrams and no more.
const RECEIVE_BUFFER_BYTES: usize = 512 << 10;
/// How long one receive may take.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one dump may take, in seconds.
const DUMP_SECONDS: u64 = 10;
/// How often an incomplete dump is tried.
const ATTEMPTS: u32 = 3;
/// `IPPROTO_TCP`
const TCP: u8 = 6;

/// What a dump brought.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// Each socket once.
    pub sockets: Vec<DiagSocket>,
    /// Sockets that the kernel reported in a way that cannot be read; the others are in order.
    pub malformed: u64,
}

/// The name of one socket. `inet_diag_find_one_icsk` finds it by addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Our side.
    pub local: SocketAddr,
    /// The peer's side.
    pub remote: SocketAddr,
    /// The cookie that it must have, if it is known.
    pub cookie: Option<NonZeroU64>,
}

/// A `NETLINK_SOCK_DIAG` socket in a network namespace.
///
/// Opening it takes CAP_SYS_ADMIN for any namespace but the caller's own; asking takes no privilege. While it is open
/// the namespace stays alive, even when nobody else is in it.
#[derive(Debug)]
pub struct DiagClient {
    socket: OwnedFd,
    netns: Namespace,
    sequence: u32,
    /// An answer was not read to its end: the rest of it is still to come.
    is_unfinished: bool,
    buffer: Vec<u8>,
    /// `None` where they cannot be read.
    counters: Option<Counters>,
    /// As they were when the namespace was entered, where they were asked for.
    settings: Option<Settings>,
}

impl DiagClient {
    /// A client of the namespace that the calling thread is in.
    pub fn own() -> Result<Self, DiagError> {
        let netns = Namespace::own()?;
        let socket = open(netns.inode().get())?;
        Ok(Self::new((socket, Counters::of_this_thread().ok(), None), netns))
    }

    /// A client of any namespace. A thread of its own enters it, so that no other thread's namespace changes; it reads the
    /// settings there if they are wanted.
    pub fn enter(netns: Namespace, with_settings: bool) -> Result<Self, DiagError> {
        let inode = netns.inode().get();
        let opened = thread::scope(|scope| {
            let opener = thread::Builder::new().name("diag-open".to_owned()).spawn_scoped(scope, || {
                move_into_link_name_space(netns.fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| DiagError::Enter { netns: inode, error })?;
                let settings = with_settings.then(settings::of_this_thread);
                open(inode).map(|socket| (socket, Counters::of_this_thread().ok(), settings))
            });
            let died = |_| DiagError::Thread(std::io::Error::other("the thread has panicked"));
            opener.map_err(DiagError::Thread)?.join().map_err(died)?
        })?;
        Ok(Self::new(opened, netns))
    }

    fn new(
        (socket, counters, settings): (OwnedFd, Option<Counters>, Option<Settings>),
        netns: Namespace,
    ) -> Self {
        let buffer = vec![0; DATAGRAM_BYTES];
        Self { socket, netns, sequence: 0, is_unfinished: false, buffer, counters, settings }
    }

    /// The settings of the namespace, if they were asked for when it was entered.
    pub const fn settings(&self) -> Option<Settings> {
        self.settings
    }

    /// Reads them again: those of the namespace that the calling thread is in.
    pub(super) fn read_own_settings(&mut self) {
        self.settings = Some(settings::of_this_thread());
    }

    /// What the kernel counts in the namespace; `None` where that cannot be read.
    pub fn counters(&self) -> Option<TcpExt> {
        self.counters.as_ref()?.read().ok()
    }

    /// The namespace it asks.
    pub fn netns(&self) -> &Namespace {
        &self.netns
    }

    /// All TCP sockets in these states, of both address families.
    ///
    /// `with_times` asks for [`DiagSocket::times`] too and makes a full socket's reply two and a half times as long.
    /// Never blocks for longer than 12 s.
    ///
    /// Not one moment's picture: the kernel lets go of the table between datagrams. Each socket was in the reported
    /// state at some moment within its own [`DiagSocket::at`]. A socket that is born or dies meanwhile is in it or not,
    /// and one that lives can be missed when a neighbour leaves its hash chain just between two datagrams (the walk
    /// goes on by position, `inet_diag_dump_icsk`): confirm an absence with [`Self::lookup`].
    pub fn dump(&mut self, states: StateMask, with_times: bool) -> Result<Dump, DiagError> {
        let question = dump_request(states, with_times);
        let begun = clock::now();
        for _ in 0..ATTEMPTS {
            if let Some(answer) = self.ask(begun, TCPDIAG_GETSOCK, NLM_F_REQUEST | NLM_F_DUMP, &question)? {
                return Ok(answer.finish());
            }
        }
        Err(DiagError::Incomplete { netns: self.inode(), attempts: ATTEMPTS })
    }

    /// One socket, if it is there. The kernel falls back to a listener of the local port when the connection is not
    /// there (`inet_lookup`): look at [`DiagSocket::state`], or give the cookie.
    pub fn lookup(&mut self, wanted: &Lookup) -> Result<Option<DiagSocket>, DiagError> {
        let cookie = wanted.cookie.map_or(u64::MAX, NonZeroU64::get);
        let question = RawLookup {
            family: if wanted.local.is_ipv4() { AF_INET } else { AF_INET6 },
            protocol: TCP,
            ext: 0,
            padding: 0,
            states: StateMask::ALL.bits().into(),
            id: RawSocketId {
                sport: wanted.local.port().into(),
                dport: wanted.remote.port().into(),
                src: octets(wanted.local.ip()),
                dst: octets(wanted.remote.ip()),
                interface: 0.into(),
                cookie: [low(cookie).into(), low(cookie >> 32).into()],
            },
        };
        match self.ask(clock::now(), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, &question) {
            // ESTALE: there is one, but with another cookie.
            Err(DiagError::Refused { error: Errno::NOENT | Errno::STALE, .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(None) => Err(DiagError::Incomplete { netns: self.inode(), attempts: 1 }),
            Ok(Some(answer)) => Ok(answer.finish().sockets.first().copied()),
        }
    }

    fn inode(&self) -> u32 {
        self.netns.inode().get()
    }

    fn io(&self, error: Errno) -> DiagError {
        DiagError::Io { netns: self.inode(), error }
    }

    /// Sends a question and reads the whole answer. `None` is an incomplete one.
    fn ask<Q: IntoBytes + Immutable>(
        &mut self,
        begun: KtimeNs,
        kind: u16,
        flags: u16,
        question: &Q,
    ) -> Result<Option<Answer>, DiagError> {
        if self.is_unfinished {
            self.drain(begun)?;
        }
        let sending = clock::now();
        // The kernel fills the first datagram of the answer in here.
        self.send(kind, flags, question)?;
        self.receive(begun, sending, Answer::new(flags & NLM_F_DUMP != 0))
    }

    fn send<Q: IntoBytes + Immutable>(
        &mut self,
        kind: u16,
        flags: u16,
        question: &Q,
    ) -> Result<(), DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let len = size_of::<RawMessage>() + size_of::<Q>();
        let header = RawMessage {
            len: u32::try_from(len).unwrap_or(u32::MAX).into(),
            kind: kind.into(),
            flags: flags.into(),
            seq: self.sequence.into(),
            port: 0.into(),
        };
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(question.as_bytes());
        retry(|| send(&self.socket, &bytes, SendFlags::empty())).map_err(|error| self.io(error))?;
        self.is_unfinished = true;
        Ok(())
    }

    fn receive(
        &mut self,
        begun: KtimeNs,
        sending: KtimeNs,
        mut answer: Answer,
    ) -> Result<Option<Answer>, DiagError> {
        let mut before = sending;
        loop {
            let reading = clock::now();
            let len = match retry(|| recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC)) {
                Ok((_, len)) => len,
                Err(Errno::AGAIN) => return Err(self.timed_out(RECEIVE_TIMEOUT.as_secs())),
                // A message was dropped for want of memory; the rest is drained before the next question.
                Err(Errno::NOBUFS) => return Ok(None),
                Err(error) => return Err(self.io(error)),
            };
            // The datagram was filled in this receive or in the one before (`netlink_recvmsg` fills the next one).
            let at = ReadAt { netns: self.netns.inode(), not_before: before, not_after: clock::now() };
            before = reading;
            let Some(datagram) = self.buffer.get(..len) else { return Err(self.io(Errno::MSGSIZE)) };
            match answer.add(datagram, self.sequence, at) {
                Ok(None) => {}
                Ok(Some(code)) => {
                    self.is_unfinished = false;
                    if code != 0 {
                        return Err(DiagError::Refused { netns: self.inode(), error: errno(code) });
                    }
                    return Ok((!answer.is_incomplete()).then_some(answer));
                }
                Err(malformed) => return Err(DiagError::Malformed { netns: self.inode(), malformed }),
            }
            self.check_deadline(begun)?;
        }
    }

    /// Reads what is left of an answer and forgets it; the kernel answers EBUSY as long as there is something left.
    fn drain(&mut self, begun: KtimeNs) -> Result<(), DiagError> {
        loop {
            match retry(|| recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT)) {
                Ok(_) | Err(Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(self.io(error)),
            }
            self.check_deadline(begun)?;
        }
        self.is_unfinished = false;
        Ok(())
    }

    fn check_deadline(&self, begun: KtimeNs) -> Result<(), DiagError> {
        let is_late = clock::now().since(begun).is_some_and(|ns| ns > DUMP_SECONDS * 1_000_000_000);
        if is_late { Err(self.timed_out(DUMP_SECONDS)) } else { Ok(()) }
    }

    fn timed_out(&self, seconds: u64) -> DiagError {
        DiagError::TimedOut { netns: self.inode(), seconds }
    }
}

/// Both families in one walk: `inet_diag_dump_compat` asks for AF_UNSPEC, which the newer request cannot.
fn dump_request(states: StateMask, with_times: bool) -> RawDumpRequest {
    RawDumpRequest {
        family: AF_INET,
        src_len: 0,
        dst_len: 0,
        ext: extensions(with_times),
        id: RawSocketId {
            sport: 0.into(),
            dport: 0.into(),
            src: [0; 16],
            dst: [0; 16],
            interface: 0.into(),
            cookie: [native_endian::U32::new(u32::MAX); 2],
        },
        states: states.bits().into(),
        dbs: 0.into(),
    }
}

/// Opens and sets up a socket in the namespace of the calling thread.
fn open(netns: u32) -> Result<OwnedFd, DiagError> {
    let failed = |error| DiagError::Open { netns, error };
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )
    .map_err(failed)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(RECEIVE_TIMEOUT)).map_err(failed)?;
    set_socket_timeout(&socket, Timeout::Send, Some(RECEIVE_TIMEOUT)).map_err(failed)?;
    // From here on nobody but the kernel (port 0) can send to us (`netlink_getsockbyportid`).
    connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
    // Capped at net.core.rmem_max.
    set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES).map_err(failed)?;
    Ok(socket)
}

fn extensions(with_times: bool) -> u8 {
    if with_times { 1 << (INET_DIAG_INFO - 1) } else { 0 }
}

fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(addr) => addr.octets(),
    }
}

fn low(cookie: u64) -> u32 {
    u32::try_from(cookie & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// The errno behind a negative code; EIO for a number that is none (`MAX_ERRNO`, `include/linux/err.h`).
fn errno(code: i32) -> Errno {
    match code.saturating_neg() {
        errno @ 1..=4095 => Errno::from_raw_os_error(errno),
        _ => Errno::IO,
    }
}

/// Again after a signal.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::model::TcpState;

    /// Asks the kernel that runs the test; no privilege is needed.
    #[test]
    fn an_answer_that_was_given_up_does_not_spoil_the_next() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let local = listener.local_addr()?;
        let mut client = DiagClient::own()?;
        let listening = StateMask::only(TcpState::Listen);
        client.send(TCPDIAG_GETSOCK, NLM_F_REQUEST | NLM_F_DUMP, &dump_request(listening, false))?;
        assert!(client.is_unfinished);
        let dump = client.dump(listening, false)?;
        let is_ours = |socket: &&DiagSocket| {
            socket.local.addr == Some(local.ip()) && socket.local.port.map(u16::from) == Some(local.port())
        };
        let found: Vec<_> = dump.sockets.iter().filter(is_ours).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].cookie.is_some() && found[0].inode.is_some());
        let remote = (Ipv4Addr::UNSPECIFIED, 0).into();
        let wanted = Lookup { local, remote, cookie: found[0].cookie };
        assert_eq!(client.lookup(&wanted)?.map(|socket| socket.state), Some(TcpState::Listen));
        let other = Lookup { cookie: NonZeroU64::new(u64::MAX - 1), ..wanted };
        assert_eq!(client.lookup(&other)?, None);
        drop(listener);
        assert_eq!(client.lookup(&wanted)?, None);
        Ok(())
    }

    #[test]
    fn any_code_is_an_errno() {
        assert_eq!(errno(-2), Errno::NOENT);
        for code in [1, i32::MIN, i32::MAX, -4096, 0] {
            assert_eq!(errno(code), Errno::IO, "{code}");
        }
    }
}
