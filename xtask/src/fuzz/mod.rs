//! `cargo xtask fuzz`: the fuzz targets (`fuzz/`), each for a bounded time, from the committed corpus on.
//!
//! cargo-fuzz and libFuzzer on stable Rust: what counts the coverage is a pass of LLVM (`-Cpasses=sancov-module`), and
//! only the sanitizers would take a nightly. They look for what unsafe code does, of which there is next to none.

mod corpus;
mod lock;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use sha2::{Digest as _, Sha256};

use crate::workspace::{cargo, output, root, succeed, target_dir};

const CARGO_FUZZ: &str = "0.13.2";

/// Targets and the longest input for each, in bytes: as much as shows everything, and no more, for speed.
const TARGETS: [(&str, usize); 11] = [
    ("decode", 128),
    ("stack", 1024),
    ("filter", 256),
    ("command_line", 512),
    ("tracepoint_format", 4096),
    ("sock_diag", 4096),
    ("proc_files", 4096),
    ("compare", 8192),
    ("demangle", 1024),
    ("names", 512),
    ("pipeline", 4096),
];

/// One input must not take longer, in seconds.
const MAX_SECONDS_AN_INPUT: u32 = 5;

/// A target must not take more memory: five times what it takes.
const MAX_MEMORY_MB: u32 = 512;

/// Of the log of a run that has found something, from there on.
const LINES_SHOWN: usize = 25;

/// What to run, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// The targets [default: all]
    #[arg(value_name = "TARGET", value_parser = TARGETS.map(|(name, _)| name))]
    targets: Vec<String>,
    /// For how long each of them runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u32,
    /// Afterwards, make a new committed corpus of the old one and of what was found, as small as does it
    #[arg(long)]
    keep: bool,
    /// Run clippy on the targets instead
    #[arg(long, exclusive = true)]
    clippy: bool,
}

/// Runs the targets one after the other; all of them, even if one finds something.
pub(crate) fn run(options: &Options) -> Result<()> {
    lock::check()?;
    if options.clippy {
        return clippy();
    }
    install_when_missing()?;
    let asked_for =
        |name: &str| options.targets.is_empty() || options.targets.iter().any(|asked| asked == name);
    let targets: Vec<Target> = TARGETS
        .into_iter()
        .filter(|(name, _)| asked_for(name))
        .map(|(name, max_len)| Target { name, max_len })
        .collect();
    let only = if targets.len() == 1 { Some(targets[0].name) } else { None };
    succeed(cargo().args(["fuzz", "build", "--sanitizer", "none"]).args(only))?;
    println!(
        "{:<18} {:>9} {:>8} {:>8} {:>7} {:>7}",
        "TARGET", "RUNS", "A SECOND", "COVERAGE", "CORPUS", "FOUND"
    );
    let mut failed = Vec::new();
    for target in &targets {
        match target.fuzz(options.seconds) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("xtask: {}: {error:#}", target.name);
                failed.push(target.name);
            }
        }
        if options.keep && !failed.contains(&target.name) {
            target.keep()?;
        }
    }
    if !failed.is_empty() {
        bail!("fuzzing failed: {}; see above for the files", failed.join(", "));
    }
    Ok(())
}

fn install_when_missing() -> Result<()> {
    if output(cargo().args(["fuzz", "--version"])).is_ok() {
        return Ok(());
    }
    eprintln!("xtask: installing cargo-fuzz {CARGO_FUZZ} (about half a minute)");
    succeed(
        cargo()
            .args(["install", "--quiet", "--locked", "cargo-fuzz", "--version", CARGO_FUZZ])
            .env_remove("CARGO_TARGET_DIR"),
    )
}

/// With the condition that cargo-fuzz sets, without which there is nothing to fuzz.
fn clippy() -> Result<()> {
    succeed(
        cargo()
            .args(["clippy", "--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--all-targets"])
            .args(["--", "-D", "warnings"])
            .env("RUSTFLAGS", "--cfg fuzzing"),
    )
}

