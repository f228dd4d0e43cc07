//! `tcptrace doctor`.

use clap::{Args, ValueEnum};

use super::{
    selection::Places,
    session::{Session, WayArgs},
    values,
    watch::ColorChoice,
};
use crate::{model::Limits, source::live::Settings};

/// What was typed.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t, help_heading = "Output")]
    output: DoctorFormat,
    /// Colours; the variable NO_COLOR turns `auto` off
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    color: ColorChoice,
    /// Size of the ring buffer between kernel and user space: a power of two from 4K to 1G
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = values::ring_size, help_heading = "Tracing")]
    ring_size: u32,
    #[command(flatten)]
    ways: WayArgs,
}

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people
    #[default]
    Text,
    /// One object
    Json,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorCommand {
    /// Format of the report.
    pub output: DoctorFormat,
    /// Colours.
    pub color: ColorChoice,
    /// What `watch` with the same flags would do.
    pub session: Session,
}

impl DoctorArgs {
    /// What it means; `verbose` is the number of `-v`.
    pub fn meaning(self, verbose: u8) -> DoctorCommand {
        DoctorCommand {
            output: self.output,
            color: self.color,
            session: Session {
                places: Places::default(),
                duration: None,
                limits: Limits::default(),
                audit: None,
                command: Vec::new(),
                demo: None,
                settings: Settings { kernel_log: verbose >= 2, ..self.ways.meaning(self.ring_size) },
            },
        }
    }
}
