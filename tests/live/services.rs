//! nginx and redis of the distribution under load: their own statistics are the measure.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    harness::Tracer,
    hist::{histogram, objects, transitions},
    machine::{self, patience, pause},
    netns::{self, unique_port},
};

/// A program that we have started. Told to end when dropped: killed, a server would leave its workers behind.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

pub(crate) fn is_there(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    match programs.iter().find(|program| !find(program)) {
        Some(missing) => {
            eprintln!("SKIPPED: services: no {missing}");
            false
        }
        None => true,
    }
}

/// Waits until somebody listens.
pub(crate) fn wait_for(port: u16) -> Result<TcpStream> {
    let deadline = Instant::now() + patience(Duration::from_secs(10));
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return Ok(stream),
            Err(error) => ensure!(Instant::now() < deadline, "nobody listens on {port}: {error}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn ask(mut stream: TcpStream, question: &str) -> Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(question.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn start(dir: &Path, program: &str, args: &[&str]) -> Result<Running> {
    let child = Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.map(Running).with_context(|| program.to_owned())
}

/// nginx with its status at `/status`, that keeps a connection for so many seconds.
pub(crate) fn start_nginx(dir: &Path, port: u16, keeps_s: u32) -> Result<Running> {
    let config = dir.join("nginx.conf");
    let path = dir.display();
    fs::write(
        &config,
        format!(
            "daemon off; master_process on; worker_processes 2; user root; pid {path}/pid; error_log {path}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_timeout {keeps_s};\n\
             client_body_temp_path {path}/b; proxy_temp_path {path}/p;\n\
             fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
             server {{ listen 127.0.0.1:{port} backlog=4096; location = /status {{ stub_status; }}\n\
             location / {{ return 200 ok; }} }} }}\n"
        ),
    )?;
    start(dir, "nginx", &["-p", &path.to_string(), "-c", &config.display().to_string()])
}

/// redis that writes nothing to disk.
pub(crate) fn start_redis(dir: &Path, port: u16) -> Result<Running> {
    let args = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    start(dir, "redis-server", &args)
}

/// wrk without keep-alive against nginx: as many were accepted as nginx has counted.
pub(crate) fn nginx() -> Result<()> {
    if !is_there(&["nginx", "wrk"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let port = unique_port();
    netns::run(|netns| {
        let only_here = format!("inode:{}", netns.inode);
        let tracer = Tracer::start_hist(&["-N", &only_here])?;
        let nginx = start_nginx(dir.path(), port, 0)?;
        drop(wait_for(port)?);
        let duration = if machine::is_slow() { "1s" } else { "3s" };
        let load = Command::new("wrk")
            .args(["-t1", "-c8", "-d", duration, "-H", "Connection: close"])
            .arg(format!("http://127.0.0.1:{port}/"))
            .output()
            .context("wrk")?;
        ensure!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
        thread::sleep(pause(Duration::from_millis(300)));
        let status = ask(wait_for(port)?, "GET /status HTTP/1.0\r\n\r\n")?;
        let line = status.lines().skip_while(|line| !line.starts_with("server accepts")).nth(1);
        let accepted: u64 =
            line.and_then(|line| line.split_whitespace().next()).context("no status")?.parse()?;
        drop(nginx);
        thread::sleep(pause(Duration::from_millis(500)));
        let objects = objects(tracer)?;
        let of_port = histogram(&objects, &port.to_string())?;
        let established = transitions(of_port, "SYN_RECV", "ESTABLISHED");
        ensure!(accepted > 100, "only {accepted} connections");
        ensure!(established == accepted, "{established} seen, {accepted} counted by nginx");
        Ok(())
    })
}

/// redis-benchmark with a connection for each request: as many as redis has counted.
pub(crate) fn redis() -> Result<()> {
    if !is_there(&["redis-server", "redis-benchmark"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let port = unique_port();
    let number = port.to_string();
    netns::run(|netns| {
        let only_here = format!("inode:{}", netns.inode);
        let tracer = Tracer::start_hist(&["-N", &only_here])?;
        let redis = start_redis(dir.path(), port)?;
        drop(wait_for(port)?);
        let requests = machine::load(5_000).to_string();
        let load = Command::new("redis-benchmark")
            .args(["-p", &number, "-k", "0", "-c", "10", "-n", &requests, "-t", "ping_mbulk", "-q"])
            .output()
            .context("redis-benchmark")?;
        ensure!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
        thread::sleep(pause(Duration::from_millis(300)));
        let info = ask(wait_for(port)?, "INFO stats\r\nQUIT\r\n")?;
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        let received: u64 = line.context("no count")?.trim().parse()?;
        drop(redis);
        thread::sleep(pause(Duration::from_millis(500)));
        let objects = objects(tracer)?;
        let of_port = histogram(&objects, &number)?;
        let established = transitions(of_port, "SYN_RECV", "ESTABLISHED");
        ensure!(received > 100, "only {received} connections");
        ensure!(established == received, "{established} seen, {received} counted by redis");
        Ok(())
    })
}
