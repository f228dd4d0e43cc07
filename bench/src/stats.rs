//! The kernel's own measurement of BPF programs, on for as long as a descriptor is open: nothing is left behind, however
//! this ends.

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};

pub(crate) fn run() -> Result<()> {
    let _enabled = enable_stats(Stats::RunTime).context("cannot enable the kernel's statistics")?;
    crate::hold()
}
