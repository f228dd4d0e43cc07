//! What goes wrong: tcptrace is stopped, killed, started over and over, not read, out of space; the clock jumps, a
//! processor goes.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    process::Signal,
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};
use serde_json::Value;

use crate::{
    capture::table,
    harness::{Tracer, program},
    load::hammer,
    machine::{self, patience, pause},
    netns::{self, unique_port},
    traffic::{HOLD, Pair, close, read_end},
};

/// What the kernel has of BPF.
#[derive(Debug, Default)]
struct Objects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Objects {
    /// In the whole kernel. Links are told since Linux 5.8, and those of tracepoints only where they are links.
    fn loaded() -> Self {
        let programs = aya::programs::loaded_programs().map(|info| info.map(|info| info.id()));
        let maps = aya::maps::loaded_maps().map(|info| info.map(|info| info.id()));
        let links = aya::programs::loaded_links().map(|info| info.map(|info| info.id()));
        // What is there when it is listed may be gone when it is asked for.
        Self {
            programs: programs.flatten().collect(),
            maps: maps.flatten().collect(),
            links: links.flatten().collect(),
        }
    }

    /// Those that a process has descriptors of.
    fn of(tracer: &Tracer) -> Result<Self> {
        let ids = |key| -> Result<BTreeSet<u32>> {
            Ok(tracer.ids(key)?.into_iter().filter_map(|id| u32::try_from(id).ok()).collect())
        };
        Ok(Self { programs: ids("prog_id:")?, maps: ids("map_id:")?, links: ids("link_id:")? })
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        self.programs.is_disjoint(&other.programs)
            && self.maps.is_disjoint(&other.maps)
            && self.links.is_disjoint(&other.links)
    }

