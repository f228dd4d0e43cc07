//! What standard output can show.

use std::io::{self, IsTerminal as _};

use crate::cli::ColorChoice;

/// Whether to write colours to standard output (`NO_COLOR`: <https://no-color.org>).
pub(super) fn wants_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            io::stdout().is_terminal() && !is_off
        }
    }
}
