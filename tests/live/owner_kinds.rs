//! The owner of every row, for the kinds of servers that there are, under load.

use std::{collections::HashMap, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};

use crate::{
    capture::{Row, table},
    harness::Tracer,
    machine,
    netns::{self, unique_port},
    servers::Hands,
    worker::Worker,
};

/// What was served, and by whom.
struct Served {
    addr: SocketAddr,
    listener: u32,
    client: u32,
    hands: HashMap<u16, Hands>,
}

/// A server of this kind and a client, each a process, make so many connections.
fn serve(kind: &str, count: usize, uid: Option<u32>) -> Result<Served> {
    let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let mut server = Worker::start_as(kind, uid)?;
    let mut client = Worker::start_as("client", uid)?;
    server.order(&format!("listen {addr}"))?;
    server.order(&format!("serve {kind}"))?;
    let answer = client.ask(&format!("connect-often {addr}/{count}"))?;
    let hands = answer.split(' ').skip(1).map(hands).collect::<Result<_>>()?;
    let served = Served { addr, listener: server.pid(), client: client.pid(), hands };
    // Everything is closed by both sides when the client has said so, but the server's close may be under way.
    netns::settle_but_listeners()?;
    server.order("stop")?;
    Ok(served)
}

fn hands(word: &str) -> Result<(u16, Hands)> {
    let mut numbers = word.split(':');
    let mut next = || numbers.next().context("a number is missing");
    let port = next()?.parse()?;
    Ok((port, Hands { accepted: next()?.parse()?, closes: next()?.parse()? }))
}

/// Whose a row must be, and how that must be known.
fn expected(row: &Row, served: &Served, accepts_are_seen: bool) -> Result<(u32, &'static str)> {
    if row.is_listener() {
        return Ok((served.listener, "caller"));
    }
    if row.is_client_of(served.addr.port()) {
        return Ok((served.client, "caller"));
    }
    let hands = served.hands.get(&row.rport.context("no port")?).context("a connection that nobody made")?;
    Ok(match (row.old.as_str(), row.new.as_str()) {
        // A child is put into the accept queue before it is ESTABLISHED (`inet_csk_complete_hashdance`, `tcp_child_process`):
        // another processor may accept it in between.
        ("SYN_RECV", "ESTABLISHED") if row.owner_is.as_deref() == Some("caller") => {
            (hands.accepted, "caller")
        }
        ("LISTEN" | "SYN_RECV", _) => (served.listener, "listener"),
        (_, "CLOSE_WAIT") if !accepts_are_seen => (served.listener, "listener"),
        // The client has closed after it was told who accepted it.
        (_, "CLOSE_WAIT") => (hands.accepted, "caller"),
        _ => (hands.closes, "caller"),
    })
}

fn check(kind: &str, count: usize, names: &[&str], uid: Option<u32>) -> Result<()> {
    let tracer = Tracer::start(&["-v", "--lifecycle", "auto"])?;
    // System calls are not what io_uring makes.
    let accepts_are_seen = kind != "uring" || tracer.stderr().contains("accepts fexit:");
    let (inode, served) = netns::run(|netns| Ok((netns.inode, serve(kind, count, uid)?)))?;
    tracer.wait_idle(machine::patience(std::time::Duration::from_secs(30)))?;
    let capture = tracer.stop()?.only(|row| row.netns == Some(inode));
    ensure!(served.hands.len() == count, "{} of {count} connections", served.hands.len());
    ensure!(capture.rows.len() >= count * 10, "{} rows", capture.rows.len());
    for row in &capture.rows {
        let (pid, is) = expected(row, &served, accepts_are_seen).with_context(|| table([row]))?;
        ensure!(
            row.pid == Some(pid) && row.owner_is.as_deref() == Some(is),
            "not of {pid} ({is}), but of {:?} ({:?}), of {:?}:\n{}",
            row.pid,
            row.owner_is,
            served.hands.get(&row.rport.unwrap_or(0)),
            table(capture.rows.iter().filter(|other| other.cookie == row.cookie))
        );
        let comm = row.comm.as_deref().context("no name")?;
        ensure!(names.contains(&comm) || comm == "client", "of {comm}: {row}");
        ensure!(row.process_start.is_some_and(|start| start > 0.0), "no start of the process: {row}");
        // Until it is accepted, a child has the uid of its listener.
        ensure!(row.uid.is_none() || row.uid == Some(uid.unwrap_or(0).into()), "uid {:?}: {row}", row.uid);
    }
    Ok(())
}

