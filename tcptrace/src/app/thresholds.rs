//! Thresholds of findings: the defaults, then what a file says, then what was typed.

use anyhow::{Context as _, Result, bail};

use super::earlier;
use crate::{
    cli::{self, LeaksCommand},
    model::findings::{Thresholds, thresholds::Given},
};

/// Those of a command.
pub(super) fn of(command: &LeaksCommand) -> Result<Thresholds> {
    let mut thresholds = Thresholds::default();
    if let Some(path) = &command.thresholds {
        let text = earlier::read(path).context("--thresholds")?;
        read(&text, &mut thresholds).with_context(|| format!("--thresholds {}", path.display()))?;
    }
    if let Some(age) = command.older_than {
        thresholds.set_ages(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
    }
    for set in &command.set {
        thresholds.set(&set.rule, &set.key, set.given).context("--set")?;
    }
    Ok(thresholds)
}

/// `[close-wait-leak]`, and below it `age = "30s"`, `count = 10`.
fn read(text: &str, thresholds: &mut Thresholds) -> Result<()> {
    let file: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Its own text has several lines, with a picture of the place.
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        anyhow::anyhow!("line {line}: {}", error.message())
    })?;
    for (rule, table) in &file {
        let Some(table) = table.as_table() else {
            bail!("`{rule}` is no table; accepted are such as [close-wait-leak] with `count = 20` below it");
        };
        for (key, value) in table {
            let given = match value {
                toml::Value::Integer(number) => cli::given(&number.to_string()),
                toml::Value::String(text) => cli::given(text),
                _ => Given::default(),
            };
            thresholds.set(rule, key, given)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Thresholds, String> {
        let mut thresholds = Thresholds::default();
        read(text, &mut thresholds).map(|()| thresholds).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn files() {
        let read = read_all("[close-wait-leak]\nage = \"2m\"\ncount = 3\n[idle-established]\nidle = 60\n")
            .expect("is read");
        assert_eq!((read.close_wait_leak.age, read.close_wait_leak.count), (120_000_000_000, 3));
        assert_eq!(read.idle_established.idle, 60_000_000_000);
        assert_eq!(read_all(""), Ok(Thresholds::default()));
        for (text, wanted) in [
            ("[close-wait-leak]\nage = 1.5\n", "close-wait-leak.age is a span of time"),
            ("[close-wait]\nage = 1\n", "there is no rule `close-wait`"),
            ("close-wait-leak = 5\n", "is no table"),
            ("[close-wait-leak]\nx = 1\n", "it has age count growth times_p99"),
            ("[close-wait-leak]\nage = \"-1s\"\n", "a span of time"),
            ("\n\n[close", "line 3"),
        ] {
            let error = read_all(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
