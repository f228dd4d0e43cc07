//! What the command lets one choose: whose, which rule, how bad, and for how long.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::{
    finding::{Finding, read_all},
    said,
    stage::address,
};
use crate::{
    harness::{Tracer, program},
    machine::{patience, pause},
    netns,
    places::OwnCgroup,
    worker::Worker,
};

/// How many connections leak.
const COUNT: u64 = 25;

/// A server that does not close what its client has closed.
struct Leak {
    server: Worker,
    client: Worker,
    at: SocketAddr,
}

impl Leak {
    fn prepare(name: &str) -> Result<Self> {
        let at = address();
        let (mut server, client) = (Worker::start(name)?, Worker::start("peer")?);
        server.order(&format!("backlog {at} 256"))?;
        Ok(Self { server, client, at })
    }

    fn begin(&mut self) -> Result<()> {
        self.client.order(&format!("open {} {COUNT}", self.at))?;
        self.server.order(&format!("take {COUNT}"))?;
        self.client.order("let-go")
    }

    fn is(&self, finding: &Finding) -> bool {
        finding.rule == "close-wait-leak"
            && finding.pid == Some(self.server.pid())
            && finding.port == Some(self.at.port())
            && finding.count == COUNT
    }
}

const CONTAINER: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";

/// A leak in a cgroup like a container's is said to be there, and is selected by it: nothing of what is wrong elsewhere is
/// told then.
pub(crate) fn in_a_cgroup() -> Result<()> {
    let Some(cgroup) = OwnCgroup::new(&format!("docker-{CONTAINER}.scope")) else {
        eprintln!("SKIPPED: leaks::in_a_cgroup: no cgroup2 hierarchy that can be written");
        return Ok(());
    };
    netns::run(|netns| {
        let (mut inside, mut outside) = (Leak::prepare("in-cgroup")?, Leak::prepare("elsewhere")?);
        cgroup.take(inside.server.pid())?;
        // That is wrong with a process, not with a connection.
        outside.server.order("descriptors 32")?;
        let only_here = format!("inode:{}", netns.inode);
        let time = format!("{}s", pause(Duration::from_secs(4)).as_secs());
        let args = ["-N", &only_here, "--for", &time, "--older-than", "1s"];
        let selected = ["--cgroup", &cgroup.path];
        let tracers =
            [Tracer::start_leaks(&args)?, Tracer::start_leaks(&[&args[..], &selected[..]].concat())?];
        inside.begin()?;
        outside.begin()?;
        let [all, selected] = tracers.map(|tracer| said(tracer, patience(Duration::from_secs(8))));
        let (all, selected) = (all?.findings, selected?.findings);
        for found in [&all, &selected] {
            let finding = found.iter().find(|finding| inside.is(finding));
            let finding = finding.with_context(|| format!("not found in {found:#?}"))?;
            ensure!(finding.cgroup.as_deref() == Some(&*cgroup.path), "{finding}");
        }
        let of_outside: Vec<_> = all.iter().filter(|of| of.pid == Some(outside.server.pid())).collect();
        ensure!(of_outside.iter().any(|finding| outside.is(finding)), "{all:#?}");
        ensure!(of_outside.iter().any(|finding| finding.rule == "fd-exhaustion"), "{all:#?}");
        ensure!(of_outside.iter().all(|of| of.cgroup.as_deref() != Some(&*cgroup.path)), "{all:#?}");
        ensure!(selected.len() == 1, "more than the cgroup's: {selected:#?}");
        Ok(())
    })
}

/// The functions that accepted what leaks, and how many each.
pub(crate) fn stacks() -> Result<()> {
    let (found, pid) = netns::run(|netns| {
        let mut leak = Leak::prepare("leaks-here")?;
        let only_here = format!("inode:{}", netns.inode);
        let time = format!("{}s", pause(Duration::from_secs(4)).as_secs());
        let rule = ["--rule", "close-wait-leak", "--older-than", "1s"];
        let tracer =
            Tracer::start_leaks(&[&["-N", &only_here, "--stacks", "--for", &time], &rule[..]].concat())?;
        leak.begin()?;
        leak.client.order(&format!("open {} 5", leak.at))?;
        leak.server.order("take-elsewhere 5")?;
        leak.client.order("let-go")?;
        Ok((said(tracer, patience(Duration::from_secs(8)))?.findings, leak.server.pid()))
    })?;
    ensure!(found.len() == 1 && found[0].pid == Some(pid) && found[0].count == COUNT + 5, "{found:#?}");
    let made_by = |function: &str| -> u64 {
        let is_it = |frame: &String| frame.split("::").any(|part| part.starts_with(function));
        let stacks = found[0].stacks.iter().filter(|(_, frames)| frames.iter().any(is_it));
        stacks.map(|(count, _)| count).sum()
    };
    let (here, elsewhere) = (made_by("accepts_and_forgets"), made_by("accepts_elsewhere"));
    ensure!((here, elsewhere) == (COUNT, 5), "{here} and {elsewhere}: {:#?}", found[0].stacks);
    Ok(())
}

