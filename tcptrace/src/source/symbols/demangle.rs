//! Names as they were written, of bounded length: a mangled name of some bytes may stand for gigabytes.

use std::fmt::{self, Write as _};

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

/// Of a symbol or a file, in bytes; the rest is cut off.
pub(crate) const MAX_NAME_BYTES: usize = 512;

/// Mangled names that are longer stay as they are.
const MAX_MANGLED_BYTES: usize = 4096;

/// Of a name's parts in one another.
const MAX_DEPTH: u32 = 96;

/// A Rust or C++ name as a person wrote it, any other one as it is.
pub(crate) fn demangled(name: &str) -> String {
    if name.len() <= MAX_MANGLED_BYTES {
        if let Ok(rust) = rustc_demangle::try_demangle(name) {
            let mut text = Bounded::default();
            // An error says that there is no more room.
            let _ = write!(text, "{rust:#}");
            return text.0;
        }
        if let Some(text) = cpp(name) {
            return text;
        }
    }
    cut(name)
}

fn cpp(name: &str) -> Option<String> {
    if !name.starts_with("_Z") {
        return None;
    }
    let parse = ParseOptions::default().recursion_limit(MAX_DEPTH);
    let symbol = Symbol::new_with_options(name, &parse).ok()?;
    let mut text = Bounded::default();
    let written =
        symbol.structured_demangle(&mut text, &DemangleOptions::default().recursion_limit(MAX_DEPTH));
    (written.is_ok() || text.is_full()).then_some(text.0)
}

/// The beginning of `text`, if it is too long.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

/// Takes what there is room for, and then refuses.
#[derive(Default)]
struct Bounded(String);

impl Bounded {
    /// The last character may have needed up to 4 bytes.
    fn is_full(&self) -> bool {
        self.0.len() + 4 > MAX_NAME_BYTES
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_NAME_BYTES - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_as_they_were_written() {
        for (mangled, expected) in [
            ("_ZN4core9panicking9panic_fmt17h5f1a6fd39197ad62E", "core::panicking::panic_fmt"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            ("main", "main"),
            ("_Znonsense", "_Znonsense"),
            ("", ""),
        ] {
            assert_eq!(demangled(mangled), expected);
        }
    }

    /// Each substitution names twice what the one before it names: 2^60 times `int` if it were written out.
    #[test]
    fn a_name_that_doubles_is_cut() {
        use fmt::Write as _;
        let mut name = String::from("_Z1fI1aIiiEE");
        for i in 0..30 {
            let digit = char::from_digit(i, 36).expect("is less than 36").to_ascii_uppercase();
            write!(name, "1aIS{digit}_S{digit}_E").expect("a string takes it");
        }
        assert!(demangled(&name).len() <= MAX_NAME_BYTES);
        let long = "é".repeat(MAX_NAME_BYTES);
        assert_eq!(demangled(&long).len(), MAX_NAME_BYTES);
        assert_eq!(demangled(&format!("x{long}")).len(), MAX_NAME_BYTES - 1);
        let deep = format!("_Z1f{}", "P".repeat(MAX_MANGLED_BYTES - 5));
        assert_eq!(demangled(&deep), cut(&deep));
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(name in "(_Z|_R|_ZN)?[A-Z0-9a-z_SIEFP]{0,120}\\PC{0,10}") {
            prop_assert!(demangled(&name).len() <= MAX_NAME_BYTES);
        }
    }
}
