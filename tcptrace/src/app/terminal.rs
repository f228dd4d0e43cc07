//! What standard output can show.

use std::io::{self, IsTerminal as _};

use crate::cli::ColorChoice;

/// Whether to write colours to standard output (`NO_COLOR`: <https://no-color.org>).
pub(super) fn wants_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
            io::stdout().is_terminal() && !is_off
        }
    }
}

/// Whether the terminal says that it can do nothing but lines.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Columns of the terminal that standard output is; 80 where it is none.
pub(super) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(80)
}
