//! The ways to open, and to fail at it.

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket};

use crate::{
    capture::table,
    closes::{ACTIVE_CLIENT, PASSIVE_SERVER},
    expect::{Moment, check_dwell, client, server},
    harness::scene,
    netns::{self, sysctl, unique_port},
    traffic::{HOLD, PATIENCE, Pair, close, connect_refused, local, read_end, socket},
};

/// The client closes first, with these addresses to listen on and to connect to.
fn open_and_close(listen: SocketAddr, connect: SocketAddr) -> Result<()> {
    let (capture, (client_addr, server_addr, accepted_family)) = scene(&[], |_| {
        let mut pair = Pair::new(listen, connect)?;
        close(pair.client);
        read_end(&mut pair.server)?;
        close(pair.server);
        Ok((pair.client_addr, pair.server_addr, if listen.is_ipv6() { 6 } else { 4 }))
    })?;
    client(ACTIVE_CLIENT, client_addr, server_addr)
        .closed_by("local", "FIN_WAIT1")
        .check(&capture.select(|row| row.is_client_of(server_addr.port())))?;
    let mut side =
        server(PASSIVE_SERVER, server_addr, client_addr).closed_by("remote", "CLOSE_WAIT").end_cause("fin");
    side.family = accepted_family;
    side.check(&capture.select(|row| row.is_server_of(server_addr.port())))
}

pub(crate) fn v6() -> Result<()> {
    let addr = SocketAddr::from((Ipv6Addr::LOCALHOST, unique_port()));
    open_and_close(addr, addr)
}

/// A v4 client of a dual-stack listener: an AF_INET6 socket with addresses like `::ffff:127.0.0.1`, printed as v4.
pub(crate) fn v4_mapped() -> Result<()> {
    let port = unique_port();
    open_and_close((Ipv6Addr::UNSPECIFIED, port).into(), ([127, 0, 0, 1], port).into())
}

/// A client that has bound its port shows it from the first row on.
pub(crate) fn bound_client() -> Result<()> {
    let (to, from) = (unique_port(), unique_port());
    let (to, from) = (SocketAddr::from(([127, 0, 0, 1], to)), SocketAddr::from(([127, 0, 0, 2], from)));
    let (capture, ()) = scene(&[], |_| {
        let listener = TcpListener::bind(to)?;
        let client = socket(Domain::IPV4)?;
        client.bind(&from.into())?;
        client.connect_timeout(&to.into(), PATIENCE)?;
        let (mut server, _) = listener.accept()?;
        server.set_read_timeout(Some(PATIENCE))?;
        close(client);
        read_end(&mut server)?;
        Ok(())
    })?;
    client(ACTIVE_CLIENT, from, to)
        .bound()
        .closed_by("local", "FIN_WAIT1")
        .check(&capture.select(|row| row.is_client_of(to.port())))
}

/// Nobody listens: the peer's RST ends it.
pub(crate) fn refused() -> Result<()> {
    let to = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let (capture, tried) = scene(&[], |_| connect_refused(&socket(Domain::IPV4)?, to))?;
    let rows = capture.select(|_| true);
    let port = rows.last().and_then(|row| row.lport).context("lport of the failed connection")?;
    let from = SocketAddr::from(([127, 0, 0, 1], port));
    client("CLOSE SYN_SENT CLOSE", from, to)
        .closed_by("remote", "CLOSE")
        .end_cause("refused")
        .check(&rows)?;
    check_dwell(&rows, "SYN_SENT", tried, tried)
}

/// Linux lets a socket try again after a refusal. The second try is a life of its own, and its first row must not
/// show the port of the first try, which the kernel has left lying in the socket.
pub(crate) fn retry_after_refusal() -> Result<()> {
    let to = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let (capture, (from, waited)) = scene(&[], |_| {
        let client = socket(Domain::IPV4)?;
        let refused = connect_refused(&client, to)?;
        thread::sleep(HOLD);
        let listener = TcpListener::bind(to)?;
        let (result, retried) = Moment::of(|| client.connect_timeout(&SockAddr::from(to), PATIENCE));
        result?;
        let from = local(&client)?;
        let (mut server, _) = listener.accept()?;
        server.set_read_timeout(Some(PATIENCE))?;
        close(client);
        read_end(&mut server)?;
        Ok((from, (refused, retried)))
    })?;
    let rows = capture.select(|row| row.is_client_of(to.port()));
    ensure!(rows.len() == 7, "{} rows instead of 7:\n{}", rows.len(), table(rows.iter().copied()));
    let (first, second) = rows.split_at(2);
    let port = first[1].lport.context("lport of the refused try")?;
    client("CLOSE SYN_SENT CLOSE", SocketAddr::new(from.ip(), port), to)
        .closed_by("remote", "CLOSE")
        .end_cause("refused")
        .check(first)?;
    ensure!(first[0].cookie == second[0].cookie, "the cookie has changed");
    // Whether the time between two tries is told is left open; if it is, it must be true.
    if second[0].duration_ns.is_some() {
        check_dwell(&second[..1], "CLOSE", waited.0, waited.1)?;
    }
    let mut fresh = second[0].clone();
    (fresh.duration_ns, fresh.duration_is) = (None, None);
    let second: Vec<_> = std::iter::once(&fresh).chain(second[1..].iter().copied()).collect();
    client(ACTIVE_CLIENT, from, to).closed_by("local", "FIN_WAIT1").check(&second)
}

