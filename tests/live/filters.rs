//! Each selection flag shows the rows it should show, no more and no fewer.
//!
//! One tracer without a filter is the reference; the others watch the same connections at the same time. A
//! condition that cannot be decided yet (an unknown port or owner) holds.

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};

use crate::{
    capture::{Row, table},
    harness::Tracer,
    netns::{self, Netns},
    traffic::{Pair, close, read_end},
    worker::Worker,
};

/// A command line, which rows it must show, and how many of them there must be at least.
struct Case<'a> {
    args: Vec<String>,
    least: usize,
    wanted: Box<dyn Fn(&Row) -> bool + 'a>,
}

fn case<'a>(args: &str, least: usize, wanted: impl Fn(&Row) -> bool + 'a) -> Case<'a> {
    Case { args: args.split(' ').map(str::to_owned).collect(), least, wanted: Box::new(wanted) }
}

/// Runs `body` under all `cases` at the same time.
fn compare(netns: &Netns, cases: &[Case<'_>], body: impl FnOnce() -> Result<()>) -> Result<()> {
    let reference = Tracer::start(&[])?;
    let mut tracers = Vec::new();
    for case in cases {
        let args: Vec<&str> = case.args.iter().map(String::as_str).collect();
        tracers.push(Tracer::start(&args)?);
    }
    body()?;
    netns::settle()?;

    // By socket: two tracers may disagree on the order of what happens on two CPUs at the same time.
    let rows_here = |tracer: Tracer| -> Result<Vec<Row>> {
        let mut rows = tracer.stop()?.only(|row| row.netns == Some(netns.inode)).rows;
        rows.sort_by_key(|row| (row.cookie, row.role.clone()));
        Ok(rows)
    };
    let all = rows_here(reference)?;
    for (case, tracer) in cases.iter().zip(tracers) {
        let seen = rows_here(tracer)?;
        let wanted: Vec<&Row> = all.iter().filter(|row| (case.wanted)(row)).collect();
        let text = || {
            let (wanted, all) = (table(wanted.iter().copied()), table(&all));
            format!("{:?}\nexpected\n{wanted}seen\n{}of\n{all}", case.args, table(&seen))
        };
        ensure!(wanted.len() >= case.least && wanted.len() < all.len(), "a bad test: {}", text());
        // Their time-stamps differ: each tracer's program reads the clock itself.
        let same = |a: &Row, b: &Row| {
            (a.cookie, a.laddr, a.lport, a.raddr, a.rport) == (b.cookie, b.laddr, b.lport, b.raddr, b.rport)
                && (&a.old, &a.new, a.pid, &a.comm) == (&b.old, &b.new, b.pid, &b.comm)
        };
        let equal = wanted.len() == seen.len() && wanted.iter().zip(&seen).all(|(a, b)| same(a, b));
        ensure!(equal, "{}", text());
    }
    Ok(())
}

/// Four services, one connection each, closed by the client: v4, v4 at another address, v6, and a v4 client of a
/// dual-stack listener. 12 rows each. The namespace is our own: so are all ports.
fn four_services() -> Result<()> {
    let v4 = |host, port| SocketAddr::from(([127, 0, 0, host], port));
    let v6 = |host: Ipv6Addr, port| SocketAddr::from((host, port));
    for (listen, connect) in [
        (v4(1, 5001), v4(1, 5001)),
        (v4(2, 5002), v4(2, 5002)),
        (v6(Ipv6Addr::LOCALHOST, 5003), v6(Ipv6Addr::LOCALHOST, 5003)),
        (v6(Ipv6Addr::UNSPECIFIED, 5004), v4(1, 5004)),
    ] {
        let mut pair = Pair::new(listen, connect)?;
        close(pair.client);
        read_end(&mut pair.server)?;
        close(pair.server);
        close(pair.listener);
    }
    Ok(())
}

fn local_port_is(row: &Row, ports: &[u16]) -> bool {
    row.lport.is_none_or(|port| ports.contains(&port))
}

/// A listener has no remote port and never will: that is decided.
fn remote_port_is(row: &Row, ports: &[u16]) -> bool {
    !row.is_listener() && row.rport.is_none_or(|port| ports.contains(&port))
}

fn service_is(row: &Row, ports: &[u16]) -> bool {
    let port = if row.role.as_deref() == Some("client") { row.rport } else { row.lport };
    port.is_none_or(|port| ports.contains(&port))
}

pub(crate) fn ports() -> Result<()> {
    netns::run(|netns| {
        // Each client's first row is kept by -L: its port is not known yet.
        let cases = [
            case("-L 5001", 7 + 4, |row| local_port_is(row, &[5001])),
            case("--lport 5001,5003-5004", 3 * 7 + 4, |row| local_port_is(row, &[5001, 5003, 5004])),
            case("-D 5002", 5, |row| remote_port_is(row, &[5002])),
            case("--rport 5002-5003", 2 * 5, |row| remote_port_is(row, &[5002, 5003])),
            case("--port 5001", 12, |row| service_is(row, &[5001])),
            case("--port 5002-5004", 3 * 12, |row| service_is(row, &[5002, 5003, 5004])),
            case("-L 5001 -D 5002", 1, |row| local_port_is(row, &[5001]) && remote_port_is(row, &[5002])),
        ];
        compare(netns, &cases, four_services)
    })
}

pub(crate) fn addresses_and_families() -> Result<()> {
    netns::run(|netns| {
        let second = Some([127, 0, 0, 2].into());
        let v6_loopback = Some(Ipv6Addr::LOCALHOST.into());
        let is_newborn = |row: &Row| row.raddr.is_none() && !row.is_listener();
        let cases = [
            case("--raddr 127.0.0.2/32", 5, move |row| row.raddr == second || is_newborn(row)),
            case("--raddr ::1/128", 10, move |row| row.raddr == v6_loopback || is_newborn(row)),
            // A kernel without cookies cannot tell whose child a newborn is, nor its address.
            case("--laddr 127.0.0.2/32", 7, move |row| row.laddr.is_none() || row.laddr == second),
            // The dual-stack service's two sides have v4 addresses; its listener has not.
            case("--laddr 127.0.0.0/8", 12 + 12 + 10, |row| row.laddr.is_none_or(|addr| addr.is_ipv4())),
            case("--laddr ::1/128,127.0.0.2/32", 12 + 7, move |row| {
                row.laddr.is_none() || [second, v6_loopback].contains(&row.laddr)
            }),
            case("-4", 12 + 12 + 5, |row| row.family == 4),
            case("-6", 12 + 2 + 5, |row| row.family == 6),
        ];
        compare(netns, &cases, four_services)
    })
}

pub(crate) fn states() -> Result<()> {
    netns::run(|netns| {
        let touches = |row: &Row, states: &[&str]| {
            states.contains(&row.old.as_str()) || states.contains(&row.new.as_str())
        };
        let cases = [
            case("--state close-wait", 8, |row| touches(row, &["CLOSE_WAIT"])),
            case("--state LISTEN,fin-wait-1", 20, |row| touches(row, &["LISTEN", "FIN_WAIT1"])),
            case("--state estab", 16, |row| touches(row, &["ESTABLISHED"])),
        ];
        compare(netns, &cases, four_services)
    })
}

pub(crate) fn owners() -> Result<()> {
    netns::run(|netns| {
        let (mut alpha, mut beta) = (Worker::start("live-alpha")?, Worker::start("live-beta")?);
        let (of_alpha, of_beta) = (alpha.pid(), beta.pid());
        // What nobody has accepted yet can still become anybody's.
        let is_undecided = |row: &Row| row.owner_is.as_deref().is_none_or(|is| is == "listener");
        let pid_is =
            |row: &Row, pids: &[u32]| is_undecided(row) || row.pid.is_some_and(|pid| pids.contains(&pid));
        let comm_is = |row: &Row, comm: &str| is_undecided(row) || row.comm.as_deref() == Some(comm);
        let cases = [
            case(&format!("-p {of_alpha}"), 5, |row| pid_is(row, &[of_alpha])),
            case(&format!("--pid {of_alpha},{of_beta}"), 10, |row| pid_is(row, &[of_alpha, of_beta])),
            case("--comm live-beta", 5, |row| comm_is(row, "live-beta")),
            case(&format!("-p {of_alpha} --comm live-beta"), 1, |row| {
                pid_is(row, &[of_alpha]) && comm_is(row, "live-beta")
            }),
        ];
        compare(netns, &cases, || {
            let addr = SocketAddr::from(([127, 0, 0, 1], 5001));
            let listener = std::net::TcpListener::bind(addr)?;
            for worker in [&mut alpha, &mut beta] {
                worker.order(&format!("connect {addr}"))?;
                let (mut server, _) = listener.accept().context("accept")?;
                worker.order("close")?;
                read_end(&mut server)?;
            }
            Ok(())
        })
    })
}
