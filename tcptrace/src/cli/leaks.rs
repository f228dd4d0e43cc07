//! `tcptrace leaks`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    selection::SelectionArgs,
    session::{Session, TracingArgs},
    values,
    watch::ColorChoice,
};
use crate::model::findings::{
    condition::Condition,
    thresholds::{Given, rule_ids},
};

/// What was typed.
#[derive(Debug, Args)]
pub struct LeaksArgs {
    /// Go on until told to end, and tell what is new, what is worse and what is over as it happens
    #[arg(long, conflicts_with = "look_for")]
    watch: bool,
    /// Look for so long
    #[arg(long = "for", id = "look_for", value_name = "TIME", default_value = "8s", value_parser = values::interval)]
    look_for: Duration,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Only these rules
    #[arg(long, value_name = "ID,..", value_delimiter = ',', value_parser = rule, help_heading = "Findings")]
    rule: Vec<&'static str>,
    /// What counts as old, for all rules; by default each has an age of its own
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "Findings")]
    older_than: Option<Duration>,
    /// Set a threshold, such as close-wait-leak.count=20; `explain RULE` shows them
    #[arg(long, value_name = "RULE.KEY=VALUE", value_parser = setting, help_heading = "Findings")]
    set: Vec<Setting>,
    /// Read thresholds from a TOML file: a table for each rule; --older-than and --set go before it
    #[arg(long, value_name = "FILE", help_heading = "Findings")]
    thresholds: Option<PathBuf>,
    /// Show the code that accepted or connected the sockets of a finding (those made since the start)
    #[arg(long, help_heading = "Findings")]
    stacks: bool,
    /// Exit with 1 if there is a finding of this severity (info, warning, critical), or if this holds:
    /// close_wait.count>100 && close_wait.age>5m
    #[arg(long, value_name = "CONDITION", help_heading = "Findings")]
    fail_on: Option<Condition>,
    /// Format of the findings
    #[arg(short, long, value_enum, default_value_t, help_heading = "Output")]
    output: LeaksFormat,
    /// Colours; the variable NO_COLOR turns `auto` off
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    color: ColorChoice,
    #[command(flatten)]
    tracing: TracingArgs,
}

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LeaksFormat {
    /// For people
    #[default]
    Text,
    /// One object a line
    Json,
}

/// A threshold that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The rule.
    pub rule: String,
    /// Its threshold.
    pub key: String,
    /// What to set it to.
    pub given: Given,
}

/// What it means.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaksCommand {
    /// What to trace, and how.
    pub session: Session,
    /// Tell changes as they happen.
    pub is_watch: bool,
    /// Only these rules.
    pub only: Option<Vec<&'static str>>,
    /// What counts as old.
    pub older_than: Option<Duration>,
    /// Thresholds.
    pub set: Vec<Setting>,
    /// A file of thresholds.
    pub thresholds: Option<PathBuf>,
    /// Show stacks.
    pub with_stacks: bool,
    /// Exit with 1 if it holds.
    pub fail_on: Option<Condition>,
    /// Format of the findings.
    pub output: LeaksFormat,
    /// Colours.
    pub color: ColorChoice,
}

impl LeaksArgs {
    /// What it means; `verbose` is the number of `-v`.
    pub fn meaning(self, verbose: u8) -> LeaksCommand {
        let mut session = self.tracing.meaning(self.selection, verbose);
        session.settings.stacks = self.stacks;
        if !self.watch {
            session.duration = session.duration.or(Some(self.look_for));
        }
        LeaksCommand {
            session,
            is_watch: self.watch,
            only: (!self.rule.is_empty()).then_some(self.rule),
            older_than: self.older_than,
            set: self.set,
            thresholds: self.thresholds,
            with_stacks: self.stacks,
            fail_on: self.fail_on,
            output: self.output,
            color: self.color,
        }
    }
}

fn rule(text: &str) -> Result<&'static str, String> {
    let known = rule_ids();
    let rule = known.iter().find(|rule| **rule == text);
    rule.copied().ok_or_else(|| format!("there is no rule `{text}`; rules are {}", known.join(" ")))
}

/// A value as a number, a span of time, or both.
pub(crate) fn given(text: &str) -> Given {
    let span = values::duration(text).ok().and_then(|span| u64::try_from(span.as_nanos()).ok());
    Given { number: text.parse().ok(), span_ns: span }
}

fn setting(text: &str) -> Result<Setting, String> {
    let parts =
        text.split_once('=').and_then(|(name, value)| Some((name.trim().split_once('.')?, value.trim())));
    let Some(((rule, key), value)) = parts else {
        return Err(format!("`{text}` sets no threshold; accepted are such as close-wait-leak.count=20"));
    };
    Ok(Setting { rule: rule.to_owned(), key: key.to_owned(), given: given(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let both = Given { number: Some(20), span_ns: Some(20_000_000_000) };
        for (text, rule, key, wanted) in [
            ("close-wait-leak.count=20", "close-wait-leak", "count", both),
            (" a.b = 500ms", "a", "b", Given { number: None, span_ns: Some(500_000_000) }),
            ("a.b=x", "a", "b", Given::default()),
        ] {
            let wanted = Setting { rule: rule.to_owned(), key: key.to_owned(), given: wanted };
            assert_eq!(setting(text), Ok(wanted), "{text}");
        }
        for text in ["", "a=1", "a.b", "=.="] {
            assert!(setting(text).is_err() || text == "=.=", "{text}");
        }
        assert!(rule("close-wait").is_err() && rule("close-wait-leak").is_ok());
    }
}
