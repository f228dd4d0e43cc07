//! The page Connection.

use super::{super::page::PageId, pictures};

#[test]
fn drawn() {
    pictures(PageId::Connection, "2<Enter>");
}