pub(crate) fn prefork() -> Result<()> {
    check("prefork", machine::load(4_000), &["prefork", "prefork-child"], None)
}

/// Seen by fexit only; else the listener's owner is shown, and marked.
pub(crate) fn io_uring() -> Result<()> {
    if let Err(error) = io_uring::IoUring::new(2) {
        eprintln!("SKIPPED: owner_kinds::io_uring: this kernel gives no ring: {error}");
        return Ok(());
    }
    check("uring", machine::load(1_000), &["uring", "uring-child"], None)
}

pub(crate) fn threads() -> Result<()> {
    check("threads", machine::load(2_000), &["threads", "accepts"], None)
}

pub(crate) fn thread_pool() -> Result<()> {
    check("pool", machine::load(2_000), &["pool", "accepts", "serves"], None)
}

pub(crate) fn passed_descriptors() -> Result<()> {
    check("pass", machine::load(2_000), &["pass", "pass-child"], None)
}

pub(crate) fn fork_after_accept() -> Result<()> {
    check("fork", machine::load(200), &["fork", "fork-child"], None)
}

/// `nobody` serves and connects.
pub(crate) fn not_root() -> Result<()> {
    check("prefork", machine::load(500), &["prefork", "prefork-child"], Some(65_534))
}

/// Clients that live for one connection only.
pub(crate) fn short_lived_clients() -> Result<()> {
    let count = machine::load(200);
    let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let tracer = Tracer::start(&["--lifecycle", "auto"])?;
    let (inode, pids) = netns::run(|netns| {
        let mut server = Worker::start("threads")?;
        server.order(&format!("listen {addr}"))?;
        server.order("serve threads")?;
        let mut pids = HashMap::new();
        for _ in 0..count {
            let mut client = Worker::start("short-lived")?;
            let answer = client.ask(&format!("connect-often {addr}/1"))?;
            let word = answer.split(' ').nth(1).context("no connection")?;
            pids.insert(hands(word)?.0, client.pid());
        }
        netns::settle_but_listeners()?;
        server.order("stop")?;
        Ok((netns.inode, pids))
    })?;
    tracer.wait_idle(machine::patience(std::time::Duration::from_secs(30)))?;
    let capture = tracer.stop()?.only(|row| row.netns == Some(inode) && row.is_client_of(addr.port()));
    let mut seen = HashMap::new();
    for row in capture.rows.iter().rev() {
        // The first row has no port yet: by the cookie, the others tell.
        let pid = *row
            .lport
            .and_then(|port| pids.get(&port))
            .or_else(|| seen.get(&row.cookie))
            .context("no port")?;
        seen.insert(row.cookie, pid);
        ensure!(row.pid == Some(pid) && row.comm.as_deref() == Some("short-lived"), "not of {pid}: {row}");
    }
    ensure!(seen.len() == count, "{} of {count} clients", seen.len());
    Ok(())
}

/// Where functions can be traced at all, accepts are: it costs only who accepts, and sees io_uring.
pub(crate) fn best_way() -> Result<()> {
    let tracer = Tracer::start(&["-v", "--lifecycle", "auto"])?;
    let said = tracer.stderr();
    tracer.stop()?;
    let has_fentry = said.contains("lifecycle fentry:");
    let way = if has_fentry { "accepts fexit:" } else { "accepts syscall:" };
    ensure!(said.contains(way), "not {way}\n{said}");
    Ok(())
}
