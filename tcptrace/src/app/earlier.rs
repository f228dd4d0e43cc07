//! Files that another run has written.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};

/// More is not read of one.
const LARGEST: u64 = 256 << 20;

/// Reads a file of text, if it is not too large.
pub(super) fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let length = file.take(LARGEST + 1).read_to_string(&mut text);
    if length.with_context(|| format!("cannot read {}", path.display()))? as u64 > LARGEST {
        bail!("{} is larger than {} MiB", path.display(), LARGEST >> 20);
    }
    Ok(text)
}
