//! The page Diagram.

use super::{super::page::PageId, pictures};

#[test]
fn drawn() {
    pictures(PageId::Diagram, "6");
}