/// It exits with 1 where what it was asked to fail on is there, with 0 where not, with 2 where it was not understood.
pub(crate) fn fail_on() -> Result<()> {
    const CASES: [(&str, i32); 5] = [
        ("warning", 1),
        ("critical", 0),
        ("close_wait.count>=20 && close_wait.age>1s && !(close-wait-leak.count != 1)", 1),
        ("close_wait.count>1000 || time_wait.count > 1000", 0),
        ("close_wait.count >> 3", 2),
    ];
    netns::run(|netns| {
        let mut leak = Leak::prepare("leaks-here")?;
        leak.begin()?;
        let only_here = format!("inode:{}", netns.inode);
        let time = format!("{}s", pause(Duration::from_secs(4)).as_secs());
        let run = |condition: &str| -> Result<Output> {
            let mut command = Command::new(program());
            command.args(["leaks", "-o", "json", "-N", &only_here, "--for", &time, "--older-than", "1s"]);
            command.args(["--fail-on", condition]).stdin(Stdio::null()).output().context("leaks")
        };
        let outputs = thread::scope(|scope| {
            let runs = CASES.map(|(condition, _)| scope.spawn(move || run(condition)));
            runs.map(|run| run.join().map_err(|_| anyhow!("a thread panicked")).flatten())
        });
        for ((condition, code), output) in CASES.into_iter().zip(outputs) {
            let output = output?;
            let (said, warned) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
            ensure!(output.status.code() == Some(code), "{condition}: {}: {warned}{said}", output.status);
            if code == 2 {
                ensure!(said.is_empty() && warned.lines().count() == 1, "{condition}: {warned}{said}");
                continue;
            }
            ensure!(read_all(&said)?.findings.iter().any(|finding| leak.is(finding)), "{condition}: {said}");
        }
        Ok(())
    })
}

/// A finding is told when it appears, and when it has gone.
pub(crate) fn watch() -> Result<()> {
    netns::run(|netns| {
        let mut leak = Leak::prepare("leaks-here")?;
        let pid = leak.server.pid();
        let only_here = format!("inode:{}", netns.inode);
        let tracer = Tracer::start_leaks(&["--watch", "-N", &only_here, "--older-than", "1s"])?;
        let of_status = |status: &str| -> Result<Vec<Value>> {
            let text = fs::read_to_string(tracer.stdout())?;
            // The last line may not be whole yet.
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(lines.filter(|line| line["type"] == "finding" && line["status"] == status).collect())
        };
        let is_it = |line: &Value| line["rule"] == "close-wait-leak" && line["pid"] == pid;
        let wait = |status: &str| -> Result<()> {
            let deadline = Instant::now() + patience(Duration::from_secs(6));
            while !of_status(status)?.iter().any(is_it) {
                ensure!(
                    Instant::now() < deadline,
                    "nothing {status} in\n{}",
                    fs::read_to_string(tracer.stdout())?
                );
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        };
        thread::sleep(pause(Duration::from_millis(500)));
        ensure!(of_status("new")?.is_empty(), "a finding without a leak");
        leak.begin()?;
        wait("new")?;
        ensure!(of_status("gone")?.is_empty(), "gone while it was there");
        leak.server.kill()?;
        wait("gone")?;
        let output = tracer.stop_raw()?;
        let found = read_all(&std::io::read_to_string(output)?)?.findings;
        let ours: Vec<_> = found.iter().filter(|of| of.rule == "close-wait-leak").collect();
        let count = |status: &str| ours.iter().filter(|of| of.status == status).count();
        ensure!(count("new") == 1 && count("gone") == 1, "{ours:#?}");
        Ok(())
    })
}
