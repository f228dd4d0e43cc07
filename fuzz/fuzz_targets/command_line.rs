//! A whole command line, a word a line: an error is one harmless line, and a selection that is printed and read again is
//! the same.
#![no_main]

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use clap::Parser as _;
use libfuzzer_sys::{Corpus, fuzz_target};
use tcptrace::{
    cli::{Cli, Command, Places, one_line},
    model::{Filter, Limits},
    output::escape,
};
use tcptrace_fuzz::{is_dangerous, words};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // No word of a command line has a NUL in it.
    if bytes.contains(&0) {
        return Corpus::Reject;
    }
    let typed = bytes.split(|byte| *byte == b'\n').map(|word| OsStr::from_bytes(word).to_owned());
    match read(typed) {
        Ok(asked) => {
            if let Some((ring_size, limits)) = asked.bounds {
                assert!(ring_size.is_power_of_two() && limits.max_connections > 0);
            }
            let printed = words::selection(&asked.filter, &asked.places);
            let again = read([OsString::from(asked.command)].into_iter().chain(printed.clone()));
            let again = again.map(|again| (again.filter, again.places)).ok();
            assert_eq!(again, Some((asked.filter, asked.places)), "{printed:?}");
        }
        Err(error) => {
            let line = one_line(&error);
            assert!(!line.is_empty(), "{error:?}");
            assert_eq!(escape::text(&line).chars().find(|c| is_dangerous(*c)), None, "{line:?}");
        }
    }
    Corpus::Keep
});

/// What every command has, and what those have that trace.
struct Asked {
    command: &'static str,
    filter: Filter,
    places: Places,
    bounds: Option<(u32, Limits)>,
}

fn read(words: impl Iterator<Item = OsString>) -> Result<Asked, clap::Error> {
    let cli = Cli::try_parse_from([OsString::from("tcptrace")].into_iter().chain(words))?;
    let (command, session) = match cli.command {
        Command::Watch(typed) => ("watch", typed.meaning(cli.verbose).session),
        Command::Hist(typed) => {
            let hist = typed.meaning(cli.verbose);
            assert!(hist.shown > 0 && hist.count != Some(0));
            assert!(hist.interval.is_none_or(|interval| !interval.is_zero()));
            ("hist", hist.session)
        }
        Command::Snapshot(typed) => {
            let snapshot = typed.meaning();
            assert!(snapshot.shown > 0);
            let (filter, places) = (snapshot.filter, snapshot.places);
            return Ok(Asked { command: "snapshot", filter, places, bounds: None });
        }
        Command::Leaks(typed) => {
            let leaks = typed.meaning(cli.verbose);
            assert!(leaks.is_watch || leaks.session.duration.is_some());
            ("leaks", leaks.session)
        }
        // It selects nothing.
        Command::Explain(typed) => {
            drop(typed.meaning());
            let (filter, places) = Default::default();
            return Ok(Asked { command: "explain", filter, places, bounds: None });
        }
        Command::Doctor(typed) => ("doctor", typed.meaning(cli.verbose).session),
    };
    let bounds = Some((session.settings.ring_size, session.limits));
    Ok(Asked { command, filter: session.settings.filter, places: session.places, bounds })
}
