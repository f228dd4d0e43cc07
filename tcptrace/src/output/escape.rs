//! Hostile strings made harmless. A process may call itself anything, terminal control sequences included.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use serde_json::ser::Formatter;

use crate::model::{Comm, Frame};

/// Whether a character must not reach a terminal as it is: controls (C0, DEL, C1), and the invisible ones that
/// reorder or hide text (bidirectional controls, zero-width characters, line and paragraph separators, tags).
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether there are printable ASCII characters only, which is quick to see.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |is_plain, byte| is_plain & (0x20..0x7f).contains(&byte))
}

/// A process name for a terminal or a table: one line, no control characters, no ambiguity. What is unsafe or no
/// UTF-8 stands as `\xNN` or `\u{NNNN}`, a backslash as `\\`.
pub fn comm(comm: &Comm) -> Cow<'_, str> {
    harmless(comm.bytes())
}

/// As [`comm`], for names of files, cgroups and the like.
pub fn text(text: &str) -> Cow<'_, str> {
    harmless(text.as_bytes())
}

/// As [`comm_word`], for names of files, cgroups and the like.
pub fn word(name: &str) -> Cow<'_, str> {
    one_word(text(name))
}

fn harmless(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(|c| c == '\\' || is_unsafe(c))
    {
        return Cow::Borrowed(text);
    }
    let mut safe = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Writing to a String cannot fail.
            let _ = match c {
                '\\' => write!(safe, "\\\\"),
                c if c.is_ascii_control() => write!(safe, "\\x{:02x}", u32::from(c)),
                c if is_unsafe(c) => write!(safe, "\\u{{{:x}}}", u32::from(c)),
                c => write!(safe, "{c}"),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    Cow::Owned(safe)
}

/// A process name as a field of a table whose columns are separated by spaces: a space is `\x20`.
pub fn comm_word(name: &Comm) -> Cow<'_, str> {
    one_word(comm(name))
}

fn one_word(safe: Cow<'_, str>) -> Cow<'_, str> {
    if safe.contains(' ') { Cow::Owned(safe.replace(' ', "\\x20")) } else { safe }
}

/// A process name for JSON, where the encoding does the escaping: what is no UTF-8 becomes U+FFFD.
pub fn comm_json(comm: &Comm) -> Cow<'_, str> {
    String::from_utf8_lossy(comm.bytes())
}

/// A function call of a stack in one line: `symbol+0x1f (file.rs:12)`, or `module+0x1f`, or its address.
pub fn frame(frame: &Frame) -> String {
    let Frame { addr, symbol, offset, module, file, line, .. } = frame;
    let place = match (file, line) {
        (Some(file), Some(line)) => format!(" ({}:{line})", text(file)),
        (Some(file), None) => format!(" ({})", text(file)),
        (None, _) => symbol
            .as_ref()
            .and(module.as_deref())
            .map_or_else(String::new, |module| format!(" ({})", text(module))),
    };
    let name = symbol.as_deref().or(module.as_deref());
    let offset = offset.map_or_else(String::new, |offset| format!("+{offset:#x}"));
    name.map_or_else(|| format!("{addr:#x}"), |name| format!("{}{offset}{place}", text(name)))
}

/// Where hostile strings go, of the formats for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// The encoding does the escaping.
    Json,
    /// Nothing else does.
    Csv,
}

impl Medium {
    /// A process name.
    pub fn comm(self, name: &Comm) -> Cow<'_, str> {
        match self {
            Self::Json => comm_json(name),
            Self::Csv => comm(name),
        }
    }

    /// Any other string.
    pub fn text(self, string: &str) -> Cow<'_, str> {
        match self {
            Self::Json => Cow::Borrowed(string),
            Self::Csv => text(string),
        }
    }
}

/// JSON in which no string holds an unsafe character as it is: a terminal may be what reads it.
#[derive(Clone, Copy, Debug)]
pub struct SafeJson;

impl Formatter for SafeJson {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly all strings, the names of the fields among them.
        if is_plain(fragment) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize as _;

    use super::*;

    fn of(bytes: &[u8]) -> Comm {
        let mut comm = [0; 16];
        comm[..bytes.len()].copy_from_slice(bytes);
        Comm(comm)
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["nginx", "tokio-runtime-w", "Web Content", "kworker/0:1", "größe"] {
            assert_eq!(comm(&Comm::from(name)), name);
        }
    }

    #[test]
    fn control_sequences_are_shown_and_not_obeyed() {
        assert_eq!(comm(&of(b"\x1b[2J\x1b[31mevil")), "\\x1b[2J\\x1b[31mevil");
        assert_eq!(comm(&of(b"a\r\nb\tc\x7f")), "a\\x0d\\x0ab\\x09c\\x7f");
        assert_eq!(comm(&of("\u{9b}31m".as_bytes())), "\\u{9b}31m", "the 8-bit CSI");
        assert_eq!(comm(&of("\u{202e}txt.exe".as_bytes())), "\\u{202e}txt.exe");
        assert_eq!(comm(&of(b"\xff\xfe")), "\\xff\\xfe");
        assert_eq!(comm(&of(b"a\\x1b")), "a\\\\x1b", "an escape that the name itself holds is told apart");
        assert_eq!(comm_word(&Comm::from("Web Content")), "Web\\x20Content");
    }

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, SafeJson);
        text.serialize(&mut serializer).expect("a string can be serialised");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    proptest! {
        #[test]
        fn nothing_unsafe_gets_through(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let name = of(&bytes);
            prop_assert!(!comm(&name).chars().any(is_unsafe));
            prop_assert!(!comm_word(&name).contains(' '));
        }

        #[test]
        fn json_is_safe_and_reads_back(text in any::<String>()) {
            let written = json(&text);
            prop_assert!(!written.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&written).expect("is JSON"), text);
        }
    }
}
