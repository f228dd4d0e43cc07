//! A scenario file: its words, and the events that they stand for.

use tcptrace::{
    app::Pipeline,
    model::{
        Accepted, Comm, Destroyed, Endpoint, Event, Family, Filter, KtimeNs, Limits, Look, Lost, LostAt,
        ProcessStart, Request, ResetReason, ResetReceived, ResetSent, Sampled, SampledKind, Sees, SocketKey,
        Task, TcpState, ThreadId, TimeWait, TimerAction, Transition, Tuple, findings::Host,
    },
    output::Sink,
    source::{Batch, clock::WallClock},
};

use crate::{Result, Shared, facts};

/// What comes next in a scenario.
enum Step {
    Batch(Batch),
    ExpectSeed,
    Seed(Vec<Sampled>),
    Correct(Vec<Sampled>, Vec<SocketKey>),
    Holders(Vec<(SocketKey, Task)>),
    Heal(Vec<Sampled>, KtimeNs, KtimeNs),
    Resample(Vec<Sampled>, KtimeNs, KtimeNs),
    Facts(Host),
    Look(KtimeNs),
}

impl Step {
    /// The latest moment that it tells of.
    fn time(&self) -> Option<KtimeNs> {
        match self {
            Self::Batch(batch) => batch.events.last().map(Event::ts).max(Some(batch.taken)),
            Self::Heal(.., ended) | Self::Resample(.., ended) | Self::Look(ended) => Some(*ended),
            Self::ExpectSeed | Self::Seed(_) | Self::Correct(..) | Self::Holders(_) | Self::Facts(_) => None,
        }
    }
}

/// Events of a scenario, one a batch.
pub(crate) struct Scenario {
    started: KtimeNs,
    limits: Limits,
    sees: Sees,
    steps: Vec<Step>,
}

impl Scenario {
    /// When the last of it happens.
    pub(crate) fn end(&self) -> KtimeNs {
        self.steps.iter().rev().find_map(Step::time).unwrap_or_default()
    }

    /// Runs the events through model and output. Returns what was printed, and the pipeline before its end.
    pub(crate) fn play(&self, format: impl FnOnce(Shared) -> Box<dyn Sink>) -> Result<(String, Pipeline)> {
        let out = Shared::default();
        // 2026-11-21T00:00:00Z at the boot of the machine.
        let wall_clock = WallClock::with_offset_ns(1_795_219_200_000_000_000);
        let mut pipeline =
            Pipeline::begin(self.started, self.limits, Filter::default(), format(out.clone()), wall_clock)?;
        pipeline.set_sees(self.sees);
        let namespaces = &[std::num::NonZeroU32::MIN];
        for step in &self.steps {
            match step {
                Step::Batch(batch) => pipeline.take(batch, wall_clock)?,
                Step::ExpectSeed => pipeline.expect_seed(),
                Step::Seed(sampled) => pipeline.seed(sampled),
                Step::Holders(holders) => pipeline.note_holders(holders),
                Step::Correct(sampled, asked) => pipeline.correct(sampled, asked)?,
                Step::Heal(sampled, started, ended) => {
                    let (started, ended) = (*started, *ended);
                    pipeline.heal(&Look { sampled, namespaces, is_complete: true, started, ended })?;
                }
                Step::Resample(sampled, started, ended) => {
                    let (started, ended) = (*started, *ended);
                    pipeline.resample(&Look { sampled, namespaces, is_complete: true, started, ended })?;
                }
                Step::Facts(host) => pipeline.note_facts(host.clone()),
                Step::Look(at) => pipeline.interval(*at)?,
            }
        }
        let printed = String::from_utf8(out.0.borrow().clone())?;
        Ok((printed, pipeline))
    }
}

