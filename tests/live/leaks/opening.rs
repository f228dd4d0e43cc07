//! Connections that do not come about, and listeners that do not accept.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;

use super::{
    expected::Expected,
    stage::{Stage, address, connect, during},
};
use crate::netns::{black_hole, ip, sysctl, unique_port};

/// A hundred hosts are called, and nobody answers.
pub(super) fn syn_sent_fanout(stage: &Stage) -> Result<Option<Expected>> {
    black_hole()?;
    ip("link set hole0 arp off")?;
    ip("route add 10.0.0.0/8 dev hole0")?;
    let mut client = stage.process(stage.name)?;
    let first = SocketAddr::from(([10, 1, 2, 3], 445));
    stage.begin()?;
    client.order(&format!("call-many {first} 100"))?;
    stage.holds("SYN_SENT", 100)?;
    stage.end();
    Ok(Some(Expected::of(stage, &client, 100..=100).state("SYN_SENT")))
}

/// A hundred hosts are called, and all answer.
pub(super) fn fanout_answered(stage: &Stage) -> Result<Option<Expected>> {
    let (mut client, mut server) = (stage.process(stage.name)?, stage.process("peer")?);
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, unique_port()));
    let first = SocketAddr::from(([127, 0, 1, 1], everywhere.port()));
    server.order(&format!("backlog {everywhere} 256"))?;
    stage.begin()?;
    client.order(&format!("call-many {first} 100"))?;
    server.order("take 100")?;
    stage.holds("ESTABLISHED", 200)?;
    stage.end();
    Ok(None)
}

/// One host is called, and does not answer.
fn in_syn_sent(stage: &Stage, count: u64) -> Result<Option<Expected>> {
    let to = black_hole()?;
    let mut client = stage.process(stage.name)?;
    stage.begin()?;
    let made = during(|| client.order(&format!("call {to} {count}")))?;
    stage.holds("SYN_SENT", usize::try_from(count)?)?;
    stage.end();
    let expected = Expected::of(stage, &client, count..=count).client(to).state("SYN_SENT");
    Ok(Some(expected.peer(to).oldest(made)))
}

pub(super) fn syn_sent_stuck(stage: &Stage) -> Result<Option<Expected>> {
    in_syn_sent(stage, 10)
}

pub(super) fn syn_sent_few(stage: &Stage) -> Result<Option<Expected>> {
    in_syn_sent(stage, 3).map(|_| None)
}

/// The client resets, which the server does not hear, and calls again from the same ports.
pub(super) fn port_reuse_collision(stage: &Stage) -> Result<Option<Expected>> {
    let (mut client, mut server, to) = stage.client()?;
    let ports = [unique_port(), unique_port(), unique_port()];
    stage.begin()?;
    for port in ports {
        client.order(&format!("open-from {to} {port}"))?;
    }
    server.order("take 3")?;
    server.order("deafen")?;
    client.order("reset")?;
    let made = during(|| ports.iter().try_for_each(|port| client.order(&format!("call-from {to} {port}"))))?;
    stage.holds("SYN_SENT", 3)?;
    stage.holds("ESTABLISHED", 3)?;
    stage.end();
    let expected = Expected::of(stage, &client, 3..=3).client(to).state("SYN_SENT");
    Ok(Some(expected.peer(to).oldest(made)))
}

/// The old lives are over at both ends. Calls that nobody answers are from other ports.
pub(super) fn port_reused_late(stage: &Stage) -> Result<Option<Expected>> {
    let hole = black_hole()?;
    let (mut client, mut server, to) = stage.client()?;
    let ports = [unique_port(), unique_port(), unique_port()];
    let open = |client: &mut crate::worker::Worker| {
        ports.iter().try_for_each(|port| client.order(&format!("open-from {to} {port}")))
    };
    stage.begin()?;
    open(&mut client)?;
    server.order("take 3")?;
    client.order("reset")?;
    stage.holds("ESTABLISHED", 0)?;
    open(&mut client)?;
    server.order("take 3")?;
    client.order(&format!("call {hole} 2"))?;
    stage.holds("ESTABLISHED", 6)?;
    stage.end();
    Ok(None)
}

