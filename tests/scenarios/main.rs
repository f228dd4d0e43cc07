//! Scenarios: synthetic events in, lines and counters out, each a file `*.scn` beside this one.
//!
//! A file has two parts. Under `events`, a line each:
//!
//! ```text
//! started 1.0                      moment at which tracing was on, in seconds of CLOCK_MONOTONIC
//! limits CONNECTIONS CLOSED        how much the table may hold
//! sees WORD...                     what the source reports: minis samples resets destruction tables
//! at TIME SOCKET FAMILY LOCAL REMOTE OLD NEW [task=PID/COMM] [err=ERRNO] [netns=N] [uid=N] [backup=yes] [orphan=yes]
//!    [newborn=yes] [address=SOCKET] [listener=SOCKET]
//! tw TIME SOCKET FAMILY LOCAL REMOTE start|cancel|expire STATE [entered=TIME] [thread=N] [netns=N]
//! req TIME SOCKET FAMILY LOCAL REMOTE start|cancel|expire [acked=yes] [netns=N] [listener=SOCKET]
//! acc TIME SOCKET PID/COMM         it is accepted
//! holds SOCKET PID/COMM            a process is found to hold a descriptor of it
//! rst TIME SOCKET [reason=NUMBER] [for=LOCAL,REMOTE] [netns=N]   we sent a reset; a listener, for a half-open connection
//! rcv TIME SOCKET                  a reset is taken in
//! gone TIME SOCKET                 a closed socket is destroyed
//! seen SOCKET FAMILY LOCAL REMOTE STATE [mini=yes] [request=yes] [entered=TIME] [uid=N]   in a look at the kernel's tables
//! expect-seed                      a look at what was open before is under way
//! seed                             takes in what was seen as what was open before
//! correct [SOCKET...]              takes in what was seen of orphans and suspects; the sockets were looked for
//! resample STARTED ENDED           takes in what was seen as a look at all time-wait and request sockets
//! heal STARTED ENDED               takes in what was seen as a look at everything, after a loss; there is only namespace 1
//! lost TIME COUNT                  a loss, noticed at TIME
//! now TIME                         time has come to TIME
//! ```
//!
//! SOCKET is `cN` (cookie) or `aN` (address: the kernel gave no cookie), an endpoint is `ADDR/PORT` with `-` for
//! what is unknown. Under `expect`, the lines that `watch --wide` prints, and the counters of the table.
//! With `UPDATE_SCENARIOS=1` the second part is written anew: read the difference before it is committed.

use std::{
    cell::RefCell,
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    rc::Rc,
};

