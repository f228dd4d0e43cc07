//! Connections over loopback, as fast as they go, and no more than were asked for. Each makes ten transitions: the client
//! closes first.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::{Kind, nanos};

/// Connections before the first that counts.
const WARM_UP: u64 = 200;

const FIRST_PORT: u16 = 900;

/// What a client asks and what it is answered: the size of a small HTTP exchange.
const REQUEST: [u8; 200] = [b'q'; 200];
const RESPONSE: [u8; 1_000] = [b'a'; 1_000];

pub(crate) fn run(connections: u64, threads: u16, kind: Kind, rest: Duration, limit: Duration) -> Result<()> {
    prepare()?;
    let each = connections / u64::from(threads.max(1));
    let deadline = Instant::now() + limit;
    work(WARM_UP, threads, kind, Duration::ZERO, deadline)?;
    let (cpu, wall) = (cpu(), Instant::now());
    work(each, threads, kind, rest, deadline)?;
    let (wall, cpu) = (wall.elapsed(), self::cpu().saturating_sub(cpu));
    let made = each * u64::from(threads);
    // The listeners' own included.
    let all = made + WARM_UP * u64::from(threads);
    println!(
        "{}",
        json!({
            "connections": made,
            "transitions": all * 10 + u64::from(threads) * 4,
            "wall_ns": nanos(wall),
            "cpu_ns": nanos(cpu),
        })
    );
    Ok(())
}

/// Room for connections in TIME_WAIT. `/proc/sys/net` is that of the namespace of the reader.
fn prepare() -> Result<()> {
    for (name, value) in [("ip_local_port_range", "1024 65535"), ("tcp_max_tw_buckets", "1000000")] {
        let file = format!("/proc/sys/net/ipv4/{name}");
        fs::write(&file, value).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

fn work(each: u64, threads: u16, kind: Kind, rest: Duration, deadline: Instant) -> Result<()> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|i| {
                let port = FIRST_PORT + i;
                scope.spawn(move || match kind {
                    Kind::Bare => bare(port, each, deadline, rest),
                    Kind::Request => request(port, each, deadline, rest),
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// The other end, one of 200 addresses, so that ports last.
fn peer(i: u64, port: u16) -> SocketAddr {
    let host = u8::try_from(i % 200).unwrap_or(0) + 1;
    (Ipv4Addr::new(127, 0, 0, host), port).into()
}

/// A sleep of no time is a system call that takes some.
fn pause(rest: Duration) {
    if !rest.is_zero() {
        thread::sleep(rest);
    }
}

fn bare(port: u16, count: u64, deadline: Instant, rest: Duration) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    for i in 0..count {
        let client = TcpStream::connect(peer(i, port))?;
        let (server, _) = listener.accept()?;
        drop(client);
        drop(server);
        pause(rest);
        ensure!(i % 1024 != 0 || Instant::now() < deadline, "only {i} connections in the time there was");
    }
    Ok(())
}

fn request(port: u16, count: u64, deadline: Instant, rest: Duration) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let serve = || -> Result<()> {
        let mut buffer = [0; REQUEST.len()];
        for _ in 0..count {
            let (mut server, _) = listener.accept()?;
            server.read_exact(&mut buffer)?;
            server.write_all(&RESPONSE)?;
            ensure!(server.read(&mut buffer)? == 0, "more than was asked");
        }
        Ok(())
    };
    let ask = || -> Result<()> {
        let mut buffer = [0; RESPONSE.len()];
        for i in 0..count {
            let mut client = TcpStream::connect(peer(i, port))?;
            client.write_all(&REQUEST)?;
            client.read_exact(&mut buffer)?;
            drop(client);
            pause(rest);
            ensure!(i % 1024 != 0 || Instant::now() < deadline, "only {i} connections in the time there was");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let server = scope.spawn(serve);
        ask()?;
        server.join().map_err(|_| anyhow!("a thread panicked"))?
    })
}

pub(crate) fn trickle(every_ms: u64) -> Result<()> {
    let is_over = AtomicBool::new(false);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, FIRST_PORT))?;
    thread::scope(|scope| {
        let work = scope.spawn(|| -> Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                drop(TcpStream::connect((Ipv4Addr::LOCALHOST, FIRST_PORT))?);
                drop(listener.accept()?);
                thread::sleep(Duration::from_millis(every_ms));
            }
            Ok(())
        });
        let held = crate::hold();
        is_over.store(true, Ordering::Relaxed);
        held.and(work.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