/// Not every errno has an `ErrorKind` of its own in stable Rust.
fn is(error: &std::io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// A non-blocking `connect` that goes on by itself.
fn begin_connect(socket: &Socket, to: SocketAddr) -> Result<()> {
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::from(to)) {
        Err(error) if is(&error, Errno::INPROGRESS) => Ok(()),
        other => bail!("connect to {to}: {other:?}"),
    }
}

/// Nobody answers and the application gives up: no FIN, no RST, no error.
pub(crate) fn black_hole_given_up() -> Result<()> {
    let (capture, (from, to, tried, closed)) = scene(&[], |_| {
        let to = netns::black_hole()?;
        let client = socket(Domain::IPV4)?;
        let (result, tried) = Moment::of(|| begin_connect(&client, to));
        result?;
        let from = local(&client)?;
        thread::sleep(HOLD);
        Ok((from, to, tried, close(client)))
    })?;
    let rows = capture.select(|_| true);
    client("CLOSE SYN_SENT CLOSE", from, to).check(&rows)?;
    check_dwell(&rows, "SYN_SENT", tried, closed)
}

/// Nobody answers and the kernel gives up, after one retransmission.
pub(crate) fn black_hole_timed_out() -> Result<()> {
    let (capture, (from, to, tried)) = scene(&[], |_| {
        let to = netns::black_hole()?;
        sysctl("ipv4/tcp_syn_retries", "1")?;
        let client = socket(Domain::IPV4)?;
        let (error, tried) = Moment::of(|| client.connect(&SockAddr::from(to)).err());
        let kind = error.map(|error| error.kind());
        ensure!(kind == Some(ErrorKind::TimedOut), "connect to {to}: {kind:?}");
        Ok((local(&client)?, to, tried))
    })?;
    let rows = capture.select(|_| true);
    let port = rows.last().and_then(|row| row.lport).context("lport of the failed connection")?;
    client("CLOSE SYN_SENT CLOSE", SocketAddr::new([192, 0, 2, 1].into(), port), to)
        .end_cause("timeout")
        .check(&rows)
        .with_context(|| format!("the socket says {from} afterwards"))?;
    check_dwell(&rows, "SYN_SENT", tried, tried)?;
    // Within one call it is as long as the call, but for what the call does around it.
    let dwell = Duration::from_nanos(rows[1].duration_ns.unwrap_or(0));
    ensure!(dwell >= Duration::from_secs(1), "SYN_SENT took {dwell:?}, less than one retransmission timeout");
    Ok(())
}

/// A socket that connects to itself: simultaneous open and simultaneous close with one socket.
pub(crate) fn self_connect() -> Result<()> {
    let (capture, addr) = scene(&[], |_| {
        let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
        let socket = socket(Domain::IPV4)?;
        socket.bind(&addr.into())?;
        socket.connect_timeout(&addr.into(), PATIENCE)?;
        close(socket);
        Ok(addr)
    })?;
    client("CLOSE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT1 CLOSING CLOSE", addr, addr)
        .bound()
        .closed_by("local", "FIN_WAIT1")
        .check(&capture.select(|_| true))
}

/// Two SYNs cross: two clients, no server.
pub(crate) fn simultaneous_open() -> Result<()> {
    let (capture, (a, b)) = scene(&[], |_| {
        let a = SocketAddr::from(([127, 0, 0, 1], unique_port()));
        let b = SocketAddr::from(([127, 0, 0, 1], unique_port()));
        let (from_a, from_b) = (socket(Domain::IPV4)?, socket(Domain::IPV4)?);
        from_a.bind(&a.into())?;
        from_b.bind(&b.into())?;
        netns::congest_loopback()?;
        begin_connect(&from_a, b)?;
        begin_connect(&from_b, a)?;
        let (from_a, from_b) = (wait_connected(from_a, b)?, wait_connected(from_b, a)?);
        close(from_a);
        let mut from_b = from_b;
        read_end(&mut from_b)?;
        Ok((a, b))
    })?;
    client("CLOSE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE", a, b)
        .bound()
        .closed_by("local", "FIN_WAIT1")
        .check(&capture.select(|row| row.lport == Some(a.port())))?;
    client("CLOSE SYN_SENT SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE", b, a)
        .bound()
        .closed_by("remote", "CLOSE_WAIT")
        .end_cause("fin")
        .check(&capture.select(|row| row.lport == Some(b.port())))
}

/// Waits until a non-blocking `connect` has succeeded.
fn wait_connected(socket: Socket, to: SocketAddr) -> Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // EALREADY until it is done, in SYN_RECV too (`getpeername` succeeds there).
        match socket.connect(&SockAddr::from(to)) {
            Ok(()) => break,
            Err(error) if is(&error, Errno::ISCONN) => break,
            Err(error) if is(&error, Errno::ALREADY) => {}
            Err(error) => return Err(error).with_context(|| format!("connect to {to}")),
        }
        ensure!(Instant::now() < deadline, "not connected after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}
