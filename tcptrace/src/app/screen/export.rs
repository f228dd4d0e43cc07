//! What a page shows, in a file: always a new one, which only its owner may read.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde_json::Value;

/// Files of one page and one second.
const MOST: u32 = 99;

/// Writes it below `dir`, and returns the file.
pub(super) fn write(dir: &Path, page: &str, unix_ns: i128, json: &Value) -> Result<PathBuf> {
    let (path, file) = create(dir, &stem(page, unix_ns))?;
    let mut out = BufWriter::new(file);
    let written = serde_json::to_writer_pretty(&mut out, json)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    written.with_context(|| format!("{} is not complete", path.display()))?;
    Ok(path)
}

/// `tcptrace-overview-20260131T123456Z`
fn stem(page: &str, unix_ns: i128) -> String {
    let time = Timestamp::from_nanosecond(unix_ns).unwrap_or_default();
    format!("tcptrace-{}-{}", page.to_ascii_lowercase(), time.strftime("%Y%m%dT%H%M%SZ"))
}

/// A file that was not there before: whatever has its name, a link too, stays as it is.
fn create(dir: &Path, stem: &str) -> Result<(PathBuf, File)> {
    for number in 1..=MOST {
        let name = if number == 1 { format!("{stem}.json") } else { format!("{stem}-{number}.json") };
        let path = dir.join(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }
    bail!("there are {MOST} files {stem}*.json already")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const AT: i128 = 1_769_862_896_123_456_789;

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("the directory is there")
            .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_that_others_cannot_read() {
        let dir = tempfile::tempdir().expect("there is room");
        let json = serde_json::json!({ "page": "overview" });
        for name in ["tcptrace-overview-20260131T123456Z.json", "tcptrace-overview-20260131T123456Z-2.json"] {
            let path = write(dir.path(), "Overview", AT, &json).expect("it is written");
            assert_eq!(path, dir.path().join(name));
            let text = fs::read_to_string(&path).expect("it is there");
            assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), json);
            let mode = fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_that_is_there_is_touched_or_followed() {
        let dir = tempfile::tempdir().expect("there is room");
        let name = |tail: &str| dir.path().join(format!("tcptrace-ports-20260131T123456Z{tail}.json"));
        fs::write(name(""), "mine").expect("there is room");
        std::os::unix::fs::symlink(dir.path().join("victim"), name("-2")).expect("links work");
        std::os::unix::fs::symlink("/dev/null", name("-3")).expect("links work");
        fs::create_dir(name("-4")).expect("there is room");
        let path = write(dir.path(), "Ports", AT, &Value::Null).expect("it is written");
        assert_eq!(path, name("-5"));
        assert_eq!(fs::read_to_string(name("")).expect("it is there"), "mine");
        assert!(!files(dir.path()).contains(&"victim".to_owned()));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let dir = tempfile::tempdir().expect("there is room");
        for _ in 0..MOST {
            write(dir.path(), "Ports", AT, &Value::Null).expect("it is written");
        }
        write(dir.path(), "Ports", AT, &Value::Null).expect_err("there are enough");
        assert_eq!(files(dir.path()).len(), MOST as usize);
        let error = write(&dir.path().join("absent"), "Ports", AT, &Value::Null).expect_err("no directory");
        assert!(error.to_string().starts_with("cannot create "), "{error}");
    }
}