/// The events of a scenario file.
pub(crate) fn read(input: &str) -> Result<Scenario> {
    let mut started = KtimeNs(0);
    let mut limits = Limits::default();
    let mut sees = Sees::default();
    let (mut steps, mut seen) = (Vec::new(), Vec::new());
    let mut host = Host::default();
    let lines = input.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines.map(repeated).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["events"] => {}
            ["host", words @ ..] => {
                facts::read(words, &mut host).map_err(|error| format!("`{line}`: {error}"))?;
            }
            ["facts", time] => {
                host.read = Some(moment(time)?);
                steps.push(Step::Facts(host.clone()));
            }
            ["look", time] => steps.push(Step::Look(moment(time)?)),
            ["started", time] => started = moment(time)?,
            ["limits", connections, closed] => {
                limits = Limits { max_connections: connections.parse()?, max_closed: closed.parse()? };
            }
            ["lost", time, count] => {
                let lost = Lost { noticed: moment(time)?, count: count.parse()?, at: LostAt::Ring };
                steps.push(Step::Batch(Batch { lost: vec![lost], ..Batch::default() }));
            }
            ["seen", rest @ ..] => {
                seen.push(sampled(rest).map_err(|error| format!("`{line}`: {error}"))?);
            }
            ["heal", started, ended] => {
                steps.push(Step::Heal(std::mem::take(&mut seen), moment(started)?, moment(ended)?));
            }
            ["holds", socket, task] => {
                let (pid, comm) = task.split_once('/').ok_or("a task is PID/COMM")?;
                steps.push(Step::Holders(vec![(key(socket)?, process(pid, comm)?)]));
            }
            ["expect-seed"] => steps.push(Step::ExpectSeed),
            ["seed"] => steps.push(Step::Seed(std::mem::take(&mut seen))),
            ["sees", words @ ..] => sees = what_is_seen(words)?,
            ["correct", asked @ ..] => {
                let asked = asked.iter().map(|socket| key(socket)).collect::<Result<_>>()?;
                steps.push(Step::Correct(std::mem::take(&mut seen), asked));
            }
            ["resample", started, ended] => {
                steps.push(Step::Resample(std::mem::take(&mut seen), moment(started)?, moment(ended)?));
            }
            ["now", time] => steps.push(Step::Batch(Batch { taken: moment(time)?, ..Batch::default() })),
            [kind @ ("at" | "tw" | "req" | "acc" | "rst" | "rcv" | "gone"), rest @ ..] => {
                let event = match *kind {
                    "at" => transition(rest).map(Event::Transition),
                    "tw" => time_wait(rest).map(Event::TimeWait),
                    "req" => request(rest).map(Event::Request),
                    "acc" => accepted(rest).map(Event::Accepted),
                    "rst" => reset_sent(rest).map(Event::ResetSent),
                    "rcv" => reset_received(rest).map(Event::ResetReceived),
                    _ => destroyed(rest).map(Event::Destroyed),
                };
                let events = vec![event.map_err(|error| format!("`{line}`: {error}"))?];
                steps.push(Step::Batch(Batch { events, ..Batch::default() }));
            }
            _ => return Err(format!("`{line}` is not understood").into()),
        }
    }

    Ok(Scenario { started, limits, sees, steps })
}

/// `for 1..3 LINE` is three lines, with `{}` for the number, and `{+N}` for N more.
fn repeated(line: &str) -> Result<Vec<String>> {
    let Some(rest) = line.strip_prefix("for ") else { return Ok(vec![line.to_owned()]) };
    let (range, line) = rest.split_once(' ').ok_or("for FROM..TO LINE")?;
    let (from, to) = range.split_once("..").ok_or("for FROM..TO LINE")?;
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
    let mut lines = Vec::new();
    for number in from..=to {
        let mut parts = line.split('{');
        let mut written = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (more, rest) = part.split_once('}').ok_or("`}` is missing")?;
            let more: u64 = if more.is_empty() { 0 } else { more.trim_start_matches('+').parse()? };
            written.push_str(&(number + more).to_string());
            written.push_str(rest);
        }
        lines.push(written);
    }
    Ok(lines)
}

