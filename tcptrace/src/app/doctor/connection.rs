//! One loopback connection of our own, with the moments of all that is done to it.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    num::NonZeroU64,
    os::fd::{AsFd, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with,
    sockopt::{set_tcp_quickack, socket_cookie},
};

use crate::{
    model::KtimeNs,
    source::{
        clock,
        diag::{DiagClient, Lookup},
    },
};

/// Where.
pub(super) const ADDR: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// How long the connection stays open, and how long its server takes to close when the client has.
const DWELL: Duration = Duration::from_millis(50);

/// How long one thing that we do may take.
const LIMIT: Duration = Duration::from_secs(3);

/// How often to see whether there is a connection to accept.
const PAUSE: Duration = Duration::from_millis(1);

/// Something happened between these two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: KtimeNs,
    pub(super) to: KtimeNs,
}

impl Span {
    /// Does something, and says when.
    fn of<T>(action: impl FnOnce() -> T) -> (T, Self) {
        let from = clock::now();
        let value = action();
        (value, Self { from, to: clock::now() })
    }

    /// What began in this one and was seen to be done by the end of `seen`.
    const fn until(self, seen: Self) -> Self {
        Self { from: self.from, to: seen.to }
    }
}

/// The kernel's cookie of a socket, asked for in two ways; `None` where it does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cookies {
    /// `SO_COOKIE`
    pub(super) by_option: Option<NonZeroU64>,
    /// What sock_diag lists.
    pub(super) by_diag: Option<NonZeroU64>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deeds {
    pub(super) server: SocketAddr,
    pub(super) client: SocketAddr,
    pub(super) listener_cookies: Cookies,
    pub(super) client_cookies: Cookies,
    pub(super) server_cookies: Cookies,
    /// The listener came into being.
    pub(super) listened: Span,
    /// The client connected.
    pub(super) connected: Span,
    /// The server's side of that.
    pub(super) accepted: Span,
    /// The client closed.
    pub(super) client_closed: Span,
    /// The server has seen that.
    pub(super) end_seen: Span,
    /// The server closed.
    pub(super) server_closed: Span,
    /// The listener closed.
    pub(super) listener_closed: Span,
}

/// A port of ours, on which nobody listens yet.
pub(super) struct Port {
    socket: OwnedFd,
    addr: SocketAddr,
}

impl Port {
    /// Takes any.
    pub(super) fn take() -> Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context("cannot make a socket")?;
        bind(&socket, &SocketAddr::from((ADDR, 0))).with_context(|| format!("cannot bind to {ADDR}"))?;
        let addr =
            getsockname(&socket).and_then(SocketAddr::try_from).context("the socket has no address")?;
        Ok(Self { socket, addr })
    }

    pub(super) const fn number(&self) -> u16 {
        self.addr.port()
    }
}

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 16;

/// Makes the connection, and closes it: the client first.
pub(super) fn make(port: Port) -> Result<Deeds> {
    let Port { socket, addr: server_addr } = port;
    let (listening, listened) = Span::of(|| listen(&socket, BACKLOG));
    listening.with_context(|| format!("cannot listen on {server_addr}"))?;
    let listener = TcpListener::from(socket);
    let (client, connected) = Span::of(|| TcpStream::connect_timeout(&server_addr, LIMIT));
    let client = client.with_context(|| {
        format!("cannot connect to {server_addr}; is the loopback interface up (ip link set lo up) and not filtered?")
    })?;
    let client_addr = client.local_addr().context("the client has no address")?;
    let (server, accepted) = Span::of(|| accept(&listener, client_addr));
    let mut server = server.with_context(|| format!("cannot accept at {server_addr}"))?;
    // The client's FIN is acknowledged at once, not after the 40 ms of a delayed acknowledgement.
    let _ = set_tcp_quickack(&server, true);
    server.set_read_timeout(Some(LIMIT)).context("cannot set the time limit of a socket")?;

    let mut diag = DiagClient::own().ok();
    let mut cookies = |socket: &dyn AsFd, local, remote| Cookies {
        by_option: socket_cookie(socket.as_fd()).ok().and_then(NonZeroU64::new),
        by_diag: diag
            .as_mut()
            .and_then(|diag| diag.lookup(&Lookup { local, remote, cookie: None }).ok().flatten()?.cookie),
    };
    let listener_cookies =
        Cookies { by_option: socket_cookie(&listener).ok().and_then(NonZeroU64::new), by_diag: None };
    let client_cookies = cookies(&client, client_addr, server_addr);
    let server_cookies = cookies(&server, server_addr, client_addr);

    thread::sleep(DWELL);
    let ((), client_closed) = Span::of(|| drop(client));
    let (end, seen) = Span::of(|| server.read(&mut [0; 1]));
    ensure!(end.context("the server does not see that its client has closed")? == 0, "data from nowhere");
    thread::sleep(DWELL);
    let ((), server_closed) = Span::of(|| drop(server));
    let ((), listener_closed) = Span::of(|| drop(listener));
    Ok(Deeds {
        server: server_addr,
        client: client_addr,
        listener_cookies,
        client_cookies,
        server_cookies,
        listened,
        connected,
        accepted: connected.until(accepted),
        client_closed,
        end_seen: client_closed.until(seen),
        server_closed,
        listener_closed,
    })
}

/// Whoever else has found the port is sent away.
fn accept(listener: &TcpListener, client: SocketAddr) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let begun = clock::now();
    loop {
        match listener.accept() {
            Ok((server, peer)) if peer == client => {
                // On Linux it is not inherited; elsewhere it would be.
                server.set_nonblocking(false)?;
                return Ok(server);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
        if clock::now().since(begun).is_some_and(|ns| u128::from(ns) > LIMIT.as_nanos()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}