use tcptrace::{
    app::Pipeline,
    model::{
        Accepted, Comm, Destroyed, Endpoint, Event, Family, Filter, KtimeNs, Limits, Look, Lost, LostAt,
        ProcessStart, Request, ResetReason, ResetReceived, ResetSent, Sampled, SampledKind, Sees, SocketKey,
        Task, TcpState, ThreadId, TimeWait, TimerAction, Transition, Tuple,
    },
    output::{Csv, Json, LineFormat, Text, TextOptions},
    source::{Batch, clock::WallClock},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[test]
fn scenarios() -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "scn"));
    files.sort();
    assert!(files.len() >= 10, "the scenarios are found: {files:?}");

    let mut failed = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let (input, expected) = text.split_once("expect\n").ok_or("a scenario has an `expect` part")?;
        let got = run(input).map_err(|error| format!("{}: {error}", file.display()))?;
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            fs::write(&file, format!("{input}expect\n{got}"))?;
        } else if got != expected {
            failed.push(format!("{}\nexpected:\n{expected}\ngot:\n{got}", file.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// What comes next in a scenario.
enum Step {
    Batch(Batch),
    ExpectSeed,
    Seed(Vec<Sampled>),
    Correct(Vec<Sampled>, Vec<SocketKey>),
    Holders(Vec<(SocketKey, Task)>),
    Heal(Vec<Sampled>, KtimeNs, KtimeNs),
    Resample(Vec<Sampled>, KtimeNs, KtimeNs),
}

impl Step {
    /// The latest moment that it tells of.
    fn time(&self) -> Option<KtimeNs> {
        match self {
            Self::Batch(batch) => batch.events.last().map(Event::ts).max(Some(batch.taken)),
            Self::Heal(.., ended) | Self::Resample(.., ended) => Some(*ended),
            Self::ExpectSeed | Self::Seed(_) | Self::Correct(..) | Self::Holders(_) => None,
        }
    }
}

/// Events of a scenario, one a batch.
struct Scenario {
    started: KtimeNs,
    limits: Limits,
    sees: Sees,
    steps: Vec<Step>,
}

impl Scenario {
    /// Runs the events through model and output. Returns what was printed, and the pipeline before its end.
    fn play(&self, format: impl FnOnce(Shared) -> Box<dyn LineFormat>) -> Result<(String, Pipeline)> {
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
            }
        }
        let printed = String::from_utf8(out.0.borrow().clone())?;
        Ok((printed, pipeline))
    }
}

/// The events of a scenario file.
fn read(input: &str) -> Result<Scenario> {
    let mut started = KtimeNs(0);
    let mut limits = Limits::default();
    let mut sees = Sees::default();
    let (mut steps, mut seen) = (Vec::new(), Vec::new());
    for line in input.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["events"] => {}
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

/// What the scenario prints with `watch --wide`, and the counters.
fn run(input: &str) -> Result<String> {
    let options = TextOptions { header: false, color: false, wide: true, wall_clock: None };
    let scenario = read(input)?;
    let out = Shared::default();
    let (_, mut pipeline) = scenario.play(|_| Box::new(Text::new(out.clone(), options)))?;
    // What is not clear by then stays so, and what is still held is told.
    let end = scenario.steps.iter().rev().find_map(Step::time).unwrap_or_default();
    pipeline.end(end, |summary| summary)?;
    let printed = String::from_utf8(out.0.borrow().clone())?;
    // The columns are padded; editors and people do not see what is at the end of a line.
    let mut printed = printed.lines().flat_map(|line| [line.trim_end(), "\n"]).collect::<String>();
    let counters = pipeline.table().counters();
    let live = pipeline.table().live().len() as u64;
    assert_eq!(
        counters.opened,
        counters.closed + counters.evicted + live,
        "lives are neither lost nor invented"
    );
    writeln!(printed, "{counters:?} live {live} closed {}", pipeline.table().closed().len())?;
    Ok(printed)
}

fn transition(words: &[&str]) -> Result<Transition> {
    let [time, socket, family, local, remote, old, new, options @ ..] = words else {
        return Err("words are missing".into());
    };
    let mut transition = Transition {
        ts: moment(time)?,
        key: key(socket)?,
        family: if *family == "4" { Family::V4 } else { Family::V6 },
        mptcp: false,
        is_backup: false,
        local: endpoint(local)?,
        remote: endpoint(remote)?,
        old: old.parse::<TcpState>()?,
        new: new.parse::<TcpState>()?,
        netns: None,
        uid: None,
        error: None,
        task: None,
        thread: None,
        is_orphan: false,
        is_newborn: false,
        address: key(socket)?,
        listener: None,
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
        family: if *family == "4" { Family::V4 } else { Family::V6 },
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
        family: if *family == "4" { Family::V4 } else { Family::V6 },
        local: endpoint(local)?,
        remote: endpoint(remote)?,
        netns: None,
        action: timer_action(action)?,
        listener: None,
        is_acked: false,
    };
    for option in options {
        match option.split_once('=').ok_or("an option is NAME=VALUE")? {
            ("listener", listener) => event.listener = Some(key(listener)?),
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

fn process(pid: &str, comm: &str) -> Result<Task> {
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
        family: if *family == "4" { Family::V4 } else { Family::V6 },
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

fn key(socket: &str) -> Result<SocketKey> {
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
fn moment(seconds: &str) -> Result<KtimeNs> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    Ok(KtimeNs(whole.parse::<u64>()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>()?))
}

/// Every format on the same events: a hostile name, a loss, a lower bound, an end with a cause.
#[test]
fn formats_are_as_reviewed() -> Result<()> {
    let input = "
        started 1.0
        at 1.5 c1 4 0.0.0.0/80 -/- CLOSE LISTEN task=7/nginx uid=33 netns=4026531840 err=0
        at 2.0 c2 6 2001:db8::1/- 2001:db8::2/443 CLOSE SYN_SENT task=10/a,\"b\"\x1b[2J uid=1000 netns=4026531840 err=0
        at 2.1 c2 6 2001:db8::1/50001 2001:db8::2/443 SYN_SENT CLOSE uid=1000 netns=4026531840 err=111
        lost 3.0 12
        at 4.25 c3 6 192.0.2.1/22 192.0.2.9/51000 ESTABLISHED CLOSE_WAIT uid=0 netns=4026531840 err=0
        at 5.0 a99 4 192.0.2.1/22 -/- LISTEN SYN_RECV
    "
    .replace("\\x1b", "\u{1b}");
    let scenario = read(&input)?;
    let text = |header, color, wide, wall_clock| {
        move |out| {
            Box::new(Text::new(out, TextOptions { header, color, wide, wall_clock })) as Box<dyn LineFormat>
        }
    };
    let utc = || Some(jiff::tz::TimeZone::UTC);
    for (name, (printed, mut pipeline)) in [
        ("text", scenario.play(text(true, false, false, None))?),
        ("text_wide_wall_clock", scenario.play(text(true, false, true, utc()))?),
        ("text_color_no_header", scenario.play(text(false, true, false, None))?),
        ("json", scenario.play(|out| Box::new(Json::new(out)))?),
        ("csv", scenario.play(|out| Box::new(Csv::new(out, true)))?),
        ("csv_no_header", scenario.play(|out| Box::new(Csv::new(out, false)))?),
    ] {
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, printed);
        });
        let control = printed
            .chars()
            .find(|c| c.is_control() && *c != '\n' && (*c != '\u{1b}' || !name.contains("color")));
        assert_eq!(control, None, "{name}");
        if name == "text" {
            let summary = pipeline.end(KtimeNs(9_000_000_000), |summary| summary)?;
            let both = format!("{summary}\n{}", serde_json::to_string_pretty(&summary)?);
            insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!("summary", both);
            });
        }
    }
    Ok(())
}

/// A buffer that is read while a format still writes to it.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
