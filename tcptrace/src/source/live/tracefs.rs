//! tracefs, found or mounted.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{error::OpenError, object::is_populated};

const TRACEFS: &str = "/sys/kernel/tracing";
const IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";

/// Where tracefs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracefs {
    /// Mounted here.
    At(PathBuf),
    /// We may not look into this place.
    Closed(PathBuf),
    /// Not mounted at its places.
    Nowhere,
}

impl Tracefs {
    /// Looks for it. Mounts nothing.
    pub fn find() -> Self {
        let places = [TRACEFS, IN_DEBUGFS].map(Path::new);
        if let Some(found) = places.into_iter().find(|path| is_populated(path)) {
            return Self::At(found.to_owned());
        }
        let is_closed = |path: &&Path| {
            path.read_dir().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        places.into_iter().find(is_closed).map_or(Self::Nowhere, |path| Self::Closed(path.to_owned()))
    }

    /// Takes away what was mounted because it was nowhere.
    ///
    /// # Errors
    ///
    /// Somebody uses it, or we may not.
    pub fn unmount() -> io::Result<()> {
        Ok(unmount(TRACEFS, UnmountFlags::empty())?)
    }
}

/// Where tracefs is; mounts it at its usual place when it is nowhere.
pub(super) fn find_or_mount() -> Result<PathBuf, OpenError> {
    if let Tracefs::At(found) = Tracefs::find() {
        return Ok(found);
    }
    mount("tracefs", TRACEFS, "tracefs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .map_err(|error| OpenError::Tracefs(error.into()))?;
    tracing::info!("mounted tracefs at {TRACEFS}");
    match Tracefs::find() {
        Tracefs::At(found) => Ok(found),
        _ => Err(OpenError::Tracefs(io::ErrorKind::NotFound.into())),
    }
}
