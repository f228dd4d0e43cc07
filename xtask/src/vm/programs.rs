//! tcptrace and its live tests, linked statically: the guest has no libraries of the host's age.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::kernels::dir;
use crate::workspace::cargo;

const TARGET: &str = "x86_64-unknown-linux-gnu";

pub(crate) struct Programs {
    pub(crate) tcptrace: PathBuf,
    pub(crate) live_tests: PathBuf,
}

/// Builds both. Naming the target keeps the flags away from build scripts and procedural macros, which cannot be static.
pub(crate) fn build() -> Result<Programs> {
    eprintln!("xtask: building tcptrace and its live tests for the VMs");
    let output = cargo()
        .args(["test", "--no-run", "--locked", "--package", "tcptrace", "--test", "live", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(dir().join("build"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo test --no-run failed: {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = |name: &str| {
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == name)
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .with_context(|| format!("cargo has not said where {name} is"))
    };
    Ok(Programs { tcptrace: executable("tcptrace")?, live_tests: executable("live")? })
}
