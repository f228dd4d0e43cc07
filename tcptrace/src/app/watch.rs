//! `tcptrace watch`: a full-screen view, or a line for each transition.

use std::{
    env,
    io::{self, BufWriter, IsTerminal as _},
    process::ExitCode,
};

use anyhow::{Result, bail};
use jiff::tz::TimeZone;

use super::{
    filter_language::SelectionLanguage,
    log,
    screen::Screen,
    session::{self, Ended},
    terminal,
    world::Gathering,
};
use crate::{
    cli::{self, OutputFormat, Watch},
    output::{
        Csv, Json, OnlySummary, Sink, Text, TextOptions, findings::LookoutOptions, tui::data::DataOptions,
    },
};

/// Room for a few hundred lines: one write for a batch under load, one a line when it is quiet.
const OUTPUT_BUFFER: usize = 64 * 1024;

/// Traces until it is told to end.
pub(super) fn run(watch: &Watch) -> Result<ExitCode> {
    let lines =
        match output(watch, io::stdin().is_terminal() && io::stdout().is_terminal() && !terminal::is_dumb())?
        {
            Output::View => return view(watch),
            Output::Lines(lines) => lines,
        };
    if watch.session.demo.is_some() {
        tracing::warn!("these are synthetic connections, not this host's (--demo)");
    }
    let Ended { code, summary } = session::run(&watch.session, format(watch, lines), None)?;
    if let Some(summary) = summary
        && matches!(lines, Lines::Text | Lines::Csv)
    {
        eprintln!("tcptrace: {summary}");
    }
    Ok(code)
}

/// Shows it full-screen.
fn view(watch: &Watch) -> Result<ExitCode> {
    let lookout = LookoutOptions {
        with_stacks: watch.session.settings.stacks,
        needs_owner: watch.session.settings.filter.asks_for_owners() || watch.session.places.cgroup.is_some(),
        ..LookoutOptions::default()
    };
    let states = watch.session.settings.filter.states;
    let (gathering, sink) = Gathering::begin(DataOptions { lookout, states });
    let screen =
        Screen::new(watch, cli::selection_typed(env::args_os()), gathering, Box::new(SelectionLanguage))?;
    let Ended { code, summary } = session::run_with(&watch.session, sink, None, Box::new(screen))?;
    if let Some(summary) = summary {
        log::tell(&format!("tcptrace: {summary}\n"));
    }
    Ok(code)
}

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    View,
    Lines(Lines),
}

/// A format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Text,
    Json,
    Csv,
    Summary,
}

/// As it was asked for; where it was not, as it can be shown.
fn output(watch: &Watch, is_terminal: bool) -> Result<Output> {
    let has_command = !watch.session.command.is_empty();
    // Flags that are about lines.
    let wants_lines = watch.wide || watch.wall_clock || !watch.header;
    let has_view = is_terminal && !has_command && !wants_lines;
    let by_itself = if has_view { OutputFormat::Tui } else { OutputFormat::Text };
    Ok(Output::Lines(match watch.output.unwrap_or(by_itself) {
        OutputFormat::Tui if has_command => {
            bail!("-o tui is not for a COMMAND, whose output would be on the same screen; -o text is")
        }
        OutputFormat::Tui if !is_terminal => {
            bail!(
                "-o tui needs a terminal as standard input and output, not one of TERM=dumb; -o text, json and csv do not"
            )
        }
        OutputFormat::Tui => return Ok(Output::View),
        OutputFormat::Text => Lines::Text,
        OutputFormat::Json => Lines::Json,
        OutputFormat::Csv => Lines::Csv,
        OutputFormat::Summary => Lines::Summary,
    }))
}

fn format(watch: &Watch, lines: Lines) -> Box<dyn Sink> {
    let out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout());
    match lines {
        Lines::Json => Box::new(Json::new(out)),
        Lines::Csv => Box::new(Csv::new(out, watch.header)),
        Lines::Summary => Box::new(OnlySummary::new(out)),
        Lines::Text => Box::new(Text::new(
            out,
            TextOptions {
                header: watch.header,
                color: terminal::wants_color(watch.color),
                wide: watch.wide,
                wall_clock: watch.wall_clock.then(TimeZone::system),
            },
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn shown(args: &[&str], is_terminal: bool) -> Result<Output> {
        let cli = Cli::try_parse_from([&["tcptrace", "watch"], args].concat())?;
        let Command::Watch(args) = cli.command else { bail!("it is watch") };
        output(&args.meaning(0), is_terminal)
    }

    #[test]
    fn on_a_terminal_it_is_shown_full_screen_unless_something_else_is_there() {
        let text = Output::Lines(Lines::Text);
        for (args, on_terminal, elsewhere) in [
            (&[][..], Some(Output::View), Some(text)),
            (&["-o", "tui"], Some(Output::View), None),
            (&["-o", "text"], Some(text), Some(text)),
            (&["-o", "csv"], Some(Output::Lines(Lines::Csv)), Some(Output::Lines(Lines::Csv))),
            (&["--", "true"], Some(text), Some(text)),
            (&["-o", "tui", "--", "true"], None, None),
        ] {
            assert_eq!(shown(args, true).ok(), on_terminal, "{args:?} on a terminal");
            assert_eq!(shown(args, false).ok(), elsewhere, "{args:?} elsewhere");
        }
    }
}