struct Target {
    name: &'static str,
    max_len: usize,
}

impl Target {
    fn corpus(&self) -> PathBuf {
        root().join("fuzz/corpus").join(self.name)
    }

    /// Inputs that reached something new, of this run and of those before.
    fn found(&self) -> PathBuf {
        target_dir().join("fuzz").join(self.name)
    }

    fn artifacts(&self) -> PathBuf {
        root().join("fuzz/artifacts").join(self.name)
    }

    fn log(&self) -> PathBuf {
        self.beside("log")
    }

    fn beside(&self, kind: &str) -> PathBuf {
        target_dir().join("fuzz").join(format!("{}.{kind}", self.name))
    }

    /// Runs the target; its own words go to the log. Returns a line for the table.
    fn fuzz(&self, seconds: u32) -> Result<String> {
        let committed = files(&self.corpus())?.len();
        let begun = SystemTime::now();
        let limits = [
            format!("-max_total_time={seconds}"),
            format!("-max_len={}", self.max_len),
            format!("-timeout={MAX_SECONDS_AN_INPUT}"),
            format!("-rss_limit_mb={MAX_MEMORY_MB}"),
            "-print_final_stats=1".to_owned(),
        ];
        let result = self.libfuzzer(&[&self.found(), &self.corpus()], &limits);
        let log = fs::read(self.log()).with_context(|| format!("cannot read {}", self.log().display()))?;
        let log = String::from_utf8_lossy(&log);
        if let Err(error) = result {
            return Err(self.broken(&log, begun, error));
        }
        let report = Report::of(&log).with_context(|| format!("no figures in {}", self.log().display()))?;
        if report.coverage == 0 {
            bail!("nothing counts the coverage: the run was blind");
        }
        let Report { runs, a_second, coverage } = report;
        let found = files(&self.found())?.len();
        Ok(format!("{:<18} {runs:>9} {a_second:>8} {coverage:>8} {committed:>7} {found:>7}", self.name))
    }

    /// Makes the committed corpus anew.
    fn keep(&self) -> Result<()> {
        let (merged, notes) = (self.beside("merged"), self.beside("notes"));
        if merged.exists() {
            fs::remove_dir_all(&merged)?;
        }
        if notes.exists() {
            fs::remove_file(&notes)?;
        }
        // Which places are reached counts, and not how often.
        let how = ["-set_cover_merge=1", "-use_counters=0"].map(str::to_owned);
        let more = [format!("-max_len={}", self.max_len), format!("-merge_control_file={}", notes.display())];
        self.libfuzzer(&[&merged, &self.corpus(), &self.found()], &[&how[..], &more[..]].concat())?;
        let notes = fs::read_to_string(&notes).with_context(|| format!("cannot read {}", notes.display()))?;
        let inputs = corpus::choose(&notes)?;
        let contents =
            inputs.iter().map(fs::read).collect::<Result<Vec<_>, _>>().context("an input is gone")?;
        fs::remove_dir_all(self.corpus())?;
        fs::create_dir_all(self.corpus())?;
        for content in &contents {
            // The rest was not read.
            let content = &content[..content.len().min(self.max_len)];
            let name = format!("{:x}", Sha256::digest(content));
            fs::write(self.corpus().join(name), content)?;
        }
        println!("{}: {} files", self.corpus().display(), contents.len());
        Ok(())
    }

    /// Starts it with these directories, of which it writes to the first, and writes what it says to the log.
    fn libfuzzer(&self, corpora: &[&Path], arguments: &[String]) -> Result<()> {
        fs::create_dir_all(corpora[0]).with_context(|| format!("cannot make {}", corpora[0].display()))?;
        let log =
            File::create(self.log()).with_context(|| format!("cannot make {}", self.log().display()))?;
        succeed(
            cargo()
                .args(["fuzz", "run", "--sanitizer", "none", self.name])
                .args(corpora)
                .arg("--")
                .args(arguments)
                // A panic says where it comes from.
                .env("RUST_BACKTRACE", "1")
                .stdout(log.try_clone()?)
                .stderr(log),
        )
    }

