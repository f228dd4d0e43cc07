//! The tools that the kernel half is built with, found or installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{output, root, succeed, target_dir};

/// The object's bytes depend on the compiler: this release and no other.
pub(crate) const RUST: &str = "1.95.0";
/// Links with the LLVM of the rustc above (LLVM 22).
pub(crate) const BPF_LINKER: &str = "0.10.3";
/// A directory that may hold `rust-src-VERSION-library.tar.xz`, for machines where rustup cannot fetch it.
const SOURCES_DIR: &str = "TCPTRACE_TOOLCHAIN_DIR";

/// Everything `cargo build` needs for the BPF target.
pub(crate) struct Tools {
    /// Words before `cargo`'s own arguments: `cargo`, or `rustup run 1.95.0 cargo`.
    cargo: Vec<String>,
    pub(crate) bpf_linker: PathBuf,
    pub(crate) sysroot: PathBuf,
    pub(crate) cargo_home: PathBuf,
}

impl Tools {
    /// Finds the tools and installs what is missing.
    pub(crate) fn find_or_install() -> Result<Self> {
        let prefix = rust_prefix()?;
        let sysroot = PathBuf::from(output(with_prefix(&prefix, "rustc").args(["--print", "sysroot"]))?);
        have_rust_src(&sysroot)?;
        let bpf_linker = have_bpf_linker(&prefix)?;
        let cargo_home = env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
            .context("neither CARGO_HOME nor HOME is set")?;
        let mut cargo = prefix;
        cargo.push("cargo".to_owned());
        Ok(Self { cargo, bpf_linker, sysroot, cargo_home })
    }

    /// A cargo of the right release, in the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo[0]);
        command.args(&self.cargo[1..]).current_dir(root());
        // Set by the cargo that runs xtask; they would lead to its rustc instead.
        for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(variable);
        }
        command
    }
}

impl Tools {
    /// The directories that hold the sources of registry crates, after everything needed was fetched.
    pub(crate) fn registries(&self) -> Result<Vec<PathBuf>> {
        succeed(self.cargo().args(["fetch", "--quiet", "--locked"]))?;
        let parent = self.cargo_home.join("registry/src");
        let entries = fs::read_dir(&parent).with_context(|| format!("cannot read {}", parent.display()))?;
        let mut registries = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        registries.sort();
        Ok(registries)
    }
}

fn with_prefix(prefix: &[String], program: &str) -> Command {
    let mut words = prefix.iter().map(String::as_str).chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words).env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// The words to put before `rustc` and `cargo` to get the pinned release.
fn rust_prefix() -> Result<Vec<String>> {
    let by_rustup = ["rustup", "run", RUST].map(str::to_owned).to_vec();
    for prefix in [Vec::new(), by_rustup] {
        let version = output(with_prefix(&prefix, "rustc").arg("--version"));
        if version.is_ok_and(|version| version.split(' ').nth(1) == Some(RUST)) {
            return Ok(prefix);
        }
    }
    bail!(
        "the kernel half is built with Rust {RUST}, for the same bytes everywhere: run `rustup toolchain install {RUST}`"
    )
}

fn have_rust_src(sysroot: &Path) -> Result<()> {
    let sources = sysroot.join("lib/rustlib/src/rust");
    let present = || sources.join("library/core/Cargo.toml").exists();
    if present() {
        return Ok(());
    }
    eprintln!("xtask: installing rust-src");
    let added = succeed(Command::new("rustup").args(["component", "add", "rust-src"]));
    if present() {
        return Ok(());
    }
    let archive = env::var_os(SOURCES_DIR)
        .map(|dir| PathBuf::from(dir).join(format!("rust-src-{RUST}-library.tar.xz")))
        .filter(|archive| archive.exists());
    if let Some(archive) = archive {
        fs::create_dir_all(&sources).with_context(|| format!("cannot make {}", sources.display()))?;
        succeed(Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(&sources))?;
    }
    if present() {
        return Ok(());
    }
    added.with_context(|| {
        format!(
            "no sources of `core` in {}: run `rustup component add rust-src`, or set {SOURCES_DIR}",
            sources.display()
        )
    })?;
    bail!("rust-src was installed, but {} has no library/core", sources.display())
}

fn have_bpf_linker(prefix: &[String]) -> Result<PathBuf> {
    let installed = target_dir().join("tools");
    let own = installed.join("bin/bpf-linker");
    let is_right = |program: &Path| {
        output(Command::new(program).arg("--version"))
            .is_ok_and(|version| version.split(' ').any(|w| w == BPF_LINKER))
    };
    for candidate in [PathBuf::from("bpf-linker"), own.clone()] {
        if is_right(&candidate) {
            return Ok(candidate);
        }
    }
    eprintln!("xtask: installing bpf-linker {BPF_LINKER} (about a minute)");
    succeed(
        with_prefix(prefix, "cargo")
            .args(["install", "bpf-linker", "--quiet", "--locked", "--version", BPF_LINKER, "--root"])
            .arg(&installed)
            .env_remove("CARGO_TARGET_DIR"),
    )?;
    if !is_right(&own) {
        bail!("bpf-linker was installed as {}, but does not run", own.display());
    }
    Ok(own)
}