    /// Waits until none of these is there any more: the kernel frees them some time after the last use (RCU).
    fn wait_until_gone(&self) -> Result<()> {
        let deadline = Instant::now() + patience(Duration::from_secs(10));
        while !self.is_disjoint(&Self::loaded()) {
            ensure!(Instant::now() < deadline, "still there of {self:?}: {:?}", Self::loaded());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// SIGKILL leaves nothing in the kernel.
pub(crate) fn killed() -> Result<()> {
    let mut tracer = Tracer::start(&["--lifecycle", "auto"])?;
    let objects = Objects::of(&tracer)?;
    ensure!(objects.programs.len() > 1 && objects.maps.len() > 2, "not seen: {objects:?}");
    ensure!(!objects.is_disjoint(&Objects::loaded()), "they are not listed");
    tracer.signal(Signal::KILL)?;
    let status = tracer.wait_end(patience(Duration::from_secs(10)))?;
    ensure!(status.code().is_none(), "ended by itself: {status}");
    objects.wait_until_gone()
}

/// Started and stopped 200 times in a row: nothing piles up, in the kernel or on disk.
pub(crate) fn started_over_and_over() -> Result<()> {
    let names = |objects: &Objects| objects.programs.len();
    let before = Objects::loaded();
    for round in 0..if machine::is_slow() { 4 } else { 200 } {
        let output = Command::new(program())
            .args(["watch", "-o", "json", "--duration", "1ms"])
            .stdin(Stdio::null())
            .output()
            .context("cannot start")?;
        ensure!(
            output.status.success(),
            "start {round}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let after = Objects::loaded();
    let left = Objects {
        programs: after.programs.difference(&before.programs).copied().collect(),
        maps: after.maps.difference(&before.maps).copied().collect(),
        links: after.links.difference(&before.links).copied().collect(),
    };
    left.wait_until_gone().with_context(|| format!("{} programs before", names(&before)))
}

/// SIGSTOP for five seconds under load, then on: what was lost is counted, and the table is right again.
pub(crate) fn stopped_and_continued() -> Result<()> {
    const OPEN: usize = 20;
    let args = ["--lifecycle", "auto", "--ring-size", "65536", "--audit=200ms"];
    netns::run(|netns| {
        let mut tracer = Tracer::start(&args)?;
        thread::sleep(pause(Duration::from_millis(500)));
        tracer.signal(Signal::STOP)?;
        let stopped = Instant::now();
        let listener = std::net::TcpListener::bind(("127.0.0.1", unique_port()))?;
        let service = listener.local_addr()?.port();
        hammer(machine::load(5_000))?;
        let mut open = Vec::new();
        for _ in 0..OPEN {
            let client = std::net::TcpStream::connect(listener.local_addr()?)?;
            open.push((client, listener.accept()?.0));
        }
        hammer(machine::load(5_000))?;
        thread::sleep(Duration::from_secs(5).saturating_sub(stopped.elapsed()));
        tracer.signal(Signal::CONT)?;
        // Looks at the kernel's tables, after the last loss.
        thread::sleep(pause(Duration::from_secs(4)));
        let ports: BTreeSet<u16> =
            open.iter().flat_map(|(client, _)| client.local_addr()).map(|addr| addr.port()).collect();
        for (client, mut server) in open {
            close(client);
            read_end(&mut server)?;
            close(server);
        }
        thread::sleep(pause(Duration::from_millis(500)));
        let capture = tracer.stop()?.only(|row| row.netns == Some(netns.inode));
        let summary = &capture.summary;
        ensure!(summary.get("lost")? > 0 && summary.get("corrected")? > 0, "{summary:?}");
        ensure!(summary.get("audits")? > 0, "{summary:?}");
        ensure!(
            summary.get("opened")? == summary.get("closed")? + summary.get("live")?,
            "do not add up: {summary:?}"
        );
        // What had happened to them meanwhile was lost; what happens now is told as if it had not been.
        for port in ports {
            // The load may have used the same port, to its own service.
            let rows = capture.select(|row| {
                row.lport == Some(port) && row.is_client_of(service) && row.old == "ESTABLISHED"
            });
            ensure!(
                rows.len() == 1 && rows.iter().all(|row| row.new == "FIN_WAIT1" && row.comm.is_some()),
                "port {port}:\n{}",
                table(rows)
            );
        }
        Ok(())
    })
}

/// Nobody reads its output: it waits, in bounded memory, and counts what it could not take in. Ctrl-C twice ends it.
pub(crate) fn stalled_reader() -> Result<()> {
    netns::run(|netns| {
        let only_here = format!("inode:{}", netns.inode);
        let mut tracer = Tracer::start_with_open_pipe(&["--ring-size", "1048576", "-N", &only_here])?;
        let pipe = tracer.take_pipe().context("no pipe")?;
        hammer(machine::load(10_000))?;
        let first = tracer.status_kib("VmHWM")?;
        hammer(machine::load(30_000))?;
        let second = tracer.status_kib("VmHWM")?;
        ensure!(
            second < first + 4096,
            "{first} KiB after some connections, {second} KiB after three times more"
        );
        // Read again, it goes on and says what it has missed.
        let (mut lost, mut rows) = (0, 0_u64);
        let mut lines = BufReader::new(pipe).lines();
        let (sender, read) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        while let Ok(line) = read.recv_timeout(patience(Duration::from_secs(2))) {
            let value: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            match value["type"].as_str() {
                Some("lost") => lost += value["count"].as_u64().with_context(|| line.clone())?,
                Some("transition") => rows += 1,
                _ => {}
            }
        }
        ensure!(lost > 0 && rows > 0, "{lost} lost, {rows} rows");
        let status = tracer.interrupt()?;
        ensure!(status.code() == Some(0), "ended with {status}: {}", tracer.stderr());
        drop(reader);
        Ok(())
    })
}

/// As long as nobody reads, it cannot end in good order: the second signal ends it at once.
pub(crate) fn stalled_reader_and_ctrl_c() -> Result<()> {
    let mut tracer = Tracer::start_with_open_pipe(&[])?;
    let pipe = tracer.take_pipe().context("no pipe")?;
    netns::run(|_| hammer(machine::load(5_000)))?;
    tracer.signal(Signal::INT)?;
    thread::sleep(pause(Duration::from_millis(500)));
    tracer.signal(Signal::INT)?;
    let status = tracer.wait_end(patience(Duration::from_secs(5)))?;
    ensure!(status.code() == Some(130), "ended with {status}: {}", tracer.stderr());
    drop(pipe);
    Ok(())
}

/// A full disk is said, and is an error.
pub(crate) fn full_disk() -> Result<()> {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").context("/dev/full")?;
    let mut tracer = Tracer::start_to(&[], full)?;
    netns::run(|_| hammer(machine::load(100)))?;
    let status = tracer.wait_end(patience(Duration::from_secs(10)))?;
    let said = tracer.stderr();
    ensure!(status.code() == Some(2), "ended with {status}: {said}");
    ensure!(said.contains("No space left on device"), "{said}");
    Ok(())
}

/// The wall clock is put forward and back while a connection lives: its times are of another clock, its stamps are not.
pub(crate) fn clock_step() -> Result<()> {
    const STEP: i64 = 3600;
    let step = |seconds: i64| -> Result<()> {
        let now = clock_gettime(ClockId::Realtime);
        clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec + seconds, tv_nsec: now.tv_nsec })
            .context("clock_settime")
    };
    if !machine::is_own() {
        eprintln!(
            "SKIPPED: faults::clock_step: only where the whole machine is the test's own (cargo xtask vm)"
        );
        return Ok(());
    }
    let tracer = Tracer::start(&[])?;
    let (inode, held) = netns::run(|netns| {
        let mut pair = Pair::v4(unique_port())?;
        let since = Instant::now();
        thread::sleep(HOLD);
        step(STEP)?;
        thread::sleep(HOLD);
        close(pair.client);
        read_end(&mut pair.server)?;
        let held = since.elapsed();
        close(pair.server);
        netns::settle_but_listeners()?;
        Ok((netns.inode, held))
    })?;
    step(-STEP)?;
    thread::sleep(HOLD);
    let capture = tracer.stop()?;
    let rows = capture.select(|row| row.netns == Some(inode) && row.role.as_deref() == Some("client"));
    let closing = rows.iter().find(|row| row.new == "FIN_WAIT1").context("no FIN_WAIT1")?;
    let dwell = Duration::from_nanos(closing.duration_ns.context("no duration")?);
    ensure!(dwell.abs_diff(held) < patience(Duration::from_millis(100)), "{dwell:?} instead of {held:?}");
    let opening = rows.iter().find(|row| row.new == "SYN_SENT").context("no SYN_SENT")?;
    let (from, to) = (opening.wall, closing.wall);
    let apart = to.duration_since(from).as_secs();
    ensure!((STEP..STEP + 60).contains(&apart), "{from} and {to} are {apart} s apart");
    ensure!(
        capture.summary.get("backwards")? == 0 && capture.summary.get("gaps")? == 0,
        "{:?}",
        capture.summary
    );
    Ok(())
}

/// A processor is taken away and comes back under load.
pub(crate) fn processor_unplugged() -> Result<()> {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    if !machine::is_own() || fs::metadata(ONLINE).is_err() {
        eprintln!("SKIPPED: faults::processor_unplugged: only where the whole machine is the test's own");
        return Ok(());
    }
    let tracer = Tracer::start(&["--lifecycle", "auto"])?;
    let connections = machine::load(10_000);
    let inode = netns::run(|netns| {
        thread::scope(|scope| {
            let load = scope.spawn(|| (0..4).try_for_each(|_| hammer(connections)));
            while !load.is_finished() {
                fs::write(ONLINE, "0").context(ONLINE)?;
                thread::sleep(Duration::from_millis(300));
                fs::write(ONLINE, "1").context(ONLINE)?;
                thread::sleep(Duration::from_millis(300));
            }
            load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
        })?;
        Ok(netns.inode)
    })?;
    tracer.wait_idle(patience(Duration::from_secs(30)))?;
    let capture = tracer.stop()?;
    let summary = &capture.summary;
    ensure!(summary.get("lost")? == 0 && summary.get("gaps")? == 0, "{summary:?}");
    let clients = capture.select(|row| row.netns == Some(inode) && row.new == "SYN_SENT").len();
    ensure!(clients == 4 * connections, "{clients} of {}", 4 * connections);
    Ok(())
}

/// Two at once see the same.
pub(crate) fn two_at_once() -> Result<()> {
    let connections = machine::load(10_000);
    let (tracers, inode) = netns::run(|netns| {
        let only_here = format!("inode:{}", netns.inode);
        let start = || Tracer::start(&["--lifecycle", "auto", "-N", &only_here]);
        let tracers = [start()?, start()?];
        hammer(connections)?;
        Ok((tracers, netns.inode))
    })?;
    let mut counts = Vec::new();
    for tracer in tracers {
        tracer.wait_idle(patience(Duration::from_secs(30)))?;
        let capture = tracer.stop()?.only(|row| row.netns == Some(inode));
        ensure!(capture.summary.get("lost")? == 0, "{:?}", capture.summary);
        // Half-open sockets may be seen by one only of two that begin one after the other; full ones not.
        let of = |old: &str, new: &str| capture.select(|row| row.old == old && row.new == new).len();
        counts.push([
            of("CLOSE", "SYN_SENT"),
            of("SYN_SENT", "ESTABLISHED"),
            of("ESTABLISHED", "FIN_WAIT1"),
            of("LISTEN", "SYN_RECV"),
            of("LAST_ACK", "CLOSE"),
        ]);
    }
    ensure!(counts[0] == counts[1] && counts[0] == [connections; 5], "{counts:?} of {connections}");
    Ok(())
}

/// How long [`soak`] takes, in seconds, where the usual time is not meant.
const SOAK_SECONDS: &str = "TCPTRACE_TEST_SOAK_SECONDS";

/// Full churn for a while (`TCPTRACE_TEST_SOAK_SECONDS`, 15 otherwise): memory stays flat.
pub(crate) fn soak() -> Result<()> {
    let seconds = match std::env::var(SOAK_SECONDS) {
        Ok(seconds) => seconds.parse().context(SOAK_SECONDS)?,
        Err(_) => 15,
    };
    let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
    let mut tracer = Tracer::start_to(&["--lifecycle", "auto", "-o", "text"], null)?;
    let begun = Instant::now();
    let mut connections = 0;
    let mut sizes = Vec::new();
    while begun.elapsed() < Duration::from_secs(seconds) {
        // A namespace of its own for each, so that time-wait sockets do not pile up: they go with it.
        connections += netns::run(|_| {
            let count = machine::load(20_000);
            hammer(count)?;
            Ok(count)
        })?;
        sizes.push(tracer.status_kib("VmRSS")?);
    }
    let status = tracer.interrupt()?;
    let said = tracer.stderr();
    ensure!(status.success(), "{status}: {said}");
    let summary = said.lines().find(|line| line.contains(" lost; ")).with_context(|| said.clone())?;
    eprintln!("{connections} connections in {:?}: {sizes:?} KiB; {summary}", begun.elapsed());
    // An emulated processor makes no full churn, and is too slow for what it makes. In many minutes there may be a moment
    // at which a virtual machine does not run.
    let count =
        |words: &str| -> Option<u64> { summary.split_once(words)?.0.rsplit(' ').next()?.parse().ok() };
    let (events, lost) = count(" events (").zip(count(" lost; ")).with_context(|| summary.to_owned())?;
    let most = if seconds > 60 { events / 1000 } else { 0 };
    ensure!(machine::is_slow() || lost <= most, "{lost} lost: {summary}");
    let Some((first, last)) = sizes.get(sizes.len() / 3).zip(sizes.last()) else { bail!("too short") };
    ensure!(*last < first + first / 10 + 4096, "{sizes:?} KiB");
    Ok(())
}
