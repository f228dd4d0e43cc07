//! What goes on all the time, and what stands still.

use std::time::Duration;

use anyhow::Result;

use super::{
    expected::Expected,
    stage::{Stage, address, connect, during},
};

/// Nearly all descriptors of a process are sockets.
pub(super) fn fd_exhaustion(stage: &Stage) -> Result<Option<Expected>> {
    let (mut client, mut server, to) = stage.client()?;
    client.order("descriptors 64")?;
    stage.begin()?;
    connect(&mut client, &mut server, to, 55)?;
    stage.end();
    // Sockets, or all descriptors.
    Ok(Some(Expected::of(stage, &client, 55..=60)))
}

/// More than half of them, which do not become more.
pub(super) fn fds_left(stage: &Stage) -> Result<Option<Expected>> {
    let (mut client, mut server, to) = stage.client()?;
    client.order("descriptors 64")?;
    connect(&mut client, &mut server, to, 32)?;
    stage.begin()?;
    stage.end();
    Ok(None)
}

/// Nearly all, but most of them are files.
pub(super) fn fds_of_files(stage: &Stage) -> Result<Option<Expected>> {
    let (mut client, mut server, to) = stage.client()?;
    client.order("descriptors 64")?;
    stage.begin()?;
    client.order("files 40")?;
    connect(&mut client, &mut server, to, 20)?;
    stage.end();
    Ok(None)
}

/// The server resets thirty connections a second.
pub(super) fn reset_storm(stage: &Stage) -> Result<Option<Expected>> {
    let (mut server, mut client, to) = stage.server()?;
    stage.begin()?;
    let mut made = 0;
    while !stage.is_over(Duration::from_millis(100)) {
        connect(&mut client, &mut server, to, 3)?;
        server.order("reset")?;
        client.order("let-go")?;
        made += 3;
    }
    Ok(Some(Expected::of(stage, &server, 50..=made).server(to).or_client(&client)))
}

/// More than enough for a storm, but all at once.
pub(super) fn reset_burst(stage: &Stage) -> Result<Option<Expected>> {
    let (mut server, mut client, to) = stage.server()?;
    stage.begin()?;
    connect(&mut client, &mut server, to, 60)?;
    server.order("reset")?;
    stage.holds("ESTABLISHED", 0)?;
    client.order("let-go")?;
    stage.end();
    Ok(None)
}

/// Nobody listens, and it is tried twenty times a second.
pub(super) fn refused_storm(stage: &Stage) -> Result<Option<Expected>> {
    let to = address();
    let mut client = stage.process(stage.name)?;
    stage.begin()?;
    let mut made = 0;
    while !stage.is_over(Duration::from_millis(100)) {
        client.order(&format!("refused {to} 2"))?;
        made += 2;
    }
    Ok(Some(Expected::of(stage, &client, 20..=made).client(to).peer(to)))
}

/// Too few at one port, and at another enough, but all at once.
pub(super) fn refused_burst(stage: &Stage) -> Result<Option<Expected>> {
    let (few, burst) = (address(), address());
    let mut client = stage.process(stage.name)?;
    stage.begin()?;
    client.order(&format!("refused {burst} 30"))?;
    for _ in 0..5 {
        client.order(&format!("refused {few} 3"))?;
        if stage.is_over(Duration::from_secs(1)) {
            return Ok(None);
        }
    }
    stage.end();
    Ok(None)
}

/// Connections a second that live for nothing.
fn churned(stage: &Stage, each: u64, pause: Duration) -> Result<Option<Expected>> {
    let (mut client, mut server, to) = stage.client()?;
    server.order("answer 0")?;
    stage.begin()?;
    let mut made = 0;
    while !stage.is_over(pause) {
        client.order(&format!("churn {to} {each}"))?;
        made += each;
    }
    let expected = Expected::of(stage, &client, 50..=made).client(to).peer(to);
    Ok(Some(expected.severity(&["info"])))
}

pub(super) fn short_lived_churn(stage: &Stage) -> Result<Option<Expected>> {
    churned(stage, 10, Duration::from_millis(60))
}

pub(super) fn churn_slow(stage: &Stage) -> Result<Option<Expected>> {
    churned(stage, 1, Duration::from_millis(100)).map(|_| None)
}

/// Nobody says anything, and the server would not notice if the peers were dead. The peers would.
pub(super) fn idle_established(stage: &Stage) -> Result<Option<Expected>> {
    let (mut server, mut client, to) = stage.server()?;
    stage.begin()?;
    let made = during(|| connect(&mut client, &mut server, to, 15))?;
    client.order("keepalive")?;
    stage.end();
    let expected = Expected::of(stage, &server, 15..=15).server(to).state("ESTABLISHED");
    Ok(Some(expected.severity(&["info"]).oldest(made)))
}

/// Both ends would notice.
pub(super) fn idle_kept_alive(stage: &Stage) -> Result<Option<Expected>> {
    let (mut server, mut client, to) = stage.server()?;
    stage.begin()?;
    connect(&mut client, &mut server, to, 15)?;
    client.order("keepalive")?;
    server.order("keepalive")?;
    stage.end();
    Ok(None)
}

/// One end says something every half second.
pub(super) fn idle_never(stage: &Stage) -> Result<Option<Expected>> {
    let (mut server, mut client, to) = stage.server()?;
    stage.begin()?;
    connect(&mut client, &mut server, to, 15)?;
    while !stage.is_over(Duration::from_millis(500)) {
        client.order("say")?;
        server.order("read")?;
    }
    Ok(None)
}
