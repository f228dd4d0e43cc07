//! Running tcptrace and its tests with the privileges they need.

use std::{
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::workspace::{cargo, succeed, target_dir};

/// Builds tcptrace (release) and becomes it; through sudo when not root.
pub(crate) fn run(args: &[String]) -> Result<()> {
    succeed(cargo().args(["build", "--release", "--locked", "--package", "tcptrace"]))?;
    let program = target_dir().join("release/tcptrace");
    let mut command = if is_root()? {
        Command::new(&program)
    } else {
        eprintln!("xtask: tracing needs privileges: starting with sudo");
        let mut sudo = Command::new("sudo");
        sudo.arg(&program);
        sudo
    };
    if args.is_empty() {
        command.arg("watch");
    }
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("cannot start {command:?}"))
}

/// Runs all tests. The live tests become root through sudo by themselves (`TCPTRACE_TEST_SUDO`).
pub(crate) fn test(args: &[String]) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--locked", "--no-fail-fast"]).args(args);
    if !is_root()? {
        if sudo_works() {
            test.env("TCPTRACE_TEST_SUDO", "1");
        } else {
            eprintln!("xtask: not root and no sudo: the live tests will be SKIPPED");
        }
    }
    succeed(&mut test)
}

/// Whether we are root.
pub(crate) fn is_root() -> Result<bool> {
    let status = Path::new("/proc/self").metadata().context("cannot read /proc/self")?;
    Ok(status.uid() == 0)
}

/// Asks for the password once, up front, where a person can answer.
fn sudo_works() -> bool {
    Command::new("sudo").arg("-v").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}