fn transition(words: &[&str]) -> Result<Transition> {
    let [time, socket, family, local, remote, old, new, options @ ..] = words else {
        return Err("words are missing".into());
    };
    let mut transition = Transition {
        local: endpoint(local)?,
        remote: endpoint(remote)?,
        ..Transition::bare(moment(time)?, key(socket)?, ip(family), (old.parse()?, new.parse()?))
    };
    for option in options {
        match option.split_once('=').ok_or("an option is NAME=VALUE")? {
            ("task", task) => {
                let (pid, comm) = task.split_once('/').ok_or("a task is PID/COMM")?;
                transition.task = Some(process(pid, comm)?);
            }
            ("thread", thread) => transition.thread = Some(ThreadId(thread.parse()?)),
            ("newborn", yes) => transition.is_newborn = yes == "yes",
            ("address", address) => transition.address = key(address)?,
            ("orphan", yes) => transition.is_orphan = yes == "yes",
            ("listener", listener) => transition.listener = Some(key(listener)?),
            ("backup", yes) => transition.is_backup = yes == "yes",
            ("err", errno) => transition.error = Some(errno.parse()?),
            ("netns", inode) => transition.netns = Some(inode.parse()?),
            ("uid", uid) => transition.uid = Some(uid.parse()?),
            (other, _) => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(transition)
}

fn time_wait(words: &[&str]) -> Result<TimeWait> {
    let [time, socket, family, local, remote, action, state, options @ ..] = words else {
        return Err("words are missing".into());
    };
    let mut event = TimeWait {
        ts: moment(time)?,
        key: key(socket)?,
        family: ip(family),
        local: endpoint(local)?,
        remote: endpoint(remote)?,
        netns: None,
        action: timer_action(action)?,
        state: state.parse::<TcpState>()?,
        entered: None,
        thread: ThreadId(0),
    };
    for option in options {
        match option.split_once('=').ok_or("an option is NAME=VALUE")? {
            ("entered", time) => event.entered = Some(moment(time)?),
            ("thread", thread) => event.thread = ThreadId(thread.parse()?),
            ("netns", inode) => event.netns = Some(inode.parse()?),
            (other, _) => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(event)
}

fn timer_action(word: &str) -> Result<TimerAction> {
    Ok(match word {
        "start" => TimerAction::Start,
        "cancel" => TimerAction::Cancel,
        "expire" => TimerAction::Expire,
        other => return Err(format!("unknown action {other}").into()),
    })
}

fn request(words: &[&str]) -> Result<Request> {
    let [time, socket, family, local, remote, action, options @ ..] = words else {
        return Err("words are missing".into());
    };
    let mut event = Request {
        ts: moment(time)?,
        key: key(socket)?,
        family: ip(family),
        local: endpoint(local)?,
        remote: endpoint(remote)?,
        netns: None,
        action: timer_action(action)?,
        address: key(socket)?,
        listener: None,
        is_acked: false,
    };
    for option in options {
        match option.split_once('=').ok_or("an option is NAME=VALUE")? {
            ("listener", listener) => event.listener = Some(key(listener)?),
            ("address", address) => event.address = key(address)?,
            ("acked", yes) => event.is_acked = yes == "yes",
            ("netns", inode) => event.netns = Some(inode.parse()?),
            (other, _) => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(event)
}

fn reset_sent(words: &[&str]) -> Result<ResetSent> {
    let [time, socket, options @ ..] = words else { return Err("words are missing".into()) };
    let (mut reason, mut ends, mut netns) = (None, None, None);
    for option in options {
        match option.split_once('=').ok_or("an option is NAME=VALUE")? {
            ("reason", number) => reason = ResetReason::from_number(number.parse()?),
            ("for", both) => ends = Some(both.split_once(',').ok_or("for=LOCAL,REMOTE")?),
            ("netns", inode) => netns = Some(inode.parse()?),
            (other, _) => return Err(format!("unknown option {other}").into()),
        }
    }
    let half_open = match ends {
        Some((local, remote)) => Tuple::new(netns, endpoint(local)?, endpoint(remote)?),
        None => None,
    };
    Ok(ResetSent { ts: moment(time)?, key: key(socket)?, half_open, reason })
}

fn reset_received(words: &[&str]) -> Result<ResetReceived> {
    let [time, socket] = words else { return Err("words are missing".into()) };
    Ok(ResetReceived { ts: moment(time)?, key: key(socket)? })
}

fn accepted(words: &[&str]) -> Result<Accepted> {
    let [time, socket, task] = words else { return Err("words are missing".into()) };
    let (pid, comm) = task.split_once('/').ok_or("a task is PID/COMM")?;
    Ok(Accepted { ts: moment(time)?, key: key(socket)?, task: process(pid, comm)? })
}

pub(crate) fn process(pid: &str, comm: &str) -> Result<Task> {
    let pid = pid.parse()?;
    Ok(Task { pid, tid: pid, comm: Comm::from(comm), started: ProcessStart::from_ticks(4711), cgroup: None })
}

fn destroyed(words: &[&str]) -> Result<Destroyed> {
    let [time, socket] = words else { return Err("words are missing".into()) };
    Ok(Destroyed { ts: moment(time)?, key: key(socket)? })
}

fn what_is_seen(words: &[&str]) -> Result<Sees> {
    let mut sees = Sees::default();
    for word in words {
        match *word {
            "minis" => sees.minis = true,
            "samples" => sees.samples = true,
            "resets" => sees.resets = true,
            "destruction" => sees.destruction = true,
            "tables" => sees.tables = true,
            other => return Err(format!("unknown word {other}").into()),
        }
    }
    Ok(sees)
}

fn sampled(words: &[&str]) -> Result<Sampled> {
    let [socket, family, local, remote, state, options @ ..] = words else {
        return Err("words are missing".into());
    };
    let mut sampled = Sampled {
        key: key(socket)?,
        family: ip(family),
        local: endpoint(local)?,
        remote: endpoint(remote)?,
        state: state.parse::<TcpState>()?,
        kind: SampledKind::Full,
        netns: std::num::NonZeroU32::MIN,
        uid: None,
        entered: None,
    };
    for option in options {
        match option.split_once('=').ok_or("an option is NAME=VALUE")? {
            ("mini", _) => sampled.kind = SampledKind::TimeWait,
            ("request", _) => sampled.kind = SampledKind::Request,
            ("entered", time) => sampled.entered = Some(moment(time)?),
            ("uid", uid) => sampled.uid = Some(uid.parse()?),
            (other, _) => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(sampled)
}

fn ip(version: &str) -> Family {
    if version == "4" { Family::V4 } else { Family::V6 }
}

pub(crate) fn key(socket: &str) -> Result<SocketKey> {
    match socket.split_at(1) {
        ("c", number) => Ok(SocketKey::from_cookie(number.parse()?)),
        ("a", number) => Ok(SocketKey::from_address(number.parse()?)),
        _ => Err("a socket is cN or aN".into()),
    }
}

fn endpoint(text: &str) -> Result<Endpoint> {
    let (addr, port) = text.split_once('/').ok_or("an endpoint is ADDR/PORT")?;
    let is_known = |word: &str| word != "-";
    Ok(Endpoint {
        addr: Some(addr).filter(|addr| is_known(addr)).map(str::parse).transpose()?,
        port: Some(port).filter(|port| is_known(port)).map(str::parse).transpose()?,
    })
}

/// Seconds with up to nine decimals, exactly.
pub(crate) fn moment(seconds: &str) -> Result<KtimeNs> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    Ok(KtimeNs(whole.parse::<u64>()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>()?))
}
