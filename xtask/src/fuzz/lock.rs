//! The lock file of the fuzz targets: what is fuzzed is what is shipped.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{cargo, root, succeed};

const REMEDY: &str =
    "run `cp Cargo.lock fuzz/ && cargo fetch --manifest-path fuzz/Cargo.toml` and commit fuzz/Cargo.lock";

/// That the crates are those of the lock file, which cargo-fuzz does not ask cargo for, and that those of the product are
/// what the product has.
pub(super) fn check() -> Result<()> {
    let read =
        |path: &str| fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"));
    if let Some(other) = other_version(&read("Cargo.lock")?, &read("fuzz/Cargo.lock")?) {
        bail!("fuzz/Cargo.lock has {other}, Cargo.lock has not: {REMEDY}");
    }
    succeed(cargo().args(["fetch", "--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml"]))
        .context(REMEDY)
}

/// A crate of the product that is another one here.
fn other_version(product: &str, here: &str) -> Option<String> {
    let product: Vec<(&str, &str)> = crates(product).collect();
    let is_other = |(name, version): &(&str, &str)| {
        let mut versions = product.iter().filter(|(known, _)| known == name).peekable();
        versions.peek().is_some() && versions.all(|(_, known)| known != version)
    };
    crates(here).find(is_other).map(|(name, version)| format!("{name} {version}"))
}

/// Names and versions of a lock file.
fn crates(lock: &str) -> impl Iterator<Item = (&str, &str)> {
    lock.split("[[package]]").filter_map(|package| {
        let field = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
        Some((field("name = \"")?, field("version = \"")?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_a_crate_is_seen() {
        let lock = |version: &str| {
            format!(
                "[[package]]\nname = \"a\"\nversion = \"{version}\"\n\n[[package]]\nname = \"b\"\nversion = \"1\"\n"
            )
        };
        assert_eq!(other_version(&lock("1"), &lock("1")), None);
        assert_eq!(other_version(&lock("1"), &lock("2")).as_deref(), Some("a 2"));
        assert_eq!(other_version("", &lock("2")), None, "the product has none");
    }
}
