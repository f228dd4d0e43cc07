//! The full-screen view: what is known, in pages.

pub mod data;
pub mod world;
