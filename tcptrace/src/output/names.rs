//! Names for what the model knows as numbers.

use std::{num::NonZeroU32, sync::Arc};

use crate::model::{Cgroup, NetnsName, Owner};

/// The names that there are for a connection.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The owner's cgroup.
    pub cgroup: Option<Arc<Cgroup>>,
    /// The network namespace.
    pub netns: Option<NetnsName>,
}

/// Who knows names.
pub trait Naming {
    /// Something is about to be told; what was known before may be old.
    fn begin(&mut self);

    /// Those for a socket of this owner in the network namespace with this inode.
    fn names(&mut self, owner: Option<&Owner>, netns: Option<NonZeroU32>) -> &Names;

    /// All namespaces that somebody else has found names for.
    fn report(&mut self, namespaces: Vec<(NonZeroU32, NetnsName)>);
}

/// Nobody does.
#[derive(Clone, Debug, Default)]
pub struct Nameless(Names);

impl Naming for Nameless {
    fn begin(&mut self) {}

    fn names(&mut self, _: Option<&Owner>, _: Option<NonZeroU32>) -> &Names {
        &self.0
    }

    fn report(&mut self, _: Vec<(NonZeroU32, NetnsName)>) {}
}
