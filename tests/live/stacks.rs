//! User stacks: which code connects, accepts and closes.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    harness::Tracer,
    machine::{self, patience, pause},
    netns::{self, Netns},
    worker::Worker,
};

/// Connects to itself over loopback and closes, each in a function of its own.
const PROGRAM: &str = r"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address;

__attribute__((noinline)) int opens_it(void) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&address, sizeof address)) exit(3);
    return client + (client < 0);
}

__attribute__((noinline)) int accepts_it(int server) {
    int peer = accept(server, 0, 0);
    return peer + (peer < 0);
}

__attribute__((noinline)) int closes_it(int client) {
    return close(client) + 0 * client;
}

int main(void) {
    socklen_t size = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server, (struct sockaddr *)&address, size) || listen(server, 1)) return 1;
    if (getsockname(server, (struct sockaddr *)&address, &size)) return 2;
    int client = opens_it();
    int peer = accepts_it(server);
    usleep(20000);
    closes_it(client);
    usleep(20000);
    closes_it(peer);
    // Of a process that has ended there is nothing to read.
    getchar();
    return 0;
}
";

/// The functions of each call are named, with file and line; other calls have their own; and it is told which the accepting
/// one was before the connection closes.
pub(crate) fn of_each_call() -> Result<()> {
    check(&["-O0", "-fno-omit-frame-pointer"])
}

/// As most programs are compiled: by frame pointers nothing is found.
pub(crate) fn without_frame_pointers() -> Result<()> {
    check(&["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"])
}

/// Nothing else fills its ring: stacks are not taken when it is half full.
fn tracer(netns: &Netns) -> Result<Tracer> {
    Tracer::start(&["--lifecycle", "auto", "--stacks", "-N", &format!("inode:{}", netns.inode)])
}

fn check(flags: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, program) = (dir.path().join("calls.c"), dir.path().join("calls"));
    fs::write(&source, PROGRAM)?;
    let mut compile = Command::new("cc");
    compile.arg("-g").args(flags).arg("-o").arg(&program).arg(&source);
    let Ok(output) = compile.output() else {
        eprintln!("SKIPPED: stacks: no cc");
        return Ok(());
    };
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    let (tracer, inode) = netns::run(|netns| {
        let tracer = tracer(netns)?;
        let mut running = Command::new(&program).stdin(Stdio::piped()).spawn()?;
        thread::sleep(pause(Duration::from_millis(300)));
        tracer.wait_idle(patience(Duration::from_secs(30)))?;
        drop(running.stdin.take());
        let status = running.wait()?;
        ensure!(status.success(), "{status}");
        Ok((tracer, netns.inode))
    })?;
    let text = fs::read_to_string(tracer.stdout())?;
    tracer.stop()?;
    let rows: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|row| row["type"] == "transition" && row["netns"] == inode)
        .collect();
    let stack = |role: &str, new: &str| -> Result<Vec<String>> {
        let row = rows
            .iter()
            .find(|row| row["role"] == role && row["new_state"] == new)
            .with_context(|| format!("no {role} that enters {new} in\n{text}"))?;
        let frames = row["stack"].as_array().with_context(|| format!("no stack: {row}"))?;
        for frame in frames {
            ensure!(frame["addr"].as_u64().is_some_and(|addr| addr > 0), "{frame}");
            if frame["symbol"] == "opens_it" {
                let is_there = frame["file"].as_str().is_some_and(|file| file.ends_with("calls.c"))
                    && frame["line"] == 12
                    && frame["module"].as_str().is_some_and(|module| module.ends_with("calls"));
                ensure!(is_there, "{frame}");
            }
        }
        Ok(frames.iter().filter_map(|frame| frame["symbol"].as_str().map(str::to_owned)).collect())
    };
    for (role, new, expected) in [
        ("client", "SYN_SENT", "opens_it"),
        ("client", "ESTABLISHED", "opens_it"),
        ("client", "FIN_WAIT1", "closes_it"),
        ("server", "CLOSE_WAIT", "accepts_it"),
        ("server", "LAST_ACK", "closes_it"),
    ] {
        let symbols = stack(role, new)?;
        let of_ours: Vec<&str> = symbols
            .iter()
            .map(String::as_str)
            .filter(|name| name.ends_with("_it") || *name == "main")
            .collect();
        ensure!(of_ours == [expected, "main"], "{role} {new}: {symbols:?} instead of {expected}");
    }
    let listen = stack("server", "LISTEN")?;
    ensure!(listen.iter().any(|name| name == "main"), "{listen:?}");
    Ok(())
}

/// This program itself, which is there where no compiler is: all its calls are made from one function.
pub(crate) fn of_this_program() -> Result<()> {
    netns::run(|netns| {
        let tracer = tracer(netns)?;
        let (mut server, mut client) = (Worker::start("live-server")?, Worker::start("live-client")?);
        // Where the processor is emulated, the symbols of the first stacks come too late.
        let mut tries = machine::rounds(1) + if machine::is_slow() { 5 } else { 0 };
        loop {
            let port = netns::unique_port();
            server.order(&format!("listen 127.0.0.1:{port}"))?;
            client.order(&format!("connect 127.0.0.1:{port}"))?;
            server.order("accept")?;
            client.order("close")?;
            server.order("wait")?;
            server.order("close")?;
            thread::sleep(pause(Duration::from_secs(1)));
            let result = are_of_workers(&fs::read_to_string(tracer.stdout())?, netns.inode, port);
            tries -= 1;
            if result.is_ok() || tries == 0 {
                return result.and_then(|()| tracer.stop().map(drop));
            }
        }
    })
}

fn are_of_workers(text: &str, inode: u64, port: u16) -> Result<()> {
    let is_ours = |row: &Value| {
        row["type"] == "transition" && row["netns"] == inode && (row["lport"] == port || row["rport"] == port)
    };
    let rows: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_ours).collect();
    for (role, new) in [
        ("server", "LISTEN"),
        ("client", "SYN_SENT"),
        ("client", "FIN_WAIT1"),
        ("server", "CLOSE_WAIT"),
        ("server", "LAST_ACK"),
    ] {
        let row = rows
            .iter()
            .find(|row| row["role"] == role && row["new_state"] == new)
            .with_context(|| format!("no {role} that enters {new} in\n{rows:?}"))?;
        let frames = row["stack"].as_array().with_context(|| format!("no stack: {row}"))?;
        let names: Vec<&str> = frames.iter().filter_map(|frame| frame["symbol"].as_str()).collect();
        let is_there = names.iter().any(|name| *name == "obey" || name.ends_with("::obey"));
        ensure!(is_there, "{role} {new}: {names:?} of {} frames", frames.len());
    }
    Ok(())
}
