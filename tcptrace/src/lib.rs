//! tcptrace: every TCP state of every connection on a live Linux host, with the true time spent in it.
//!
//! The layers, each knowing only those before it: [`model`] (pure), [`source`] and [`output`], [`app`].
//! `docs/ARCHITECTURE.md` follows one event through them.
#![deny(unsafe_code)]

pub mod app;
pub mod cli;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod model;
pub mod output;
pub mod source;
