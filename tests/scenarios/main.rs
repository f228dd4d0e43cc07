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
//! req TIME SOCKET FAMILY LOCAL REMOTE start|cancel|expire [acked=yes] [netns=N] [listener=SOCKET] [address=SOCKET]
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
//! for FROM..TO LINE                the line for each number, with `{}` for the number and `{+N}` for N more
//! host WORD...                     what the host says besides, see facts.rs
//! facts TIME                       it is read, all that was said so far
//! look TIME                        an interval is over: findings are looked for
//! ```
//!
//! SOCKET is `cN` (cookie) or `aN` (address: the kernel gave no cookie), an endpoint is `ADDR/PORT` with `-` for
//! what is unknown. Under `expect`, the lines that `watch --wide` prints, and the counters of the table.
//! With `UPDATE_SCENARIOS=1` the second part is written anew: read the difference before it is committed.

mod facts;
mod findings;
mod formats;
mod hist;
mod script;
mod snapshot;

use std::{
    cell::RefCell,
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    rc::Rc,
};

use tcptrace::output::{Text, TextOptions};

use script::read;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[test]
fn scenarios() -> Result<()> {
    check_files("../tests/scenarios", 10, run)
}

/// Runs each scenario of a directory, and holds what it prints against what is expected.
fn check_files(dir: &str, least: usize, run: fn(&str) -> Result<String>) -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "scn"));
    files.sort();
    assert!(files.len() >= least, "the scenarios are found: {files:?}");

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

/// What the scenario prints with `watch --wide`, and the counters.
fn run(input: &str) -> Result<String> {
    let options = TextOptions { header: false, color: false, wide: true, wall_clock: None };
    let scenario = read(input)?;
    let out = Shared::default();
    let (_, mut pipeline) = scenario.play(|_| Box::new(Text::new(out.clone(), options)))?;
    // What is not clear by then stays so, and what is still held is told.
    pipeline.end(scenario.end(), |summary| summary)?;
    let printed = String::from_utf8(out.0.borrow().clone())?;
    // The columns are padded; editors and people do not see what is at the end of a line.
    let mut printed = printed.lines().flat_map(|line| [line.trim_end(), "\n"]).collect::<String>();
    let counters = pipeline.table().counters();
    let live = pipeline.table().live().len() as u64;
    assert_eq!(
        counters.opened,
        counters.closed + counters.evicted + counters.let_go + live,
        "lives are neither lost nor invented"
    );
    writeln!(printed, "{counters:?} live {live} closed {}", pipeline.table().closed().len())?;
    Ok(printed)
}

/// A buffer that is read while a format still writes to it.
#[derive(Clone, Default)]
pub(crate) struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
