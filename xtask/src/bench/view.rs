//! What the full-screen view takes of a processor with very many connections and changes, and how soon it answers a key.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    contender::usage_of,
    kit::{Held, Kit},
    netns::Netns,
    progress,
    sample::{Samples, float, millis},
    table::{Row, Section, Target},
};
use crate::pty::{OnTerminal, Size};

/// The terminal.
const SIZE: Size = Size { columns: 120, lines: 40 };

/// Sockets that stay open, besides those in TIME_WAIT that the load leaves.
const OPEN: u64 = 84_000;

/// Of these, a process holds so many at most: a limit on descriptors cannot be raised everywhere.
const EACH_PROCESS: u64 = 4_000;

/// Threads of the load, and their rest between two connections: ten changes each, 20,000 a second together.
const THREADS: u64 = 2;
const REST_US: u64 = 880;

/// A page: its key, words that are on it and on no other, its name.
const PAGES: [(&str, &str, &str); 6] = [
    ("1", "Opened and closed a second", "overview"),
    ("2", "by STALE", "connections"),
    ("3", "EST p50", "ports"),
    ("4", "NOT ACC", "processes"),
    ("5", "A MINUTE", "findings"),
    ("6", "median stay", "diagram"),
];

/// Times that a key is pressed on each round.
const KEYS: usize = 20;

/// Until something is on the screen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A load that goes on until it is dropped.
struct Load {
    child: Child,
    _netns: Netns,
}

impl Load {
    fn start(kit: &Kit) -> Result<Self> {
        let netns = Netns::make()?;
        let mut command = netns.command(&kit.bench);
        command.args(["churn", "--kind", "bare", "--connections", "100000000", "--time-limit-s", "3600"]);
        command.args(["--threads", &THREADS.to_string(), "--rest-us", &REST_US.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, _netns: netns })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures it.
pub(crate) fn measure(kit: &Kit) -> Result<Section> {
    let open = kit.size(OPEN, 8_000);
    let netns = Netns::make()?;
    let holders = (0..open.div_ceil(EACH_PROCESS)).map(|i| {
        let held = (open - i * EACH_PROCESS).min(EACH_PROCESS).to_string();
        let port = (900 + i).to_string();
        Held::start(netns.command(&kit.bench).args(["sockets", &held, "--port", &port]))
    });
    let _sockets = holders.collect::<Result<Vec<_>>>()?;
    let _load = Load::start(kit)?;
    // Those in TIME_WAIT stay for 60 s.
    let settling = Duration::from_secs(kit.size(65, 5));
    progress(&format!(
        "view: {open} open sockets; {} s until those in TIME_WAIT are as many as they get",
        settling.as_secs()
    ));
    thread::sleep(settling);

    let summary = without_view(kit)?;
    let Measured { pages, keys, events, tracked } = with_view(kit)?;
    let title = format!(
        "Full-screen view, {}x{}: {} connections tracked, {} changes a second (as its own screen says)",
        SIZE.columns, SIZE.lines, tracked, events
    );
    let mut rows = Vec::new();
    for ((.., name), cpu) in PAGES.into_iter().zip(pages) {
        let row =
            Row::new(format!("view.{name}.cpu"), format!("page {name}, share of a processor"), "%", cpu);
        rows.push(row.target(Target::at_most(3.0)));
    }
    rows.push(Row::new("view.summary.cpu", "watch -o summary before it, share of a processor", "%", summary));
    let median = keys.median().into_iter().collect::<Samples>();
    rows.push(
        Row::new("view.key", "from a key to the page that it turns to, median", "ms", median)
            .target(Target::at_most(50.0)),
    );
    let worst = keys.max().into_iter().collect::<Samples>();
    rows.push(Row::new("view.key.worst", "  the slowest", "ms", worst));
    Ok(Section { title, rows })
}

/// What was measured.
struct Measured {
    pages: [Samples; PAGES.len()],
    keys: Samples,
    events: String,
    tracked: String,
}

/// The same load seen by a program that shows nothing, alone: two would take the caches from each other.
fn without_view(kit: &Kit) -> Result<Samples> {
    let mut lines = Command::new(&kit.tcptrace)
        .args(["watch", "-o", "summary", "--max-connections", "2000000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start tcptrace")?;
    thread::sleep(Duration::from_secs(kit.size(15, 3)));
    let shares = (0..kit.rounds).map(|_| share_of(lines.id(), kit)).collect();
    let _ = Command::new("kill").args(["-INT", &lines.id().to_string()]).status();
    lines.wait()?;
    shares
}

/// What a process takes of a processor for some seconds, in percent.
fn share_of(pid: u32, kit: &Kit) -> Result<f64> {
    let (before, begun) = (usage_of(pid)?, Instant::now());
    thread::sleep(Duration::from_secs(kit.size(10, 3)));
    let wall = float(u64::try_from(begun.elapsed().as_nanos())?);
    Ok(float(usage_of(pid)?.cpu_ns - before.cpu_ns) / wall * 100.0)
}

fn with_view(kit: &Kit) -> Result<Measured> {
    let mut view = OnTerminal::start(&kit.tcptrace, &["watch", "--max-connections", "2000000"], SIZE)?;
    view.wait_for("1 Overview", PATIENCE)?;
    // The sockets that were open before are read, and the first looks are over.
    thread::sleep(Duration::from_secs(kit.size(15, 3)));
    let mut pages: [Samples; PAGES.len()] = std::array::from_fn(|_| Samples::default());
    let mut keys = Samples::default();
    for round in 1..=kit.rounds {
        progress(&format!("view: round {round} of {}", kit.rounds));
        for ((key, words, _), cpu) in PAGES.into_iter().zip(&mut pages) {
            view.press(key)?;
            view.wait_for(words, PATIENCE)?;
            cpu.push(share_of(view.pid(), kit)?);
        }
        for press in 0..KEYS {
            let (key, words, _) = PAGES[press % PAGES.len()];
            view.press(key)?;
            keys.push(millis(view.wait_for(words, PATIENCE)?));
            // Not in step with the view's own drawing.
            thread::sleep(Duration::from_millis(211 + 37 * u64::try_from(press)? % 90));
        }
    }
    let text = view.text();
    let status = text.lines().nth(1).unwrap_or_default().to_owned();
    let word = |before: &str| {
        status.split("  ").map(str::trim).find_map(|part| part.strip_suffix(before)).map(str::to_owned)
    };
    let tracked = word(" open").context("the number of connections is on the screen")?;
    let events = word(" transitions/s").context("the rate is on the screen")?;
    ensure!(status.contains("0 lost") || status.contains("LOST"), "losses are on the screen: {status}");
    view.quit(PATIENCE)?;
    Ok(Measured { pages, keys, events, tracked })
}
