//! Usage errors as one line that names the flag, the value and what is accepted.

use std::error::Error as _;

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// The error in one line. What was typed is in it as it was typed, which may be anything: whoever prints it escapes it.
pub fn one_line(error: &Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    // clap calls a flag `--lport <LIST>`; the person typed `--lport`.
    let flag =
        text(ContextKind::InvalidArg).map(|flag| flag.split(" <").next().unwrap_or_default().to_owned());
    match (error.kind(), flag) {
        (ErrorKind::ValueValidation, Some(flag)) => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{flag}: {reason}")
        }
        (ErrorKind::InvalidValue, Some(flag)) => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let accepted = text(ContextKind::ValidValue).unwrap_or_default();
            if value.is_empty() && accepted.is_empty() {
                format!("{flag}: a value is needed")
            } else if value.is_empty() {
                format!("{flag}: a value is needed; accepted are {accepted}")
            } else {
                format!("{flag}: `{value}` is not accepted; accepted are {accepted}")
            }
        }
        _ => {
            let rendered = error.to_string();
            let line = rendered.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let meant = text(ContextKind::SuggestedArg).or_else(|| text(ContextKind::SuggestedSubcommand));
            meant.map_or_else(|| line.to_owned(), |meant| format!("{line}; did you mean `{meant}`?"))
        }
    }
}
