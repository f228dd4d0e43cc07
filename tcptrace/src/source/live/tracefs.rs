//! tracefs, found or mounted.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, mount};

use super::{error::OpenError, object::is_populated};

const TRACEFS: &str = "/sys/kernel/tracing";
const IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";

/// Where tracefs is; mounts it at its usual place when it is nowhere.
pub(super) fn find_or_mount() -> Result<PathBuf, OpenError> {
    let find = || [TRACEFS, IN_DEBUGFS].map(Path::new).into_iter().find(|path| is_populated(path));
    if let Some(found) = find() {
        return Ok(found.to_owned());
    }
    mount("tracefs", TRACEFS, "tracefs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .map_err(|error| OpenError::Tracefs(error.into()))?;
    tracing::info!("mounted tracefs at {TRACEFS}");
    find().map(Path::to_owned).ok_or_else(|| OpenError::Tracefs(io::ErrorKind::NotFound.into()))
}
