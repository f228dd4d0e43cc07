//! What a guest said at its end.

use anyhow::{Context as _, Result};

/// Begins the last line; the exit status follows.
pub(crate) const MARKER: &str = "tcptrace-vm: exit status";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Of the command.
    pub(crate) status: u8,
    /// Where the command was the test program.
    pub(crate) tests: Option<Tests>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tests {
    pub(crate) passed: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) ignored: u64,
    /// Those that were run once more after they had failed.
    pub(crate) again: Vec<String>,
}

/// Reads the guest's output line by line.
#[derive(Default)]
pub(crate) struct Reader {
    status: Option<u8>,
    failed: Vec<String>,
    again: Vec<String>,
    in_names: bool,
    counts: Option<(u64, u64)>,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(status) = line.strip_prefix(MARKER) {
            self.status = status.trim().parse().ok();
        } else if let Some(result) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
                words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse().ok())
            };
            self.counts = count("passed").zip(count("ignored"));
        } else if let Some((name, _)) = line.strip_prefix("AGAIN: ").and_then(|line| line.split_once(": ")) {
            self.again.push(name.to_owned());
        } else if line == "failures:" {
            // Twice: first with what was wrong, then with the names alone.
            self.failed.clear();
            self.in_names = true;
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| self.in_names) {
            self.failed.push(name.to_owned());
        } else if !line.is_empty() {
            self.in_names = false;
        }
    }

    pub(crate) fn finish(self) -> Result<Verdict> {
        let status = self.status.context("the guest ended without a verdict")?;
        let Self { status: _, failed, again, in_names: _, counts } = self;
        let tests = counts.map(|(passed, ignored)| Tests { passed, failed, ignored, again });
        Ok(Verdict { status, tests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Verdict> {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.finish()
    }

    #[test]
    fn test_program() -> Result<()> {
        let verdict = read(
            "running 3 tests\ntest a::b       ... ok\ntest a::long ... worker: lost\nAGAIN: a::long: it has failed: 0 rows\nFAILED\ntest c ... ignored\n\
             \nfailures:\n\n---- a::long ----\nlost\n    why\n\n\nfailures:\n    a::long\n\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 1.0s\n\
             tcptrace-vm: exit status 101\n",
        )?;
        let name = || vec!["a::long".to_owned()];
        let tests = Tests { passed: 1, failed: name(), ignored: 1, again: name() };
        assert_eq!(verdict, Verdict { status: 101, tests: Some(tests) });
        Ok(())
    }

    #[test]
    fn no_verdict() {
        assert!(read("Kernel panic - not syncing\n").is_err());
    }
}
