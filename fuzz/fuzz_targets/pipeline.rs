//! Records through table, filter and formats: no sequence of them breaks what the table promises, and whatever is written
//! is harmless and can be read.
//!
//! An input is two bytes (what is reported, how many connections there may be), the filter as lines of `FLAG=WORD` with a
//! NUL behind them, and records of 120 bytes. A record of a kind that the kernel half does not have stands for something
//! else that happens: see `Play::step`.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::{Corpus, fuzz_target};
use tcptrace::{
    app::Pipeline,
    model::{
        Comm, Event, Family, Filter, Frame, KtimeNs, Limits, Look, Lost, LostAt, Processes, Sampled,
        SampledKind, Sees, SocketKey, Stack, TcpState, Transition,
        filter_lists::{ListError, PidList},
    },
    output::Symbolise,
    source::{Batch, clock::WallClock, decode::decode},
};
use tcptrace_common::{KIND_TRANSITION, RawRecord};
use tcptrace_fuzz::{
    formats::{All, Written},
    record::KIND_AT,
};

/// HZ=250
const TICK_NS: u64 = 4_000_000;
/// 2026-11-21T00:00:00Z at the boot of the machine.
const WALL_CLOCK: WallClock = WallClock::with_offset_ns(1_795_219_200_000_000_000);
const STARTED: KtimeNs = KtimeNs(1_000_000_000);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let [sees, room, rest @ ..] = bytes else { return Corpus::Reject };
    let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Corpus::Reject };
    let filter = str::from_utf8(&rest[..end]).ok().and_then(|lines| filter(lines).ok());
    let Some(filter) = filter else { return Corpus::Reject };
    let written = Written::default();
    let max_connections = usize::from(*room).max(1);
    let limits = Limits { max_connections, max_closed: max_connections / 2 };
    let format = Box::new(All::new(&written, filter.clone()));
    let pipeline = Pipeline::begin(STARTED, limits, filter, format, WALL_CLOCK).expect("memory takes it");
    let mut play = Play { pipeline, seen: Vec::new(), lost: 0 };
    play.pipeline.set_sees(reported(*sees));
    play.pipeline.set_source_decides_owners(*sees & 1 << 5 != 0);
    play.pipeline.set_symbols(Box::new(Called(Comm::default())));
    for record in rest[end + 1..].chunks(RawRecord::SIZE) {
        play.step(record);
        play.check(limits);
    }
    let summary = play.pipeline.end(KtimeNs(u64::MAX), |summary| summary).expect("memory takes it");
    assert!(!play.pipeline.is_unsettled());
    play.check(limits);
    written.check(summary.shown);
    Corpus::Keep
});

fn reported(bits: u8) -> Sees {
    let bit = |number: u8| bits & 1 << number != 0;
    Sees { minis: bit(0), samples: bit(1), resets: bit(2), destruction: bit(3), tables: bit(4) }
}

/// Lines of `FLAG=WORD`; others are passed over.
fn filter(lines: &str) -> Result<Filter, ListError> {
    let mut filter = Filter::default();
    for (flag, word) in lines.lines().filter_map(|line| line.split_once('=')) {
        match flag {
            "family" => filter.family = Some(if word == "4" { Family::V4 } else { Family::V6 }),
            "pid" => filter.processes = Some(Processes::from(&word.parse::<PidList>()?)),
            "comm" => filter.comms = Some(word.parse()?),
            "lport" => filter.local_ports = Some(word.parse()?),
            "rport" => filter.remote_ports = Some(word.parse()?),
            "port" => filter.service_ports = Some(word.parse()?),
            "laddr" => filter.local_networks = Some(word.parse()?),
            "raddr" => filter.remote_networks = Some(word.parse()?),
            "netns" => filter.netns = Some(word.split(',').filter_map(|inode| inode.parse().ok()).collect()),
            "state" => filter.states = Some(word.parse()?),
            _ => {}
        }
    }
    Ok(filter)
}

/// What happens, one thing after the other.
struct Play {
    pipeline: Pipeline,
    /// In a look at the kernel's tables, since the last one was made use of.
    seen: Vec<Sampled>,
    lost: u64,
}

impl Play {
    fn step(&mut self, record: &[u8]) {
        let kind = record.get(KIND_AT).copied().unwrap_or_default();
        match (kind, as_transition(record)) {
            (0xf0.., Some(of)) => self.something_else(kind, &of).expect("memory takes it"),
            _ => self.record(record),
        }
    }

    /// As the ring does.
    fn record(&mut self, record: &[u8]) {
        let mut batch = Batch::default();
        match decode(record, TICK_NS) {
            Ok(event) => {
                batch.taken = event.ts();
                batch.events.push(event);
            }
            Err(_) => self.lose(&mut batch, KtimeNs(0)),
        }
        self.pipeline.take(&batch, WALL_CLOCK).expect("memory takes it");
    }

