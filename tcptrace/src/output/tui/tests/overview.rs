//! The page Overview.

use super::{super::page::PageId, pictures};

#[test]
fn drawn() {
    pictures(PageId::Overview, "1");
}
