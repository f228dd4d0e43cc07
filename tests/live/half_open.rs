//! Half-open connections: SYN_RECV from the peer's SYN on, and its ends.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket};

use crate::{
    capture::{Capture, Row, table},
    harness::{Tracer, Way},
    netns::{self, sysctl, unique_port},
    time_wait::{milliseconds, near, watched},
    traffic::{HOLD, PATIENCE, close, socket},
};

/// TCP flags, RFC 9293 section 3.1.
pub(crate) const SYN: u32 = 0x02;
const RST: u32 = 0x04;

/// A listener that lets in only segments with one of these flags: what comes third in a handshake is dropped. Its
/// children have the same filter, until it is taken off.
pub(crate) fn filtered_listener(addr: SocketAddr, backlog: i32, flags: u32) -> Result<Socket> {
    let listener = socket(Domain::IPV4)?;
    listener.bind(&addr.into())?;
    // The socket filter of a TCP socket begins at the TCP header: ldb [13]; jset flags; accept; drop.
    let filter = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x45, 0, 1, flags),
        SockFilter::new(0x06, 0, 0, u32::MAX),
        SockFilter::new(0x06, 0, 0, 0),
    ];
    listener.attach_filter(&filter).context("SO_ATTACH_FILTER")?;
    listener.listen(backlog)?;
    listener.set_read_timeout(Some(PATIENCE))?;
    Ok(listener)
}

/// For the client the connection is established, whatever becomes of its last segment.
fn connect(to: SocketAddr) -> Result<TcpStream> {
    let client = TcpStream::connect_timeout(&to, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    Ok(client)
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], unique_port()))
}

/// The rows of the server's side, for each client's port.
fn rows_of(capture: &Capture, port: u16, client: SocketAddr) -> Vec<&Row> {
    capture.select(|row| row.is_server_of(port) && row.rport == Some(client.port()))
}

fn path(rows: &[&Row]) -> Vec<(String, String)> {
    rows.iter().map(|row| (row.old.clone(), row.new.clone())).collect()
}

/// Checks that the connection was half-open and never more, and gives back the row of its end.
fn the_end(capture: &Capture, port: u16, client: SocketAddr) -> Result<&Row> {
    let rows = rows_of(capture, port, client);
    let expected = [("LISTEN", "SYN_RECV"), ("SYN_RECV", "CLOSE")];
    ensure!(
        path(&rows) == expected.map(|(old, new)| (old.to_owned(), new.to_owned())),
        "{:?} in\n{}",
        path(&rows),
        table(&capture.rows)
    );
    ensure!(rows[1].duration_is.as_deref() == Some("exact"), "{}", rows[1]);
    Ok(rows[1])
}

/// SYN_RECV lasts until the third segment of the handshake gets through.
pub(crate) fn third_ack_comes_late(way: Way) -> Result<()> {
    let (capture, (to, from, truth)) = watched(way, |_| {
        let to = loopback();
        let listener = filtered_listener(to, 8, SYN)?;
        let mut client = connect(to)?;
        let begun = Instant::now();
        thread::sleep(HOLD);
        listener.detach_filter()?;
        client.write_all(b"x")?;
        let (server, _) = listener.accept().context("accept")?;
        let truth = begun.elapsed();
        let mut server = TcpStream::from(server);
        server.read_exact(&mut [0])?;
        let from = client.local_addr()?;
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        close(client);
        close(server);
        Ok((to, from, truth))
    })?;
    let rows = rows_of(&capture, to.port(), from);
    let row = rows.iter().find(|row| row.old == "SYN_RECV").with_context(|| table(rows.iter().copied()))?;
    ensure!(row.new == "ESTABLISHED" && row.duration_is.as_deref() == Some("exact"), "{row}");
    near("SYN_RECV", row, truth, 10)?;
    ensure!(rows.iter().filter(|row| row.new == "SYN_RECV").count() == 1, "one birth:\n{}", table(rows));
    Ok(())
}

/// The SYN-ACK is sent once more, and then the kernel gives up.
pub(crate) fn third_ack_never_comes(way: Way) -> Result<()> {
    given_up(way, || Ok(()))
}

/// Whoever lists it gives it a cookie: it stays the same one.
pub(crate) fn listed_meanwhile(way: Way) -> Result<()> {
    given_up(way, || {
        thread::sleep(HOLD);
        let listed =
            Command::new("ss").args(["-tanH", "state", "syn-recv"]).output().context("ss (iproute2)")?;
        ensure!(String::from_utf8(listed.stdout)?.lines().count() == 1, "not one is listed");
        Ok(())
    })
}

fn given_up(way: Way, meanwhile: fn() -> Result<()>) -> Result<()> {
    let (capture, (to, from)) = watched(way, |_| {
        sysctl("ipv4/tcp_synack_retries", "1")?;
        let to = loopback();
        let _listener = filtered_listener(to, 8, SYN)?;
        let client = connect(to)?;
        let from = client.local_addr()?;
        meanwhile()?;
        // 1 s to the retransmission, 2 s more to the end (RFC 6298 section 5.5).
        thread::sleep(Duration::from_millis(4200));
        Ok((to, from))
    })?;
    let end = the_end(&capture, to.port(), from)?;
    ensure!(end.end_cause.as_deref() == Some("timeout") && end.closed_by.is_none(), "{end}");
    ensure!((2900..4100).contains(&milliseconds(end)?), "{end}");
    Ok(())
}

