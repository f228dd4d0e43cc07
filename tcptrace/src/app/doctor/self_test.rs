//! One connection of our own through all of tracing: kernel, ring, decoder, table.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::oneshot;

use super::{
    compare::{self, Knows},
    connection::{self, Deeds, Port},
    trials::Working,
    truth::Truth,
    witness::{Row, Told, Witness},
};
use crate::{app::session, cli::Session, output::doctor::SelfTest};

/// How long to wait for the last row.
const GIVE_UP: Duration = Duration::from_secs(3);

/// How long to go on when all is there: what should not come would come now.
const LINGER: Duration = Duration::from_millis(50);

/// Traces as `watch` would, and compares.
pub(super) fn run(session: &Session, working: &Working) -> SelfTest {
    let truth = Truth::find();
    let knows = Knows::of(working);
    let begun = Instant::now();
    let seen = match trace(session, &truth, knows) {
        Ok(seen) => seen,
        Err(error) => return SelfTest::not_made(format!("{error:#}")),
    };
    let took = begun.elapsed().as_secs_f64();
    let fields = compare::all(&seen.deeds, &truth, knows, &seen.rows);
    let lost = (seen.lost > 0).then(|| format!("{} records were lost meanwhile", seen.lost));
    let test = SelfTest::new(took, None, fields);
    // As long as all is right, they were others' records.
    let why_not = if test.is_right() {
        None
    } else {
        seen.cut_short.into_iter().chain(lost).reduce(|a, b| a + "; " + &b)
    };
    SelfTest { why_not, ..test }
}

/// What was done and what was seen of it.
struct Seen {
    deeds: Deeds,
    rows: Vec<Row>,
    lost: u64,
    /// Why not all of it was waited for.
    cut_short: Option<String>,
}

fn trace(session: &Session, truth: &Truth, knows: Knows) -> Result<Seen> {
    let (sender, told) = channel();
    let (enough, is_enough) = oneshot::channel();
    let port = Port::take().context("no connection could be made")?;
    let mut session = session.clone();
    // A busy host has much to tell that is of no interest here.
    let ports = port.number().to_string().parse().context("no list of ports")?;
    session.settings.filter.service_ports = Some(ports);
    let netns = truth.netns;
    // In a thread of its own, which gives up its capabilities. The connection is made by the first one.
    let work = move || {
        let witness = Witness::new(sender, connection::ADDR.into(), netns);
        session::run_until(&session, Box::new(witness), is_enough)
    };
    let thread =
        thread::Builder::new().name("watch".to_owned()).spawn(work).context("cannot start a thread")?;
    let made = match told.recv() {
        Ok(_) => connection::make(port).context("no connection could be made"),
        // It has ended, and says why.
        Err(_) => Err(anyhow!("tracing has ended before it has begun")),
    };
    let watched = made.map(|deeds| watch(&told, deeds, knows));
    drop(enough);
    let ended = thread.join().map_err(|_| anyhow!("the thread that traces has panicked"))?;
    ended.context("tracing failed")?;
    let mut seen = watched?;
    for told in told.try_iter() {
        seen.take(told);
    }
    Ok(seen)
}

/// Waits until all is there.
fn watch(told: &Receiver<Told>, deeds: Deeds, knows: Knows) -> Seen {
    let mut seen = Seen { deeds, rows: Vec::new(), lost: 0, cut_short: None };
    let mut deadline = Instant::now() + GIVE_UP;
    let mut is_complete = false;
    // There may be others that always have something to tell.
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        match told.recv_timeout(left) {
            Ok(told) => seen.take(told),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => {
                seen.cut_short = Some("tracing was ended before everything had come".to_owned());
                return seen;
            }
        }
        if !is_complete && compare::is_complete(&deeds, knows, &seen.rows) {
            is_complete = true;
            deadline = Instant::now() + LINGER;
        }
    }
    if !is_complete {
        seen.cut_short = Some(format!("gave up after {} s: not everything had come", GIVE_UP.as_secs()));
    }
    seen
}

impl Seen {
    fn take(&mut self, told: Told) {
        match told {
            Told::Row(row) if compare::is_about(&self.deeds, &row) => self.rows.push(*row),
            Told::Begun | Told::Row(_) => {}
            Told::Lost(count) => self.lost += count,
        }
    }
}
