//! Names for what the model knows as numbers.

use std::{num::NonZeroU32, sync::Arc};

use crate::model::{Cgroup, Frame, NetnsName, Owner, Stack};

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

/// Who knows what code is behind addresses.
pub trait Symbolise {
    /// The functions of a stack, the innermost first.
    fn frames(&mut self, stack: &Stack) -> Arc<[Frame]>;
}

/// What there is to tell of a transition beside what the model knows.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// Names for its numbers.
    pub names: &'a Names,
    /// The stack of the last call on its socket.
    pub stack: Option<&'a [Frame]>,
    /// Whether that was told with no row before.
    pub is_new_stack: bool,
}
