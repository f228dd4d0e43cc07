//! The page Processes.

use super::{super::page::PageId, pictures};

#[test]
fn drawn() {
    pictures(PageId::Processes, "4");
}
