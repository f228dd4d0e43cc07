//! The layers of the house: `common <- model <- (source | output) <- app <- main`.

use std::{error::Error, fs, path::Path};

/// A layer and what its files must not name.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    (
        "model",
        &[
            "crate::source",
            "crate::output",
            "crate::app",
            "crate::cli",
            "aya",
            "tokio",
            "rustix",
            "std::time",
            "std::fs",
            "std::io",
            "std::os",
            "std::env",
            "std::process",
            "std::thread",
            "SystemTime",
            "Instant::now",
            "jiff",
        ],
    ),
    (
        "output",
        &[
            "crate::source",
            "crate::app",
            "crate::cli",
            "aya",
            "tokio",
            "rustix",
            "SystemTime",
            "Instant::now",
        ],
    ),
    ("source", &["crate::output", "crate::app", "crate::cli", "SystemTime", "Instant::now"]),
    ("cli", &["crate::app", "crate::output", "aya", "tokio", "rustix", "std::fs", "std::io"]),
];

#[test]
fn no_layer_knows_those_above_it() -> Result<(), Box<dyn Error>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for (layer, forbidden) in FORBIDDEN {
        let files = sources(&src.join(layer))?;
        assert!(!files.is_empty(), "the files of {layer} are found");
        for (name, text) in files {
            // What a comment says is no dependency.
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            for (number, line) in code.enumerate() {
                let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
                for word in words.filter(|word| forbidden.iter().any(|bad| is_path_into(word, bad))) {
                    broken.push(format!("{layer}: {name}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "a layer knows one above it:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn the_rule_would_see_a_breach() {
    assert!(is_path_into("aya::maps::RingBuf", "aya"));
    assert!(is_path_into("std::time::Instant", "std::time"));
    assert!(is_path_into("crate::source", "crate::source"));
    assert!(is_path_into("SystemTime::now", "SystemTime"));
    assert!(!is_path_into("playa::x", "aya"));
    assert!(!is_path_into("tokio", "tokio"), "a process may be called so");
    assert!(!is_path_into("crate::sources", "crate::source"));
}

/// Whether `word` is the path `prefix` or leads through it. A crate's or a type's name alone is just a word.
fn is_path_into(word: &str, prefix: &str) -> bool {
    let is_path = prefix.contains("::");
    word.strip_prefix(prefix).is_some_and(|rest| (is_path && rest.is_empty()) || rest.starts_with("::"))
}

fn sources(dir: &Path) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
    }
    Ok(found)
}
