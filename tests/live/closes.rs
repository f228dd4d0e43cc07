//! The ways to close: each side first, one direction only, both at the same time, a listener.

use std::{
    net::{Shutdown, SocketAddr},
    thread,
};

use anyhow::{Result, ensure};

use crate::{
    capture::Capture,
    expect::{Moment, check_dwell, client, listener, server},
    harness::{host_wide, scene},
    netns::{self, Netns, unique_port},
    traffic::{HOLD, Pair, close, read_end, send_byte},
};

pub(crate) const ACTIVE_CLIENT: &str = "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE";
pub(crate) const PASSIVE_CLIENT: &str = "CLOSE SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE";
pub(crate) const ACTIVE_SERVER: &str = "LISTEN SYN_RECV ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE";
pub(crate) const PASSIVE_SERVER: &str = "LISTEN SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE";

/// A connection that one side has closed [`HOLD`] after it was made, and the other [`HOLD`] after that.
struct Closed {
    client: SocketAddr,
    server: SocketAddr,
    connected: Moment,
    first_close: Moment,
    end_seen: Moment,
    second_close: Moment,
}

/// `watch` the close of one connection with this hook; the server closes first, or the client.
fn close_in_turn(hook: &str, server_first: bool) -> Result<(Capture, Closed)> {
    let port = unique_port();
    let body = |_: &Netns| {
        let pair = Pair::v4(port)?;
        let (first, mut second) =
            if server_first { (pair.server, pair.client) } else { (pair.client, pair.server) };
        thread::sleep(HOLD);
        let first_close = close(first);
        let end_seen = read_end(&mut second)?;
        thread::sleep(HOLD);
        let second_close = close(second);
        let (client, server, connected) = (pair.client_addr, pair.server_addr, pair.connected);
        Ok(Closed { client, server, connected, first_close, end_seen, second_close })
    };
    let (capture, _, closed) = host_wide(&["--hook", hook, "--port", &port.to_string()], body)?;
    ensure!(capture.lost == 0, "{} lost", capture.lost);
    Ok((capture, closed))
}

fn client_first(hook: &str, classic: bool) -> Result<()> {
    let (capture, closed) = close_in_turn(hook, false)?;
    let port = closed.server.port();
    let client_rows = capture.select(|row| row.is_client_of(port));
    client(ACTIVE_CLIENT, closed.client, closed.server)
        .closed_by("local", "FIN_WAIT1")
        .classic(classic)
        .check(&client_rows)?;
    check_dwell(&client_rows, "ESTABLISHED", closed.connected, closed.first_close)?;

    let server_rows = capture.select(|row| row.is_server_of(port));
    server(PASSIVE_SERVER, closed.server, closed.client)
        .closed_by("remote", "CLOSE_WAIT")
        .end_cause("fin")
        .classic(classic)
        .check(&server_rows)?;
    check_dwell(&server_rows, "CLOSE_WAIT", closed.first_close.until(closed.end_seen), closed.second_close)
}

fn server_first(hook: &str, classic: bool) -> Result<()> {
    let (capture, closed) = close_in_turn(hook, true)?;
    let port = closed.server.port();
    let server_rows = capture.select(|row| row.is_server_of(port));
    server(ACTIVE_SERVER, closed.server, closed.client)
        .closed_by("local", "FIN_WAIT1")
        .classic(classic)
        .check(&server_rows)?;
    check_dwell(&server_rows, "ESTABLISHED", closed.connected, closed.first_close)?;

    let client_rows = capture.select(|row| row.is_client_of(port));
    client(PASSIVE_CLIENT, closed.client, closed.server)
        .closed_by("remote", "CLOSE_WAIT")
        .end_cause("fin")
        .classic(classic)
        .check(&client_rows)?;
    check_dwell(&client_rows, "CLOSE_WAIT", closed.first_close.until(closed.end_seen), closed.second_close)
}

pub(crate) fn client_closes_first() -> Result<()> {
    client_first("btf", false)
}

