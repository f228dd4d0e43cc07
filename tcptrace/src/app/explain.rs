//! `tcptrace explain`: what a state or a finding is, and what to do about it.

use std::{
    env,
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow};

use super::terminal;
use crate::{
    cli::{self, ExplainCommand, Topic},
    model::{TcpState, findings::Thresholds},
    output::explain::{Language, RulePage, rule_ids, rule_page, write_diagram, write_rule, write_state},
    source::sysctl,
};

/// Prints pages.
pub(super) fn run(command: &ExplainCommand) -> Result<ExitCode> {
    let language = match command.language {
        Some(cli::Language::En) => Language::En,
        Some(cli::Language::Zh) => Language::Zh,
        None => of_locale(),
    };
    let pages = match &command.topic {
        None => Vec::new(),
        Some(Topic::State(state)) => vec![Subject::State(*state)],
        Some(Topic::Rule(name)) => vec![Subject::Rule(rule(name, language)?)],
        Some(Topic::All) => {
            let rules = rule_ids().filter_map(|id| rule_page(id, language));
            TcpState::IN_LIFE.map(Subject::State).into_iter().chain(rules.map(Subject::Rule)).collect()
        }
    };
    let mut out = BufWriter::new(io::stdout());
    let has_color = terminal::wants_color(command.color);
    write(&mut out, &pages, language, has_color).context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// What a page is about.
#[derive(Debug)]
enum Subject {
    State(TcpState),
    Rule(RulePage),
}

/// The pages one below the other; none is the diagram.
fn write(out: &mut impl Write, pages: &[Subject], language: Language, has_color: bool) -> io::Result<()> {
    if pages.is_empty() {
        write_diagram(out, language)?;
    }
    let defaults = Thresholds::default().entries();
    let threshold = |rule: &str, key: &str| {
        let found = defaults.iter().find(|(of, name, _)| (*of, *name) == (rule, key));
        found.map(|(.., value)| value.clone())
    };
    for (i, page) in pages.iter().enumerate() {
        if i > 0 {
            writeln!(out, "\n")?;
        }
        match page {
            Subject::State(state) => write_state(out, *state, language, &sysctl::read, has_color)?,
            Subject::Rule(page) => write_rule(out, page, language, &sysctl::read, &threshold, has_color)?,
        }
    }
    out.flush()
}

/// The page of a rule whose id was typed in some spelling.
fn rule(name: &str, language: Language) -> Result<RulePage> {
    let id = name.to_ascii_lowercase().replace('_', "-");
    rule_page(&id, language).ok_or_else(|| {
        let states = TcpState::IN_LIFE.map(TcpState::name).join(" ");
        let rules = rule_ids().collect::<Vec<_>>().join(" ");
        anyhow!("[STATE|RULE|all]: `{name}` is neither a state ({states}) nor a rule ({rules}) nor `all`")
    })
}

/// That of messages, as locale(7) has it.
fn of_locale() -> Language {
    let variables = ["LC_ALL", "LC_MESSAGES", "LANG"];
    let locale = variables.iter().filter_map(env::var_os).find(|value| !value.is_empty());
    match locale.as_deref().and_then(|locale| locale.to_str()) {
        Some(locale) if locale.starts_with("zh") => Language::Zh,
        _ => Language::En,
    }
}
