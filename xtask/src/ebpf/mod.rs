//! `cargo xtask ebpf`: the kernel half, from sources to the committed object.
//!
//! Users build tcptrace with stable Rust alone because the object is committed (`tcptrace/bpf/`). Whoever
//! changes the kernel half runs this: the same sources and tools give the same bytes in any directory.

mod inputs;
mod strip;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use self::tools::Tools;
use crate::workspace::{root, succeed, target_dir};

const TARGET: &str = "bpfel-unknown-none";

/// The kernel half.
const PACKAGE: &str = "tcptrace-ebpf";

/// What it is measured against.
const BENCH_PACKAGE: &str = "tcptrace-bench-ebpf";

/// Builds the object and writes it and its list of inputs to `tcptrace/bpf/`.
pub(crate) fn build() -> Result<()> {
    let object = compile(&Tools::find_or_install()?, PACKAGE)?;
    let list = inputs::list(&root(), &object)?;
    for (path, content) in [(object_path(), object.as_slice()), (inputs::path(&root()), list.as_bytes())] {
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {} ({} bytes)", path.display(), content.len());
    }
    Ok(())
}

/// Builds the object and compares it with the committed one.
pub(crate) fn check() -> Result<()> {
    let built = compile(&Tools::find_or_install()?, PACKAGE)?;
    let committed =
        fs::read(object_path()).with_context(|| format!("cannot read {}", object_path().display()))?;
    if built != committed {
        let kept = target_dir().join("ebpf/rebuilt.bpf.o");
        fs::write(&kept, &built)?;
        bail!(
            "the committed object ({} bytes) is not what the sources give ({} bytes, kept as {}): run `cargo xtask ebpf` and commit",
            committed.len(),
            built.len(),
            kept.display(),
        );
    }
    inputs::verify(&root())?;
    println!("{} is what the sources give ({} bytes)", object_path().display(), built.len());
    Ok(())
}

/// Builds what the kernel half is measured against. It is not committed: only who measures needs it.
pub(crate) fn build_bench(path: &Path) -> Result<()> {
    let object = compile(&Tools::find_or_install()?, BENCH_PACKAGE)?;
    fs::write(path, object).with_context(|| format!("cannot write {}", path.display()))
}

/// Runs clippy on the kernel half and what it is measured against, warnings denied.
pub(crate) fn clippy() -> Result<()> {
    let tools = Tools::find_or_install()?;
    for package in [PACKAGE, BENCH_PACKAGE] {
        succeed(cargo(&tools, "clippy", package)?.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn object_path() -> PathBuf {
    inputs::object_path(&root())
}

fn compile(tools: &Tools, package: &str) -> Result<Vec<u8>> {
    succeed(&mut cargo(tools, "build", package)?)?;
    let linked = target_dir().join("ebpf").join(TARGET).join("release").join(package);
    let linked = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    strip::debug_sections(&linked)
}

fn cargo(tools: &Tools, verb: &str, package: &str) -> Result<Command> {
    let mut cargo = tools.cargo();
    let mut flags = vec!["-Cdebuginfo=2".to_owned(), "-Clink-arg=--btf".to_owned()];
    // BTF names the source files: no path of the machine that built it may get into the object.
    let mut remap =
        |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(&root(), "/tcptrace");
    remap(&tools.sysroot, "/rust");
    remap(&tools.cargo_home, "/cargo");
    // The registry's directory is called after its host and protocol. The last prefix that fits wins.
    for registry in tools.registries()? {
        remap(&registry, "/cargo");
    }
    cargo
        .args([verb, "--quiet", "--release", "--locked", "--package", package])
        .args(["--target", TARGET, "-Zbuild-std=core"])
        // -Z on a stable toolchain: the one thing that keeps a nightly out of this project.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", target_dir().join("ebpf"))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tools.bpf_linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS");
    Ok(cargo)
}
