//! A busy host on which nothing is wrong.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::said;
use crate::{
    harness::Tracer,
    machine::{self, patience},
    netns::{self, unique_port},
    services::{is_there, start, start_nginx, start_redis, wait_for},
    traffic::PATIENCE,
};

/// Asks over one of ten connections every ten milliseconds, and every now and then replaces one of them.
fn pool(port: u16, over: &Receiver<()>) -> Result<usize> {
    let connect = || -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    let mut streams = (0..10).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    let mut asked = 0;
    while over.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
        let stream = &mut streams[asked % 10];
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let mut bytes = [0; 512];
            match stream.read(&mut bytes).context("nginx")? {
                0 => bail!("nginx has closed"),
                count => answer.extend_from_slice(&bytes[..count]),
            }
        }
        asked += 1;
        if asked.is_multiple_of(25) {
            streams[asked % 10] = connect()?;
        }
    }
    Ok(asked)
}

/// nginx and redis with clients that keep their connections, under load the whole time: nothing is worth a warning.
pub(crate) fn healthy_host() -> Result<()> {
    if !is_there(&["nginx", "wrk", "redis-server", "redis-benchmark"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (web, cache) = (unique_port(), unique_port());
    netns::run(|netns| {
        let _nginx = start_nginx(dir.path(), web, 65)?;
        let _redis = start_redis(dir.path(), cache)?;
        drop((wait_for(web)?, wait_for(cache)?));
        let url = format!("http://127.0.0.1:{web}/");
        let _wrk = start(dir.path(), "wrk", &["-t1", "-c8", "-d120s", &url])?;
        let cache = cache.to_string();
        let bench = ["-p", &cache, "-c", "10", "-l", "-t", "get,set", "-q"];
        let _benchmark = start(dir.path(), "redis-benchmark", &bench)?;
        let only_here = format!("inode:{}", netns.inode);
        let (found, asked) = thread::scope(|scope| {
            let (end, over) = channel();
            let client = scope.spawn(move || pool(web, &over));
            let found = Tracer::start_leaks(&["-N", &only_here, "--for", "8s"])
                .and_then(|tracer| said(tracer, patience(Duration::from_secs(12))));
            drop(end);
            Ok::<_, anyhow::Error>((found?, client.join().map_err(|_| anyhow!("a thread panicked"))??))
        })?;
        ensure!(asked >= machine::load(300), "only {asked} requests");
        // Both ends of the pool, of wrk and of redis-benchmark: it was not blind.
        ensure!(found.sockets >= 2 * (10 + 8) + 10, "{} sockets", found.sockets);
        let bad: Vec<_> = found.findings.iter().filter(|finding| finding.is_at_least("warning")).collect();
        ensure!(bad.is_empty(), "{bad:#?}");
        Ok(())
    })
}
