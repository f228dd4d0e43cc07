//! Names of BPF programs, which `/proc/PID/fdinfo` does not tell.

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use serde_json::{Map, Value};

pub(crate) fn run() -> Result<()> {
    let mut names = Map::new();
    for program in loaded_programs() {
        match program {
            Ok(program) => {
                names.insert(program.id().to_string(), program.name_as_str().unwrap_or("?").into());
            }
            // One that goes away meanwhile is none of ours.
            Err(error) if names.is_empty() => return Err(error).context("cannot list the BPF programs"),
            Err(_) => {}
        }
    }
    println!("{}", Value::Object(names));
    Ok(())
}
