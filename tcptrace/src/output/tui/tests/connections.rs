//! The page Connections.

use super::{super::page::PageId, pictures};

#[test]
fn drawn() {
    pictures(PageId::Connections, "2");
}
