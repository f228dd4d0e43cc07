//! A network namespace of one's own, and a thread that lives in it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::machine::patience;

/// The namespace that the calling thread is in.
pub(crate) struct Netns {
    /// Its inode number, as in the `netns` field of a row.
    pub(crate) inode: u64,
}

/// Runs `body` in a new thread, in a new network namespace with loopback up. Threads and processes that `body`
/// starts are in it too.
pub(crate) fn run<T: Send>(body: impl FnOnce(&Netns) -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("live-scene".into())
            .spawn_scoped(scope, || {
                // SAFETY: the file descriptor table stays shared (no CLONE_FILES), which is what makes unshare
                // unsafe; and the thread is our own, so no other code is moved to another namespace.
                unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare(CLONE_NEWNET)")?;
                let inode =
                    fs::metadata("/proc/thread-self/ns/net").context("/proc/thread-self/ns/net")?.ino();
                ip("link set lo up")?;
                body(&Netns { inode })
            })
            .context("thread")?
            .join()
            .map_err(|panic| anyhow!("the test panicked: {:?}", panic.downcast_ref::<&str>()))?
    })
}

/// Runs `ip ARGS` in the namespace of the calling thread.
pub(crate) fn ip(args: &str) -> Result<()> {
    command("ip", args)
}

/// Runs a command of iproute2 in the namespace of the calling thread.
fn command(program: &str, args: &str) -> Result<()> {
    let output = Command::new(program)
        .args(args.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} {args} (of the package iproute2)"))?;
    ensure!(output.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Sets a sysctl of the namespace of the calling thread (`/proc/sys/net` follows the task that opens it).
pub(crate) fn sysctl(name: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/net/{name}"), value).with_context(|| format!("sysctl net/{name}={value}"))
}

/// A port that no other test of this run uses, below the ephemeral range. Tests that cannot tell rows by their
/// namespace (the classic hook, the kernel's own trace) tell them by it.
pub(crate) fn unique_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 90).unwrap_or(0) * 100;
    20_000 + base + NEXT.fetch_add(1, Ordering::Relaxed) % 3_000
}

/// Makes loopback slow, so that whatever is sent from two ends within the next 300 ms crosses on the way: a
/// token bucket of 100 kbit/s, emptied by datagrams that everything later has to queue behind.
pub(crate) fn congest_loopback() -> Result<()> {
    ip("link set lo mtu 1500")?;
    command("tc", "qdisc add dev lo root tbf rate 100kbit burst 1600 limit 1000000")?;
    let sink = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let target = sink.local_addr()?;
    for _ in 0..4 {
        sink.send_to(&[0; 1400], target)?;
    }
    Ok(())
}

/// A link on which nobody answers: 192.0.2.2 is a neighbour by decree, at an address that nobody has.
pub(crate) fn black_hole() -> Result<std::net::SocketAddr> {
    ip("link add hole0 type veth peer name hole1")?;
    ip("link set hole1 up")?;
    ip("addr add 192.0.2.1/24 dev hole0")?;
    ip("link set hole0 up")?;
    ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev hole0")?;
    Ok(std::net::SocketAddr::from(([192, 0, 2, 2], 9)))
}

/// TIME_WAIT and LISTEN in `/proc/net/tcp`.
const TIME_WAIT: &str = "06";
const LISTEN: &str = "0A";

/// Waits until every socket of the namespace is gone or in TIME_WAIT: nothing more will happen then.
pub(crate) fn settle() -> Result<()> {
    settle_but(&[TIME_WAIT])
}

/// The same, but for listeners.
pub(crate) fn settle_but_listeners() -> Result<()> {
    settle_but(&[TIME_WAIT, LISTEN])
}

fn settle_but(states: &[&str]) -> Result<()> {
    let limit = patience(Duration::from_secs(15));
    let deadline = Instant::now() + limit;
    loop {
        let busy = sockets_but(states)?;
        if busy.is_empty() {
            // The kernel unhashes a socket just before it reports the last transition.
            thread::sleep(Duration::from_millis(30));
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("sockets still there after {limit:?}:\n{}", busy.join("\n"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sockets of the calling thread's namespace in any state but these.
fn sockets_but(states: &[&str]) -> Result<Vec<String>> {
    let mut busy = Vec::new();
    for name in ["tcp", "tcp6"] {
        let path = format!("/proc/thread-self/net/{name}");
        let table = fs::read_to_string(&path).with_context(|| path.clone())?;
        busy.extend(
            table
                .lines()
                .skip(1)
                .filter(|line| line.split_whitespace().nth(3).is_none_or(|state| !states.contains(&state)))
                .map(str::to_owned),
        );
    }
    Ok(busy)
}
