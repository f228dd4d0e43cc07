//! Connections that end with a RST instead of a FIN.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef};

use crate::{
    capture::Capture,
    expect::{Moment, check_dwell, client, server},
    harness::{host_wide, scene},
    machine::kernel_is_at_least,
    netns::unique_port,
    traffic::{HOLD, PATIENCE, Pair, close, connect_refused, read_end, socket},
};

const RESET_CLIENT: &str = "CLOSE SYN_SENT ESTABLISHED CLOSE";
const RESET_SERVER: &str = "LISTEN SYN_RECV ESTABLISHED CLOSE";

/// Waits for the peer's RST, and says when it was seen.
fn read_reset(stream: &mut TcpStream) -> Result<Moment> {
    let (result, moment) = Moment::of(|| stream.read(&mut [0; 64]));
    let kind = result.err().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::ConnectionReset), "no reset but {kind:?}");
    Ok(moment)
}

struct Reset {
    client: SocketAddr,
    server: SocketAddr,
    connected: Moment,
    at: Moment,
}

/// One side has reset an established connection.
fn check_reset((capture, made): &(Capture, Reset), by_client: bool) -> Result<()> {
    let causes = [("reset_remote", "remote"), ("reset_local", "local")];
    let (of_client, of_server) = (causes[usize::from(by_client)], causes[usize::from(!by_client)]);
    let port = made.server.port();
    let client_rows = capture.select(|row| row.is_client_of(port));
    client(RESET_CLIENT, made.client, made.server)
        .closed_by(of_client.1, "CLOSE")
        .end_cause(of_client.0)
        .check(&client_rows)?;
    check_dwell(&client_rows, "ESTABLISHED", made.connected, made.at)?;
    let server_rows = capture.select(|row| row.is_server_of(port));
    server(RESET_SERVER, made.server, made.client)
        .closed_by(of_server.1, "CLOSE")
        .end_cause(of_server.0)
        .check(&server_rows)?;
    check_dwell(&server_rows, "ESTABLISHED", made.connected, made.at)
}

pub(crate) fn linger_zero() -> Result<()> {
    let seen = scene(&[], |_| {
        let mut pair = Pair::v4(unique_port())?;
        SockRef::from(&pair.client).set_linger(Some(Duration::ZERO))?;
        thread::sleep(HOLD);
        let reset = close(pair.client).until(read_reset(&mut pair.server)?);
        Ok(Reset { client: pair.client_addr, server: pair.server_addr, connected: pair.connected, at: reset })
    })?;
    check_reset(&seen, true)
}

/// A server that closes with unread data in its queue: the kernel sends a RST for a FIN (`tcp_close`).
pub(crate) fn unread_data() -> Result<()> {
    let seen = scene(&[], |_| {
        let mut pair = Pair::v4(unique_port())?;
        pair.client.write_all(b"unread")?;
        wait_readable(&pair.server)?;
        thread::sleep(HOLD);
        let reset = close(pair.server).until(read_reset(&mut pair.client)?);
        Ok(Reset { client: pair.client_addr, server: pair.server_addr, connected: pair.connected, at: reset })
    })?;
    check_reset(&seen, false)
}

/// The client closes its direction, the server then resets: the client closed first all the same.
pub(crate) fn after_half_close() -> Result<()> {
    let (capture, (client_addr, server_addr, entered, reset)) = scene(&[], |_| {
        let mut pair = Pair::v4(unique_port())?;
        let (result, shut) = Moment::of(|| pair.client.shutdown(Shutdown::Write));
        result?;
        let entered = shut.until(read_end(&mut pair.server)?);
        // A byte carries the ACK of the client's FIN, which the kernel may otherwise delay past the reset.
        pair.server.write_all(b"x")?;
        pair.client.read_exact(&mut [0]).context("read")?;
        thread::sleep(HOLD);
        SockRef::from(&pair.server).set_linger(Some(Duration::ZERO))?;
        let reset = close(pair.server).until(read_reset(&mut pair.client)?);
        Ok((pair.client_addr, pair.server_addr, entered, reset))
    })?;
    let port = server_addr.port();
    client("CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE", client_addr, server_addr)
        .closed_by("local", "FIN_WAIT1")
        .end_cause("reset_remote")
        .check(&capture.select(|row| row.is_client_of(port)))?;
    let server_rows = capture.select(|row| row.is_server_of(port));
    server("LISTEN SYN_RECV ESTABLISHED CLOSE_WAIT CLOSE", server_addr, client_addr)
        .closed_by("remote", "CLOSE_WAIT")
        .end_cause("reset_local")
        .check(&server_rows)?;
    check_dwell(&server_rows, "CLOSE_WAIT", entered, reset)
}

