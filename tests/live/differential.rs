//! The kernel's own trace of the same tracepoint is the reference.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef};
use tempfile::TempDir;

use crate::{
    harness::host_wide,
    machine,
    netns::unique_port,
    traffic::{PATIENCE, connect_refused, socket},
};

fn connections() -> usize {
    machine::load(2_000)
}

/// Local port, remote port (0: unknown), old state, new state; and how often.
type Counts = BTreeMap<(u16, u16, String, String), u64>;

/// tracefs, mounted where nobody else looks. Unmounted when dropped.
struct Tracefs(TempDir);

impl Tracefs {
    fn mount() -> Result<Self> {
        let dir = TempDir::new()?;
        let status = Command::new("mount")
            .args(["-t", "tracefs", "tcptrace-test"])
            .arg(dir.path())
            .status()
            .context("mount")?;
        ensure!(status.success(), "mount -t tracefs: {status}");
        Ok(Self(dir))
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A trace instance of our own: nobody else's tracing is touched. Removed when dropped, before its mount.
struct Instance {
    dir: PathBuf,
    _tracefs: Tracefs,
}

impl Instance {
    /// Records `inet_sock_set_state` of sockets with one of these ports.
    fn start(ports: [u16; 2]) -> Result<Self> {
        let tracefs = Tracefs::mount()?;
        let dir = tracefs.0.path().join(format!("instances/tcptrace-test-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("mkdir {}", dir.display()))?;
        let instance = Self { dir, _tracefs: tracefs };
        let event = "events/sock/inet_sock_set_state";
        let [a, b] = ports;
        let filter = format!("sport == {a} || dport == {a} || sport == {b} || dport == {b}");
        instance.set("buffer_size_kb", "16384")?;
        instance.set("trace_clock", "mono")?;
        instance.set(&format!("{event}/filter"), &filter)?;
        instance.set(&format!("{event}/enable"), "1")?;
        instance.set("tracing_on", "1")?;
        Ok(instance)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.dir.join(file), value).with_context(|| format!("{value} > {file}"))
    }

    /// Ends it and counts what it has seen.
    fn stop(self) -> Result<Counts> {
        self.set("tracing_on", "0")?;
        for cpu in fs::read_dir(self.dir.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            let lost = stats.lines().find_map(|line| line.strip_prefix("overrun: ")).context("no overrun")?;
            ensure!(lost.trim() == "0", "the kernel's own trace has lost {lost} events");
        }
        let mut counts = Counts::new();
        for line in fs::read_to_string(self.dir.join("trace"))?.lines().filter(|line| !line.starts_with('#'))
        {
            let field = |name: &str| {
                line.split_whitespace()
                    .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                    .with_context(|| format!("no {name} in {line}"))
            };
            let state = |name| Ok::<_, anyhow::Error>(field(name)?.trim_start_matches("TCP_").to_owned());
            let (old, new) = (state("oldstate")?, state("newstate")?);
            if field("protocol")? == "IPPROTO_TCP" && old != new {
                *counts.entry((field("sport")?.parse()?, field("dport")?.parse()?, old, new)).or_default() +=
                    1;
            }
        }
        Ok(counts)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.set("events/enable", "0");
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Connections of all kinds, one after the other.
fn mixed_traffic(port: u16, closed_port: u16) -> Result<()> {
    let v4 = SocketAddr::from(([127, 0, 0, 1], port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let closed = SocketAddr::from(([127, 0, 0, 1], closed_port));
    let (listener_v4, listener_v6) = (TcpListener::bind(v4)?, TcpListener::bind(v6)?);
    for i in 0..connections() {
        let kind = i % 8;
        if kind == 0 {
            connect_refused(&socket(Domain::IPV4)?, closed)?;
            continue;
        }
        let (listener, addr) = if kind == 7 { (&listener_v6, v6) } else { (&listener_v4, v4) };
        let mut client = TcpStream::connect_timeout(&addr, PATIENCE)?;
        let (mut server, _) = listener.accept()?;
        client.set_read_timeout(Some(PATIENCE))?;
        server.set_read_timeout(Some(PATIENCE))?;
        let mut end = [0; 16];
        match kind {
            // The server first.
            1 => {
                drop(server);
                let _ = client.read(&mut end)?;
            }
            // Resets: linger 0 at either side, unread data.
            2 => {
                SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
                drop(client);
            }
            3 => {
                SockRef::from(&server).set_linger(Some(Duration::ZERO))?;
                drop(server);
            }
            4 => {
                client.write_all(b"unread")?;
                drop(server);
            }
            // Half-close.
            5 => {
                client.shutdown(Shutdown::Write)?;
                let _ = server.read(&mut end)?;
                server.write_all(b"more")?;
                drop(server);
                while client.read(&mut end)? > 0 {}
            }
            // The client first, v4 and v6.
            _ => {
                drop(client);
                let _ = server.read(&mut end)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn same_as_the_kernels_own_trace() -> Result<()> {
    let (port, closed_port) = (unique_port(), unique_port());
    let instance = Instance::start([port, closed_port])?;
    let (capture, inode, ()) = host_wide(&[], |_| mixed_traffic(port, closed_port))?;
    let expected = instance.stop()?;
    ensure!(capture.lost == 0, "{} lost", capture.lost);

    let mut seen = Counts::new();
    for row in capture.rows.iter().filter(|row| row.netns == Some(inode)) {
        let mut key = (row.lport.unwrap_or(0), row.rport.unwrap_or(0), row.old.clone(), row.new.clone());
        // Many kernels report the birth of a child before they have written its peer into it; tcptrace has the peer
        // from the child's next event.
        let without_peer = (key.0, 0, key.2.clone(), key.3.clone());
        if row.old == "LISTEN" && expected.contains_key(&without_peer) {
            key = without_peer;
        }
        *seen.entry(key).or_default() += 1;
    }
    // A refused connection has 2 transitions, one that is reset 6, a closed one 10; 4 are of the listeners.
    let total: u64 = expected.values().sum();
    let each = u64::try_from(connections() / 8)?;
    ensure!(total == each * (2 + 3 * 6 + 4 * 10) + 4, "the kernel's own trace has {total} events");

    let differences: Vec<String> = expected
        .keys()
        .chain(seen.keys())
        .filter(|key| expected.get(key) != seen.get(key))
        .map(|key| format!("  {key:?}: the kernel {:?}, tcptrace {:?}", expected.get(key), seen.get(key)))
        .collect();
    ensure!(
        differences.is_empty(),
        "{} differences in {total} events, such as\n{}",
        differences.len(),
        differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    Ok(())
}