/// What comes third in the handshakes is lost.
fn half_open(stage: &Stage, count: u64) -> Result<Option<Expected>> {
    let to = address();
    let (mut server, mut client) = (stage.process(stage.name)?, stage.process("peer")?);
    server.order(&format!("backlog-without-acks {to} 100"))?;
    stage.begin()?;
    let made = during(|| client.order(&format!("open {to} {count}")))?;
    stage.holds("SYN_RECV", usize::try_from(count)?)?;
    stage.end();
    Ok(Some(Expected::of(stage, &server, count..=count).server(to).state("SYN_RECV").oldest(made)))
}

pub(super) fn half_open_pileup(stage: &Stage) -> Result<Option<Expected>> {
    half_open(stage, 30)
}

pub(super) fn half_open_few(stage: &Stage) -> Result<Option<Expected>> {
    half_open(stage, 5).map(|_| None)
}

/// The queue has room for two; nobody accepts.
pub(super) fn accept_queue_overflow(stage: &Stage) -> Result<Option<Expected>> {
    let to = address();
    let (mut server, mut client) = (stage.process(stage.name)?, stage.process("peer")?);
    server.order(&format!("backlog {to} 1"))?;
    stage.begin()?;
    client.order(&format!("call {to} 2"))?;
    stage.holds("ESTABLISHED", 4)?;
    client.order(&format!("call {to} 3"))?;
    stage.holds("SYN_SENT", 3)?;
    stage.end();
    let dropped = stage.counter("ListenOverflows")?;
    anyhow::ensure!(dropped >= 3, "{dropped}");
    let expected = Expected::of(stage, &server, 1..=dropped.max(2)).server(to);
    Ok(Some(expected.severity(&["warning", "critical"])))
}

/// As many wait as may.
pub(super) fn accept_queue_full(stage: &Stage) -> Result<Option<Expected>> {
    let to = address();
    let (mut server, mut client) = (stage.process(stage.name)?, stage.process("peer")?);
    server.order(&format!("backlog {to} 4"))?;
    stage.begin()?;
    client.order(&format!("open {to} 4"))?;
    stage.holds("ESTABLISHED", 8)?;
    stage.end();
    anyhow::ensure!(stage.counter("ListenOverflows")? == 0, "it overflowed");
    Ok(None)
}

pub(super) fn never_accepted(stage: &Stage) -> Result<Option<Expected>> {
    let (server, mut client, to) = stage.server()?;
    stage.begin()?;
    let made = during(|| client.order(&format!("open {to} 20")))?;
    stage.holds("ESTABLISHED", 40)?;
    stage.end();
    Ok(Some(Expected::of(stage, &server, 20..=20).server(to).state("ESTABLISHED").oldest(made)))
}

/// They are accepted after half a second, again and again.
pub(super) fn accepted_late(stage: &Stage) -> Result<Option<Expected>> {
    let (mut server, mut client, to) = stage.server()?;
    stage.begin()?;
    loop {
        client.order(&format!("open {to} 10"))?;
        if stage.is_over(Duration::from_millis(500)) {
            return Ok(None);
        }
        server.order("take 10")?;
        client.order("let-go")?;
        server.order("ends")?;
        server.order("let-go")?;
    }
}

/// Nearly all of two hundred ports are taken by open connections.
pub(super) fn port_exhaustion(stage: &Stage) -> Result<Option<Expected>> {
    sysctl("ipv4/ip_local_port_range", "40000 40199")?;
    let (mut client, mut server, to) = stage.client()?;
    stage.begin()?;
    connect(&mut client, &mut server, to, 195)?;
    stage.holds("ESTABLISHED", 390)?;
    stage.end();
    Ok(Some(Expected::of(stage, &client, 195..=195).client(to).peer(to).severity(&["critical"])))
}

/// Three quarters of them, and no more are taken.
pub(super) fn ports_left(stage: &Stage) -> Result<Option<Expected>> {
    sysctl("ipv4/ip_local_port_range", "40000 40199")?;
    let (mut client, mut server, to) = stage.client()?;
    connect(&mut client, &mut server, to, 150)?;
    stage.begin()?;
    stage.end();
    Ok(None)
}