/// The peer resets before its third segment got through.
pub(crate) fn reset_by_the_peer(way: Way) -> Result<()> {
    let (capture, (to, from, truth)) = watched(way, |_| {
        let to = loopback();
        let _listener = filtered_listener(to, 8, SYN | RST)?;
        let client = connect(to)?;
        let begun = Instant::now();
        let from = client.local_addr()?;
        thread::sleep(HOLD);
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        close(client);
        let truth = begun.elapsed();
        thread::sleep(HOLD);
        Ok((to, from, truth))
    })?;
    let end = the_end(&capture, to.port(), from)?;
    ensure!(end.end_cause.as_deref() == Some("reset_remote"), "{end}");
    ensure!(end.closed_by.as_deref() == Some("remote"), "{end}");
    near("SYN_RECV", end, truth, 10)
}

/// Two handshakes are completed, and the accept queue has room for one.
fn fill_accept_queue(way: Way, abort: bool) -> Result<(Capture, u16, [SocketAddr; 2])> {
    let (capture, (to, from)) = watched(way, |_| {
        // Given up 3 s after the SYN (RFC 6298 section 5.5): by then the third segments have come, on the slowest machine.
        sysctl("ipv4/tcp_synack_retries", "1")?;
        sysctl("ipv4/tcp_abort_on_overflow", if abort { "1" } else { "0" })?;
        let to = loopback();
        let listener = filtered_listener(to, 8, SYN)?;
        let mut clients = [connect(to)?, connect(to)?];
        // Half-open ones count against the same limit: it is lowered when they are there. 0 is room for one.
        listener.listen(0)?;
        listener.detach_filter()?;
        let mut from = [to; 2];
        for (client, from) in clients.iter_mut().zip(&mut from) {
            *from = client.local_addr()?;
            client.write_all(b"x")?;
            // One after the other.
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_millis(if abort { 300 } else { 4200 }));
        Ok((to, from))
    })?;
    Ok((capture, to.port(), from))
}

pub(crate) fn full_accept_queue(way: Way) -> Result<()> {
    let (capture, port, [first, second]) = fill_accept_queue(way, false)?;
    let rows = rows_of(&capture, port, first);
    ensure!(rows.iter().any(|row| row.new == "ESTABLISHED"), "it had room:\n{}", table(rows));
    let end = the_end(&capture, port, second)?;
    ensure!(end.end_cause.as_deref() == Some("overflow") && end.closed_by.is_none(), "{end}");
    ensure!((2900..4300).contains(&milliseconds(end)?), "{end}");
    Ok(())
}

pub(crate) fn full_accept_queue_resets(way: Way) -> Result<()> {
    let (capture, port, [_, second]) = fill_accept_queue(way, true)?;
    let end = the_end(&capture, port, second)?;
    ensure!(end.end_cause.as_deref() == Some("reset_local"), "{end}");
    ensure!(end.closed_by.as_deref() == Some("local"), "{end}");
    Ok(())
}

/// With SYN cookies the kernel keeps nothing of a half-open connection: that is said, with the kernel's own count, and
/// no time in SYN_RECV is claimed.
pub(crate) fn cookies() -> Result<()> {
    const CONNECTIONS: u64 = 5;
    let (capture, port) = {
        let mut tracer = None;
        let (inode, port) = netns::run(|netns| {
            // 2: always.
            sysctl("ipv4/tcp_syncookies", "2")?;
            let running = Tracer::start(&["--lifecycle", "auto"])?;
            // Counted from the first look on.
            thread::sleep(Duration::from_secs(1));
            let to = loopback();
            let listener = socket(Domain::IPV4)?;
            listener.bind(&SockAddr::from(to))?;
            listener.listen(16)?;
            for _ in 0..CONNECTIONS {
                let client = connect(to)?;
                let (server, _) = listener.accept()?;
                SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
                close(client);
                close(server);
            }
            thread::sleep(HOLD);
            tracer = Some(running);
            Ok((netns.inode, to.port()))
        })?;
        let capture = tracer.context("was started")?.stop()?;
        (capture.only(|row| row.netns == Some(inode)), port)
    };
    ensure!(capture.cookies == CONNECTIONS, "{} cookies: {:?}", capture.cookies, capture.summary);
    ensure!(capture.summary.get("syncookies")? == CONNECTIONS, "{:?}", capture.summary);
    let rows = capture.select(|row| row.is_server_of(port) && row.old == "SYN_RECV");
    ensure!(rows.len() as u64 == CONNECTIONS, "{}", table(&capture.rows));
    let claims = capture.select(|row| {
        row.old == "SYN_RECV" && row.is_server_of(port) && row.duration_is.as_deref() != Some("at_least")
    });
    ensure!(claims.is_empty(), "{}", table(claims));
    Ok(())
}
