//! `tcptrace explain`.

use std::{convert::Infallible, str::FromStr};

use clap::{Args, ValueEnum};

use super::watch::ColorChoice;
use crate::model::TcpState;

/// What was typed.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A state in any common spelling, such as close-wait; the id of a rule, such as close-wait-leak; or `all`
    #[arg(value_name = "STATE|RULE|all")]
    topic: Option<Topic>,
    /// Language; by default that of the locale (LC_ALL, LC_MESSAGES, LANG)
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// Colours; the variable NO_COLOR turns `auto` off
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: ColorChoice,
}

/// What is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A state.
    State(TcpState),
    /// What may be the id of a rule: it is known where the pages are.
    Rule(String),
    /// All states and all rules.
    All,
}

/// `--lang`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// English
    En,
    /// Chinese
    Zh,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainCommand {
    /// `None` is the diagram.
    pub topic: Option<Topic>,
    /// `None` is that of the locale.
    pub language: Option<Language>,
    /// Colours.
    pub color: ColorChoice,
}

impl ExplainArgs {
    /// What it means.
    pub fn meaning(self) -> ExplainCommand {
        ExplainCommand { topic: self.topic, language: self.lang, color: self.color }
    }
}

impl FromStr for Topic {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(state) => Self::State(state),
            Err(_) if text.eq_ignore_ascii_case("all") => Self::All,
            Err(_) => Self::Rule(text.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        assert_eq!("estab".parse(), Ok(Topic::State(TcpState::Established)));
        assert_eq!("ALL".parse(), Ok(Topic::All));
        assert_eq!("close-wait-leak".parse(), Ok(Topic::Rule("close-wait-leak".to_owned())));
    }
}
