//! Whose a socket is: never the task that merely was on the CPU.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    capture::{Row, table},
    closes::{ACTIVE_CLIENT, PASSIVE_SERVER},
    expect::{client, listener, server},
    harness::{Tracer, scene},
    machine::pause,
    netns::{self, unique_port},
    worker::Worker,
};

/// All rows with an owner must name this one.
fn check_comm(rows: &[&Row], comm: &str) -> Result<()> {
    let wrong: Vec<&Row> =
        rows.iter().copied().filter(|row| row.pid.is_some() && row.comm.as_deref() != Some(comm)).collect();
    ensure!(wrong.is_empty(), "not of {comm}:\n{}", table(wrong));
    Ok(())
}

/// Two processes; on loopback, each one's packets make the other one's transitions.
fn between_processes(killed: bool) -> Result<()> {
    let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let (capture, (of_client, of_server)) = scene(&[], |_| {
        let (mut at_client, mut at_server) = (Worker::start("live-client")?, Worker::start("live-server")?);
        let pids = (at_client.pid(), at_server.pid());
        at_server.order(&format!("listen {addr}"))?;
        at_client.order(&format!("connect {addr}"))?;
        at_server.order("accept")?;
        if killed {
            at_client.kill()?;
        } else {
            at_client.order("close")?;
        }
        at_server.order("wait")?;
        at_server.order("close")?;
        at_server.order("stop")?;
        Ok(pids)
    })?;
    let rows = capture.select(|row| row.is_client_of(addr.port()));
    let port = rows
        .last()
        .and_then(|row| row.lport)
        .with_context(|| format!("no client's port in\n{}", table(&capture.rows)))?;
    let peer = SocketAddr::new(addr.ip(), port);
    client(ACTIVE_CLIENT, peer, addr).closed_by("local", "FIN_WAIT1").owner(of_client).check(&rows)?;
    check_comm(&rows, "live-client")?;

    let rows = capture.select(|row| row.is_server_of(addr.port()));
    server(PASSIVE_SERVER, addr, peer)
        .closed_by("remote", "CLOSE_WAIT")
        .end_cause("fin")
        .owner(of_server)
        .check(&rows)?;
    check_comm(&rows, "live-server")?;

    let rows = capture.select(Row::is_listener);
    listener(addr).owner(of_server).check(&rows)?;
    check_comm(&rows, "live-server")
}

pub(crate) fn client_and_server() -> Result<()> {
    between_processes(false)
}

/// The kernel closes the sockets of a process that was killed, still as that process.
pub(crate) fn killed_client() -> Result<()> {
    between_processes(true)
}

/// MPTCP closes the TCP sockets of a connection by a kernel worker (`mptcp_worker`): they stay whose they were.
pub(crate) fn closed_by_a_kernel_thread() -> Result<()> {
    let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let connections = 20;
    let (capture, ()) = scene(&["--lifecycle", "auto"], |_| {
        let (mut at_client, mut at_server) = (Worker::start("live-client")?, Worker::start("live-server")?);
        at_server.order(&format!("listen-mptcp {addr}"))?;
        for _ in 0..connections {
            at_client.order(&format!("connect-mptcp {addr}"))?;
            at_server.order("accept")?;
            at_client.order("close")?;
            at_server.order("wait")?;
            at_server.order("close")?;
        }
        at_server.order("stop")
    })?;
    let rows = capture.select(|row| row.is_client_of(addr.port()));
    check_comm(&rows, "live-client")?;
    let closes = rows.iter().filter(|row| row.old == "ESTABLISHED").count();
    ensure!(closes >= connections, "{closes} closes in\n{}", table(rows));
    check_comm(&capture.select(|row| row.is_server_of(addr.port())), "live-server")
}

/// Sockets that were open before tracing began are found with the processes that hold them, and a listener's children are
/// known by it.
pub(crate) fn open_before() -> Result<()> {
    let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let (capture, (inode, of_client, of_server)) = netns::run(|netns| {
        let (mut at_client, mut at_server) = (Worker::start("live-client")?, Worker::start("live-server")?);
        at_server.order(&format!("listen {addr}"))?;
        at_client.order(&format!("connect {addr}"))?;
        at_server.order("accept")?;
        let tracer = Tracer::start(&["--lifecycle", "auto"])?;
        // Both looks have been made: at the sockets, and at the processes.
        std::thread::sleep(pause(Duration::from_millis(700)));
        at_client.order("close")?;
        at_server.order("wait")?;
        let pids = (netns.inode, at_client.pid(), at_server.pid());
        let mut late = Worker::start("live-late")?;
        late.order(&format!("connect {addr}"))?;
        std::thread::sleep(Duration::from_millis(200));
        Ok((tracer.stop()?, pids))
    })?;
    let capture = capture.only(|row| row.netns == Some(inode));
    let expect = |row: Option<&&Row>, pid: u32, is: &str| {
        let row = *row.with_context(|| format!("no such row in\n{}", table(&capture.rows)))?;
        ensure!(row.pid == Some(pid) && row.owner_is.as_deref() == Some(is), "not of {pid} ({is}): {row}");
        ensure!(row.process_start.is_some(), "{row}");
        Ok(())
    };
    let rows = capture.select(|row| row.is_server_of(addr.port()));
    expect(rows.iter().find(|row| row.new == "CLOSE_WAIT"), of_server, "holder")?;
    expect(rows.iter().find(|row| row.new == "ESTABLISHED"), of_server, "listener")?;
    let rows = capture.select(|row| row.is_client_of(addr.port()));
    expect(rows.iter().find(|row| row.new == "FIN_WAIT1"), of_client, "caller")
}
