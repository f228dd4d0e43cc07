//! `tcptrace hist` against dwells that the test makes.

use std::{
    io::BufRead as _,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    harness::Tracer,
    machine::{self, Feature, pause},
    netns::{self, unique_port},
    traffic::{Pair, close, read_end},
};

/// Everything that a run has printed, object by object.
pub(crate) fn objects(tracer: Tracer) -> Result<Vec<Value>> {
    let lines = std::io::BufReader::new(tracer.stop_raw()?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// The histogram of a key, of all the time.
pub(crate) fn histogram<'a>(objects: &'a [Value], key: &str) -> Result<&'a Value> {
    let is_it = |object: &&Value| {
        object["type"] == "histogram" && object["span"] == "total" && object["key"].as_str() == Some(key)
    };
    let found: Vec<_> = objects.iter().filter(is_it).collect();
    ensure!(found.len() == 1, "{} histograms of {key} in {objects:#?}", found.len());
    Ok(found[0])
}

/// A state of a histogram.
pub(crate) fn state<'a>(histogram: &'a Value, state: &str) -> Result<&'a Value> {
    let states = histogram["states"].as_array().context("no states")?;
    states.iter().find(|of| of["state"] == state).with_context(|| format!("no {state} in {histogram:#?}"))
}

/// How often one state followed another.
pub(crate) fn transitions(histogram: &Value, from: &str, to: &str) -> u64 {
    let all = histogram["transitions"].as_array().into_iter().flatten();
    let mut of = all.filter(|arrow| arrow["from"] == from && arrow["to"] == to);
    of.next().and_then(|arrow| arrow["count"].as_u64()).unwrap_or(0)
}

