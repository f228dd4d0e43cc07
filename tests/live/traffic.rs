//! Connections whose every step the test takes itself, in one thread.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::expect::Moment;

/// Longest wait of any blocking call.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Long enough to stand out from everything that happens by itself.
pub(crate) const HOLD: Duration = Duration::from_millis(300);

/// An established connection and its listener, which backlogs it: no second thread is needed.
pub(crate) struct Pair {
    pub(crate) listener: TcpListener,
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    /// The client's address, as the client sees it.
    pub(crate) client_addr: SocketAddr,
    /// The server's address, as the client sees it.
    pub(crate) server_addr: SocketAddr,
    /// When the connection was made.
    pub(crate) connected: Moment,
}

impl Pair {
    /// Listens on `listen`, connects to the same port of `connect`.
    pub(crate) fn new(listen: SocketAddr, connect: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
        let (client, connected) = Moment::of(|| TcpStream::connect_timeout(&connect, PATIENCE));
        let client = client.with_context(|| format!("connect to {connect}"))?;
        let ((server, _), accepted) = {
            let (accepted, moment) = Moment::of(|| listener.accept());
            (accepted.context("accept")?, moment)
        };
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
        }
        Ok(Self {
            client_addr: client.local_addr()?,
            server_addr: client.peer_addr()?,
            connected: connected.until(accepted),
            listener,
            client,
            server,
        })
    }

    /// On loopback, IPv4, at this port.
    pub(crate) fn v4(port: u16) -> Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Self::new(addr, addr)
    }
}

/// Closes, and says when.
pub(crate) fn close<T>(socket: T) -> Moment {
    Moment::of(|| drop(socket)).1
}

/// Waits for the end of the peer's stream, and says when it was seen.
pub(crate) fn read_end(stream: &mut TcpStream) -> Result<Moment> {
    let (read, moment) = Moment::of(|| stream.read(&mut [0; 64]));
    let read = read.context("read")?;
    ensure!(read == 0, "{read} bytes instead of the end of the stream");
    Ok(moment)
}

/// Sends one byte and waits until the peer has it.
pub(crate) fn send_byte(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    from.write_all(b"x").context("write")?;
    to.read_exact(&mut [0]).context("read")
}

/// A bare TCP socket.
pub(crate) fn socket(domain: Domain) -> Result<Socket> {
    Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).context("socket")
}

/// `connect` that must be refused. It blocks: one with a time limit would leave the socket half way to the next try
/// (ECONNABORTED).
pub(crate) fn connect_refused(socket: &Socket, to: SocketAddr) -> Result<Moment> {
    let (result, moment) = Moment::of(|| socket.connect(&SockAddr::from(to)));
    let kind = result.err().map(|error| error.kind());
    ensure!(kind == Some(std::io::ErrorKind::ConnectionRefused), "connect to {to}: {kind:?}");
    Ok(moment)
}

/// The local address of a socket that has one.
pub(crate) fn local(socket: &Socket) -> Result<SocketAddr> {
    socket.local_addr()?.as_socket().context("not an internet address")
}