pub(crate) fn server_closes_first() -> Result<()> {
    server_first("btf", false)
}

pub(crate) fn client_closes_first_classic_hook() -> Result<()> {
    client_first("classic", true)
}

pub(crate) fn server_closes_first_classic_hook() -> Result<()> {
    server_first("classic", true)
}

/// The client has no more to say; the server still has. The socket is not orphaned, so FIN_WAIT2 is true here.
pub(crate) fn half_close() -> Result<()> {
    let (capture, (client_addr, server_addr, shut, end_seen, server_closed, client_end)) =
        scene(&[], |_| {
            let mut pair = Pair::v4(unique_port())?;
            let (result, shut) = Moment::of(|| pair.client.shutdown(Shutdown::Write));
            result?;
            let end_seen = read_end(&mut pair.server)?;
            thread::sleep(HOLD);
            send_byte(&mut pair.server, &mut pair.client)?;
            thread::sleep(HOLD);
            let server_closed = close(pair.server);
            let client_end = read_end(&mut pair.client)?;
            Ok((pair.client_addr, pair.server_addr, shut, end_seen, server_closed, client_end))
        })?;
    let port = server_addr.port();
    let client_rows = capture.select(|row| row.is_client_of(port));
    client(ACTIVE_CLIENT, client_addr, server_addr).closed_by("local", "FIN_WAIT1").check(&client_rows)?;
    let server_rows = capture.select(|row| row.is_server_of(port));
    server(PASSIVE_SERVER, server_addr, client_addr)
        .closed_by("remote", "CLOSE_WAIT")
        .end_cause("fin")
        .check(&server_rows)?;
    check_dwell(&server_rows, "CLOSE_WAIT", shut.until(end_seen), server_closed)?;
    // The kernel may delay the ACK that ends FIN_WAIT1 (TCP_DELACK_MAX, 200 ms); the server's byte carries it at
    // the latest. So what can be known from outside is the sum of both states.
    let both: u64 =
        client_rows.iter().filter(|row| row.old.starts_with("FIN_WAIT")).filter_map(|r| r.duration_ns).sum();
    let mut sum = (*client_rows[client_rows.len() - 1]).clone();
    sum.duration_ns = Some(both);
    check_dwell(&[&sum], "FIN_WAIT2", shut, server_closed.until(client_end))
}

/// Both FINs are on the way before either arrives: both sides go through CLOSING.
pub(crate) fn simultaneous_close() -> Result<()> {
    let (capture, (client_addr, server_addr)) = scene(&[], |_| {
        let mut pair = Pair::v4(unique_port())?;
        netns::congest_loopback()?;
        pair.client.shutdown(Shutdown::Write)?;
        pair.server.shutdown(Shutdown::Write)?;
        read_end(&mut pair.client)?;
        read_end(&mut pair.server)?;
        Ok((pair.client_addr, pair.server_addr))
    })?;
    let port = server_addr.port();
    client("CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 CLOSING CLOSE", client_addr, server_addr)
        .closed_by("local", "FIN_WAIT1")
        .check(&capture.select(|row| row.is_client_of(port)))?;
    server("LISTEN SYN_RECV ESTABLISHED FIN_WAIT1 CLOSING CLOSE", server_addr, client_addr)
        .closed_by("local", "FIN_WAIT1")
        .check(&capture.select(|row| row.is_server_of(port)))
}

/// A listener is a row when it begins and one when it ends, with the time between them.
pub(crate) fn listener_close() -> Result<()> {
    let (capture, (addr, listening, closed)) = scene(&[], |_| {
        let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
        let (socket, listening) = Moment::of(|| std::net::TcpListener::bind(addr));
        let socket = socket?;
        thread::sleep(HOLD);
        Ok((addr, listening, close(socket)))
    })?;
    let rows = capture.select(|_| true);
    listener(addr).check(&rows)?;
    check_dwell(&rows, "LISTEN", listening, closed)
}