    fn lose(&mut self, batch: &mut Batch, noticed: KtimeNs) {
        batch.lost.push(Lost { noticed, count: 1, at: LostAt::Decode });
        self.lost += 1;
    }

    fn something_else(&mut self, kind: u8, of: &Transition) -> std::io::Result<()> {
        let keys: Vec<SocketKey> = self.seen.iter().map(|socket| socket.key).chain([of.key]).collect();
        let seen = std::mem::take(&mut self.seen);
        let namespaces: Vec<_> = of.netns.into_iter().collect();
        let ended = KtimeNs(of.ts.0.saturating_add(1_000_000));
        let is_complete = seen.len() % 2 == 1;
        let look = Look { sampled: &seen, namespaces: &namespaces, is_complete, started: of.ts, ended };
        match kind {
            0xf0 => self.pipeline.expect_seed(),
            0xf1 => self.pipeline.seed(&seen),
            0xf2 => {
                self.pipeline.heal(&look)?;
            }
            0xf3 => self.pipeline.audit(&look)?,
            0xf4 => self.pipeline.resample(&look)?,
            0xf5 => self.pipeline.correct(&seen, &keys)?,
            0xf6 => {
                let holders: Vec<_> = of.task.map(|task| (of.key, task)).into_iter().collect();
                self.pipeline.note_holders(&holders);
            }
            0xf7 => {
                let mut batch = Batch { taken: of.ts, ..Batch::default() };
                self.lose(&mut batch, of.ts);
                self.pipeline.take(&batch, WALL_CLOCK)?;
            }
            0xf8 => {
                let mut batch = Batch { taken: of.ts, ..Batch::default() };
                batch.stacks.extend(stack(of));
                self.pipeline
                    .set_symbols(Box::new(Called(of.task.map_or(Comm::default(), |task| task.comm))));
                self.pipeline.take(&batch, WALL_CLOCK)?;
            }
            _ => {
                self.seen = seen;
                self.seen.extend(sampled(of));
            }
        }
        Ok(())
    }

    fn check(&self, limits: Limits) {
        let table = self.pipeline.table();
        let counters = table.counters();
        let live = u64::try_from(table.live().len()).unwrap_or(u64::MAX);
        assert_eq!(counters.opened, counters.closed + counters.evicted + counters.let_go + live);
        assert!(table.len() <= limits.max_connections && table.held().len() <= limits.max_connections);
        assert!(table.live().all(|(_, connection)| connection.state != TcpState::Close));
        assert!(table.closed().all(|(_, connection)| connection.state == TcpState::Close));
        assert_eq!(counters.lost, self.lost);
    }
}

/// What a record would say if it were one of a transition.
fn as_transition(record: &[u8]) -> Option<Transition> {
    let mut record = <[u8; RawRecord::SIZE]>::try_from(record).ok()?;
    record[KIND_AT] = KIND_TRANSITION;
    match decode(&record, TICK_NS) {
        Ok(Event::Transition(transition)) => Some(transition),
        _ => None,
    }
}

/// A socket that is in the state that a transition enters, if sock_diag lists such.
fn sampled(of: &Transition) -> Option<Sampled> {
    let kind = match of.new {
        TcpState::Close => return None,
        TcpState::SynRecv if of.is_orphan => SampledKind::Request,
        TcpState::TimeWait => SampledKind::TimeWait,
        TcpState::FinWait2 if of.is_orphan => SampledKind::TimeWait,
        _ => SampledKind::Full,
    };
    Some(Sampled {
        key: of.key,
        family: of.family,
        local: of.local,
        remote: of.remote,
        state: of.new,
        kind,
        netns: of.netns?,
        uid: of.uid,
        entered: (kind == SampledKind::TimeWait).then_some(of.ts),
    })
}

/// The stack of the call that makes a transition.
fn stack(of: &Transition) -> Option<Stack> {
    let task = of.task?;
    Some(Stack {
        ts: of.ts,
        key: of.key,
        pid: task.pid,
        thread: of.thread?,
        started_ns: None,
        addrs: Box::new([1, 2]),
        top: None,
    })
}

/// All functions, files and modules are called so.
struct Called(Comm);

impl Symbolise for Called {
    fn frames(&mut self, stack: &Stack) -> Arc<[Frame]> {
        let name = Some(String::from_utf8_lossy(self.0.bytes()).into_owned()).filter(|name| !name.is_empty());
        let frame = |(index, addr): (usize, &u64)| Frame {
            addr: *addr,
            symbol: name.clone().filter(|_| index == 0),
            offset: Some(*addr),
            module: name.clone(),
            file: name.clone(),
            line: Some(7),
            inlined: false,
        };
        stack.addrs.iter().enumerate().map(frame).collect()
    }
}
