//! The page Ports.

use super::{super::page::PageId, pictures};

#[test]
fn drawn() {
    pictures(PageId::Ports, "3");
}
