//! How long it takes until tcptrace sees something, and how large it is.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    kit::{Held, Kit, number},
    netns::Netns,
    progress,
    sample::{Samples, float, millis},
    table::{Row, Section},
};
use crate::workspace::{output, target_dir};

/// Open sockets to find.
const SOCKETS: [(u64, &str); 3] = [(1_000, "1k"), (10_000, "10k"), (100_000, "100k")];

/// Of these, a process holds so many at most: a limit on descriptors cannot be raised everywhere.
const EACH_PROCESS: u64 = 4_000;

/// Between two connections, so that the reader sleeps.
const REST: Duration = Duration::from_millis(100);

/// Measures it all.
pub(crate) fn measure(kit: &Kit) -> Result<Section> {
    let [mut attached, mut first, mut latency] = std::array::from_fn(|_| Samples::default());
    for round in 1..=kit.rounds {
        progress(&format!("start: round {round} of {}", kit.rounds));
        attached.push(millis(until_lines(kit, 1)?));
        let netns = Netns::make()?;
        let trickle = Held::start(netns.command(&kit.bench).args(["trickle", "--every-ms", "1"]))?;
        first.push(millis(until_lines(kit, 2)?));
        drop(trickle);
        latency.push(until_shown(kit)?);
    }
    let mut rows = vec![
        Row::new("start.attached", "from the start until it is attached", "ms", attached),
        Row::new("start.first_event", "from the start to the first line (a connection each ms)", "ms", first),
        Row::new(
            "start.latency",
            "from a call of connect to its line, when nothing else happens",
            "ms",
            latency,
        ),
    ];
    let sizes = &SOCKETS[..if kit.is_quick { 1 } else { SOCKETS.len() }];
    for (count, name) in sizes {
        rows.extend(seeding(kit, *count, name)?);
    }
    rows.extend(binary(kit)?);
    Ok(Section { title: "Start of tcptrace watch, and its size".to_owned(), rows })
}

/// A tcptrace whose lines we read.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(kit: &Kit, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(&kit.tcptrace);
        command.arg("watch").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let lines = BufReader::new(child.stdout.take().context("is piped")?);
        Ok(Self { child, lines })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        ensure!(!line.is_empty(), "tcptrace has ended");
        Ok(line)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        // It must not wait for us to read.
        let _ = std::io::copy(&mut self.lines, &mut std::io::sink());
        let _ = self.child.wait();
    }
}

/// The first line, with the names of the columns, comes when it is attached.
fn until_lines(kit: &Kit, lines: usize) -> Result<Duration> {
    let start = Instant::now();
    let mut watch = Watch::start(kit, &[])?;
    for _ in 0..lines {
        watch.line()?;
    }
    Ok(start.elapsed())
}

/// Milliseconds from `connect` to the line about it, as whoever reads the pipe sees it.
fn until_shown(kit: &Kit) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let mut watch = Watch::start(kit, &["-D", &port.to_string()])?;
    watch.line()?;
    let mut times = Samples::default();
    for _ in 0..20 {
        thread::sleep(REST);
        let start = Instant::now();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        watch.line()?;
        times.push(millis(start.elapsed()));
        drop(listener.accept()?);
        drop(client);
        while !watch.line()?.contains("-> CLOSE ") {}
    }
    times.median().context("it was measured")
}

/// What is done at the start about sockets that are open.
fn seeding(kit: &Kit, count: u64, name: &str) -> Result<Vec<Row>> {
    let netns = Netns::make()?;
    let processes = (0..count.div_ceil(EACH_PROCESS)).map(|i| {
        let held = (count - i * EACH_PROCESS).min(EACH_PROCESS).to_string();
        let port = (900 + i).to_string();
        Held::start(netns.command(&kit.bench).args(["sockets", &held, "--port", &port]))
    });
    let _sockets = processes.collect::<Result<Vec<_>>>()?;
    let mut took = Samples::default();
    for round in 1..=kit.rounds {
        progress(&format!("seeding: round {round} of {}: {name} sockets", kit.rounds));
        let answer = kit.ask(&["seed"])?;
        let found = number(&answer, "sockets")?;
        ensure!(found >= count, "{found} of {count} sockets were found");
        took.push(float(number(&answer, "total_ns")?) / 1e6);
    }
    let what = format!("to read {name} open sockets and take them in");
    Ok(vec![Row::new(format!("start.seeding.{name}"), what, "ms", took)])
}

fn binary(kit: &Kit) -> Result<Vec<Row>> {
    let mib = |file: &Path| -> Result<Samples> {
        let length = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
        Ok([float(length) / float(1 << 20)].into_iter().collect())
    };
    let stripped = target_dir().join("bench/tcptrace.stripped");
    let what = "the binary without symbols and line numbers";
    let strip = output(Command::new("strip").arg("-o").arg(&stripped).arg(&kit.tcptrace));
    Ok(vec![
        Row::new("size.binary", "the binary as it is built", "MiB", mib(&kit.tcptrace)?),
        match strip {
            Ok(_) => Row::new("size.stripped", what, "MiB", mib(&stripped)?),
            Err(error) => Row::absent("size.stripped", what, format!("{error:#}")),
        },
    ])
}
