//! For programs: one object.

use std::io::{self, Write};

use serde::Serialize;

use super::DoctorReport;
use crate::output::{Rfc3339, SCHEMA_VERSION, escape};

/// One JSON object, of type `doctor`.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_json(out: &mut impl Write, unix_ns: i128, report: &DoctorReport) -> io::Result<()> {
    #[derive(Serialize)]
    struct Fields<'a> {
        r#type: &'static str,
        schema_version: u32,
        ts: Rfc3339,
        #[serde(flatten)]
        report: &'a DoctorReport,
    }
    let fields =
        Fields { r#type: "doctor", schema_version: SCHEMA_VERSION, ts: Rfc3339::new(unix_ns), report };
    fields.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, escape::SafeJson))?;
    out.write_all(b"\n")
}