    /// What there is to know about a run that failed.
    fn broken(&self, log: &str, begun: SystemTime, error: anyhow::Error) -> anyhow::Error {
        let is_cause = |line: &&str| line.contains(" panicked at ") || line.contains("ERROR: libFuzzer");
        let is_input = |line: &&str| line.starts_with("Base64: ");
        // What cargo-fuzz says at the end is said below.
        let own = || log.lines().take_while(|line| !line.starts_with('─'));
        let cause = own().skip_while(|line| !is_cause(line)).filter(|line| !is_input(line));
        // The input itself, where it is small: whoever reads this may not have the file.
        for line in cause.take(LINES_SHOWN).chain(own().filter(is_input)) {
            eprintln!("{line}");
        }
        let is_new = |file: &PathBuf| {
            let written = file.metadata().and_then(|metadata| metadata.modified());
            // A slow input is kept, too, and is no failure.
            let is_slow =
                file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("slow-unit"));
            !is_slow && written.is_ok_and(|written| written >= begun)
        };
        match files(&self.artifacts()).unwrap_or_default().into_iter().find(is_new) {
            Some(file) => anyhow::anyhow!(
                "this input breaks it: {file}\n  the whole story: {log}\n  again: cargo fuzz run -s none {name} {file}\n  \
                 smaller: cargo fuzz tmin -s none {name} {file}",
                file = file.display(),
                log = self.log().display(),
                name = self.name,
            ),
            None => error.context(format!("it did not run; the whole story: {}", self.log().display())),
        }
    }
}

/// What a run has come to.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    runs: u64,
    a_second: u64,
    coverage: u64,
}

impl Report {
    fn of(log: &str) -> Option<Self> {
        let stat = |name: &str| log.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let done = log.lines().rfind(|line| line.contains("\tDONE "))?;
        let coverage = done.split_once("cov: ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        Some(Self {
            runs: stat("stat::number_of_executed_units:")?,
            a_second: stat("stat::average_exec_per_sec:")?,
            coverage: coverage.unwrap_or(0),
        })
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_known_and_has_a_corpus_of_bounded_size() {
        let sources = files(&root().join("fuzz/fuzz_targets")).expect("there are targets");
        let mut known = TARGETS.map(|(name, _)| format!("{name}.rs"));
        known.sort();
        let names = sources.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
        assert_eq!(names.collect::<Vec<_>>(), known);
        for (name, max_len) in TARGETS {
            let corpus = files(&Target { name, max_len }.corpus()).expect("there is a corpus");
            let sizes = corpus.iter().map(|file| file.metadata().map_or(0, |metadata| metadata.len()));
            let (largest, total) = sizes.fold((0, 0), |(largest, sum), size| (size.max(largest), sum + size));
            assert!(
                !corpus.is_empty() && corpus.len() <= corpus::MAX_FILES && total <= corpus::MAX_BYTES,
                "{name}: {total} bytes"
            );
            assert!(largest <= max_len as u64, "{name}: {largest} bytes, and the rest would not be read");
        }
    }

    #[test]
    fn the_figures_of_a_run_are_found() {
        let log = "#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 27Mb\n\
            #9\tDONE   cov: 385 ft: 535 corp: 235/27Kb lim: 4096 exec/s: 1014251 rss: 27Mb\n\
            stat::number_of_executed_units: 46655563\nstat::average_exec_per_sec:     1014251\n";
        assert_eq!(Report::of(log), Some(Report { runs: 46_655_563, a_second: 1_014_251, coverage: 385 }));
        let blind = log.replace("cov: 385 ", "");
        assert_eq!(Report::of(&blind).map(|report| report.coverage), Some(0));
        assert_eq!(Report::of(""), None);
    }
}
