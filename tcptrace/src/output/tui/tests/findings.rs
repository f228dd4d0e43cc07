//! The page Findings.

use super::{super::page::PageId, pictures};

#[test]
fn drawn() {
    pictures(PageId::Findings, "5");
}