/// Clients that close at once, and a server that takes its time: returns how long each took, by the clock of the test.
fn served_late(port: u16, dwell: Duration, count: usize) -> Result<Vec<Duration>> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let mut open = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let (mut server, _) = listener.accept()?;
        let begun = Instant::now();
        close(client);
        read_end(&mut server)?;
        open.push((begun, server));
    }
    let mut took = Vec::new();
    for (begun, server) in open {
        thread::sleep(dwell.saturating_sub(begun.elapsed()));
        close(server);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

/// By nearest rank.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// Three services that take 20 ms, 200 ms and 2 s to close: each in its row, true to 2 % and 1 ms.
pub(crate) fn known_dwells() -> Result<()> {
    let count = machine::load(300);
    let dwells = [20, 200, 2000].map(Duration::from_millis);
    let (objects, truths) = netns::run(|netns| {
        let only_here = format!("inode:{}", netns.inode);
        let tracer = Tracer::start_hist(&["-N", &only_here, "--lifecycle", "auto"])?;
        let truths = thread::scope(|scope| {
            let services = dwells.map(|dwell| {
                let port = unique_port();
                scope.spawn(move || Ok((port, served_late(port, dwell, count)?)))
            });
            let ended = services
                .into_iter()
                .map(|service| service.join().map_err(|_| anyhow::anyhow!("a service panicked"))?);
            ended.collect::<Result<Vec<(u16, Vec<Duration>)>>>()
        })?;
        thread::sleep(pause(Duration::from_millis(500)));
        Ok((objects(tracer)?, truths))
    })?;
    let summary = objects.last().context("nothing printed")?;
    ensure!(summary["type"] == "summary" && summary["lost"] == 0, "{summary:#?}");
    for (port, truth) in truths {
        let histogram = histogram(&objects, &port.to_string())?;
        let closing = state(histogram, "CLOSE_WAIT")?;
        for (name, percent) in [("p50_ns", 50), ("p99_ns", 99)] {
            let found = Duration::from_nanos(closing[name].as_u64().context(name)?);
            let truth = quantile(&truth, percent);
            // On an emulated processor p99 is the slowest of thirty.
            let slack = match (machine::is_slow(), percent) {
                (false, _) => 1,
                (true, 50) => 10,
                (true, _) => 50,
            };
            ensure!(
                found.abs_diff(truth) <= truth / 50 + Duration::from_millis(slack),
                "port {port}: {name} {found:?} instead of {truth:?}"
            );
        }
        let count = count as u64;
        for (name, wanted) in [
            ("SYN_SENT", count),
            ("SYN_RECV", count),
            ("ESTABLISHED", 2 * count),
            ("CLOSE_WAIT", count),
            ("LAST_ACK", count),
        ] {
            let stays = state(histogram, name)?;
            let (exact, bounds) =
                (stays["count"].as_u64(), stays["at_least"]["began_unseen"]["count"].as_u64());
            ensure!(exact.zip(bounds).map(|(a, b)| a + b) == Some(wanted), "port {port}: {name}: {stays:#?}");
        }
        ensure!(transitions(histogram, "LISTEN", "SYN_RECV") == count, "{histogram:#?}");
        ensure!(histogram["endings"]["orderly"].as_u64() == Some(count), "{histogram:#?}");
        // The clients' sockets are still in TIME_WAIT, which is followed where there are cookies.
        if Feature::Cookies.is_there() {
            let waiting = state(histogram, "TIME_WAIT")?;
            ensure!(waiting["at_least"]["open"]["count"].as_u64() == Some(count), "{waiting:#?}");
        }
    }
    Ok(())
}

/// Intervals are differences: together they are the total.
pub(crate) fn intervals() -> Result<()> {
    let objects = netns::run(|netns| {
        let only_here = format!("inode:{}", netns.inode);
        let tracer = Tracer::start_hist(&["-N", &only_here, "--by", "role", "0.3"])?;
        for _ in 0..5 {
            let mut pair = Pair::v4(unique_port())?;
            close(pair.client);
            read_end(&mut pair.server)?;
            close(pair.server);
            thread::sleep(Duration::from_millis(150));
        }
        thread::sleep(pause(Duration::from_millis(600)));
        objects(tracer)
    })?;
    let spans = |span: &str, key: &str| -> Vec<&Value> {
        let of = objects.iter().filter(|object| object["type"] == "histogram");
        of.filter(|object| object["span"] == span && object["key"] == key).collect()
    };
    for key in ["client", "server"] {
        let (parts, total) = (spans("interval", key), spans("total", key));
        ensure!(
            parts.len() >= 2 && total.len() == 1,
            "{key}: {} intervals, {} totals",
            parts.len(),
            total.len()
        );
        for (from, to) in [("CLOSE", "SYN_SENT"), ("LISTEN", "SYN_RECV"), ("LAST_ACK", "CLOSE")] {
            let sum: u64 = parts.iter().map(|part| transitions(part, from, to)).sum();
            ensure!(sum == transitions(total[0], from, to), "{key}: {from} -> {to}: {sum}: {objects:#?}");
        }
    }
    let opened = transitions(spans("total", "client")[0], "CLOSE", "SYN_SENT");
    ensure!(opened == 5, "{opened} connections");
    Ok(())
}

/// It ends after so many intervals, with a total; a diagram and a comparison are made of the same.
pub(crate) fn count_of_intervals() -> Result<()> {
    let run = |args: &[&str]| -> Result<String> {
        let output = std::process::Command::new(crate::harness::program())
            .arg("hist")
            .args(args)
            .stdin(std::process::Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{args:?}: {}: {said}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    };
    let json = run(&["-o", "json", "0.2", "2"])?;
    let last = json.lines().last().context("nothing printed")?;
    ensure!(last.contains("\"summary\""), "{last}");
    let diagram = run(&["--diagram", "svg", "--duration", "100ms"])?;
    ensure!(diagram.starts_with("<svg") && diagram.trim_end().ends_with("</svg>"), "{diagram}");
    let file = tempfile::NamedTempFile::new()?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    std::fs::write(file.path(), run(&["-o", "json", "--duration", "300ms"])?)?;
    let path = file.path().to_str().context("a path")?;
    let compared = run(&["--compare", path, "--duration", "300ms"])?;
    let port = listener.local_addr()?.port();
    ensure!(compared.contains(&format!("port {port}")) && compared.contains("before: "), "{compared}");
    Ok(())
}
