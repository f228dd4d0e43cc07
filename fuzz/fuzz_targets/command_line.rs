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
    cli::{Cli, Command, Watch, one_line},
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
        Ok(watch) => {
            assert!(watch.settings.ring_size.is_power_of_two() && watch.limits.max_connections > 0);
            let printed = words::selection(&watch.settings.filter, &watch.places);
            let again = read([OsString::from("watch")].into_iter().chain(printed.clone()));
            let again = again.map(|again| (again.settings.filter, again.places)).ok();
            assert_eq!(again, Some((watch.settings.filter, watch.places)), "{printed:?}");
        }
        Err(error) => {
            let line = one_line(&error);
            assert!(!line.is_empty(), "{error:?}");
            assert_eq!(escape::text(&line).chars().find(|c| is_dangerous(*c)), None, "{line:?}");
        }
    }
    Corpus::Keep
});

fn read(words: impl Iterator<Item = OsString>) -> Result<Watch, clap::Error> {
    let cli = Cli::try_parse_from([OsString::from("tcptrace")].into_iter().chain(words))?;
    let Command::Watch(typed) = cli.command;
    Ok(typed.meaning(cli.verbose))
}