/// Waits until there is something to read, and leaves it there.
fn wait_readable(stream: &TcpStream) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while stream.peek(&mut [0])? == 0 {
        ensure!(Instant::now() < deadline, "nothing to read after {PATIENCE:?}");
    }
    Ok(())
}

/// Why the kernel reset, where it says so (Linux 6.10): linger 0, unread data, and data that comes after the end, which
/// `sk_err` alone would call a reset by the peer.
pub(crate) fn reasons() -> Result<()> {
    let (capture, (linger, unread, late)) = scene(&[], |_| {
        let mut linger = Pair::v4(unique_port())?;
        SockRef::from(&linger.client).set_linger(Some(Duration::ZERO))?;
        close(linger.client);
        read_reset(&mut linger.server)?;

        let mut unread = Pair::v4(unique_port())?;
        unread.client.write_all(b"unread")?;
        wait_readable(&unread.server)?;
        close(unread.server);
        read_reset(&mut unread.client)?;

        let mut late = Pair::v4(unique_port())?;
        close(late.client);
        read_end(&mut late.server)?;
        late.server.write_all(b"late")?;
        thread::sleep(HOLD);
        close(late.server);
        Ok((linger.server_addr.port(), unread.server_addr.port(), late.server_addr.port()))
    })?;
    let has_reasons = kernel_is_at_least(6, 10);
    let end = |port: u16, is_client: bool| {
        let rows = capture.select(|row| {
            row.new == "CLOSE" && if is_client { row.is_client_of(port) } else { row.is_server_of(port) }
        });
        rows.last().map(|row| (*row).clone()).with_context(|| crate::capture::table(&capture.rows))
    };
    // Which reason is the kernel's choice, and has changed: `tcp_disconnect` gives TCP_STATE or one of its own.
    for (row, reasons) in [
        (end(linger, true)?, &["tcp_state", "tcp_disconnect_with_data", "not_specified"][..]),
        (end(unread, false)?, &["tcp_abort_on_close", "not_specified"][..]),
    ] {
        ensure!(row.end_cause.as_deref() == Some("reset_local"), "{row}");
        ensure!(row.closed_by.as_deref() == Some("local"), "{row}");
        let reason = row.reset_reason.as_deref();
        ensure!(
            reason.is_some_and(|reason| reasons.contains(&reason)) == has_reasons,
            "{reason:?}, though reasons are told: {has_reasons}: {row}"
        );
    }
    for (port, is_client) in [(linger, false), (unread, true)] {
        let row = end(port, is_client)?;
        ensure!(row.end_cause.as_deref() == Some("reset_remote") && row.reset_reason.is_none(), "{row}");
    }
    // Without following time-wait sockets the late data meets a socket that has been swapped.
    let row = end(late, true)?;
    ensure!(row.closed_by.as_deref() == Some("local"), "{row}");
    Ok(())
}

/// Without BTF the reset tracepoints alone tell who reset, and that nobody listened.
pub(crate) fn classic_hook() -> Result<()> {
    let (capture, _, (reset, refused)) = host_wide(&["--hook", "classic"], |_| {
        let mut pair = Pair::v4(unique_port())?;
        SockRef::from(&pair.client).set_linger(Some(Duration::ZERO))?;
        close(pair.client);
        read_reset(&mut pair.server)?;
        let refused = SocketAddr::from(([127, 0, 0, 1], unique_port()));
        connect_refused(&socket(Domain::IPV4)?, refused)?;
        Ok((pair.server_addr.port(), refused.port()))
    })?;
    for (rows, cause, who) in [
        (capture.select(|row| row.is_client_of(reset) && row.new == "CLOSE"), "reset_local", "local"),
        (capture.select(|row| row.is_server_of(reset) && row.new == "CLOSE"), "reset_remote", "remote"),
        (capture.select(|row| row.is_client_of(refused) && row.new == "CLOSE"), "refused", "remote"),
    ] {
        ensure!(rows.len() == 1, "{}", crate::capture::table(&capture.rows));
        ensure!(rows[0].end_cause.as_deref() == Some(cause), "{}", rows[0]);
        ensure!(rows[0].closed_by.as_deref() == Some(who), "{}", rows[0]);
    }
    Ok(())
}
