//! What the committed object was made from, as a list of hashes beside it.
//!
//! The list lets a plain unit test tell that the object is older than its sources, without any BPF tool.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::tools::{BPF_LINKER, RUST};

/// Directories and files whose content ends up in the object.
const SOURCES: [&str; 4] =
    ["tcptrace-common/Cargo.toml", "tcptrace-common/src", "tcptrace-ebpf/Cargo.toml", "tcptrace-ebpf/src"];

/// Crates of the lock file that are compiled into the object.
const CRATES: [&str; 8] = [
    "aya-ebpf",
    "aya-ebpf-bindings",
    "aya-ebpf-cty",
    "aya-ebpf-macros",
    "aya-log-common",
    "aya-log-ebpf",
    "aya-log-ebpf-macros",
    "zerocopy",
];

/// The committed object.
pub(crate) fn object_path(root: &Path) -> PathBuf {
    root.join("tcptrace/bpf/tcptrace.bpf.o")
}

/// The list beside it.
pub(crate) fn path(root: &Path) -> PathBuf {
    root.join("tcptrace/bpf/tcptrace.bpf.inputs")
}

/// The list for `object`, made from the sources below `root`: a line an input, `VALUE  NAME`.
pub(crate) fn list(root: &Path, object: &[u8]) -> Result<String> {
    let mut list = String::from("# Made by `cargo xtask ebpf`. What tcptrace.bpf.o was built from.\n");
    let mut line = |value: &str, name: &str| writeln!(list, "{value}  {name}").context("a String takes it");
    line(RUST, "rustc")?;
    line(BPF_LINKER, "bpf-linker")?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    for name in CRATES {
        line(&locked_version(&lock, name)?, name)?;
    }
    for file in source_files(root)? {
        let content =
            fs::read(root.join(&file)).with_context(|| format!("cannot read {}", file.display()))?;
        line(&hash(&content), &file.to_string_lossy())?;
    }
    line(&hash(object), "tcptrace/bpf/tcptrace.bpf.o")?;
    Ok(list)
}

/// Compares the committed list with the sources and the object as they are now.
///
/// # Errors
///
/// Names every input that differs.
pub(crate) fn verify(root: &Path) -> Result<()> {
    let object = fs::read(object_path(root)).context("cannot read the committed BPF object")?;
    let committed = fs::read_to_string(path(root)).context("cannot read the committed list of inputs")?;
    let now = list(root, &object)?;
    let differing: Vec<&str> = now
        .lines()
        .filter(|line| !committed.lines().any(|other| other == *line))
        .chain(committed.lines().filter(|line| !now.lines().any(|other| other == *line)))
        .filter_map(|line| line.split("  ").nth(1))
        .collect();
    if !differing.is_empty() {
        bail!(
            "the committed BPF object is older than its inputs ({}): run `cargo xtask ebpf` and commit tcptrace/bpf/",
            differing.join(", ")
        );
    }
    Ok(())
}

fn source_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = SOURCES.iter().map(PathBuf::from).collect();
    while let Some(path) = open.pop() {
        let full = root.join(&path);
        if full.is_dir() {
            for entry in fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))? {
                open.push(path.join(entry?.file_name()));
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn locked_version(lock: &str, name: &str) -> Result<String> {
    let wanted = format!("name = \"{name}\"");
    let mut lines = lock.lines().skip_while(|line| *line != wanted);
    lines.next();
    lines
        .next()
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .with_context(|| format!("Cargo.lock has no {name}"))
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_committed_object_is_as_new_as_its_sources() -> Result<()> {
        verify(&workspace::root())
    }

    #[test]
    fn a_changed_source_and_a_changed_object_are_named() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path();
        for file in ["tcptrace-common/Cargo.toml", "tcptrace-ebpf/Cargo.toml", "tcptrace-ebpf/src/main.rs"] {
            fs::create_dir_all(root.join(file).parent().context("has a parent")?)?;
            fs::write(root.join(file), "as built")?;
        }
        fs::create_dir_all(root.join("tcptrace-common/src"))?;
        fs::create_dir_all(root.join("tcptrace/bpf"))?;
        let lock =
            CRATES.map(|name| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n")).concat();
        fs::write(root.join("Cargo.lock"), lock)?;
        fs::write(object_path(root), "object")?;
        fs::write(path(root), list(root, b"object")?)?;
        verify(root)?;

        fs::write(root.join("tcptrace-ebpf/src/main.rs"), "changed")?;
        let error = verify(root).expect_err("a changed source must be seen").to_string();
        assert!(error.contains("tcptrace-ebpf/src/main.rs"), "{error}");
        assert!(!error.contains("Cargo.toml"), "{error}");

        fs::write(root.join("tcptrace-ebpf/src/main.rs"), "as built")?;
        fs::write(object_path(root), "another object")?;
        let error = verify(root).expect_err("a changed object must be seen").to_string();
        assert!(error.contains("tcptrace.bpf.o"), "{error}");
        Ok(())
    }
}
