//! Names of symbols: of bounded length in bounded time, whatever they are.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use tcptrace::fuzzing::{MAX_NAME_BYTES, demangled};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(name) = str::from_utf8(bytes) else { return Corpus::Reject };
    let plain = demangled(name);
    assert!(plain.len() <= MAX_NAME_BYTES);
    assert_eq!(demangled(name), plain);
    // A mangled name has nothing but these.
    let is_mangled = name.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_mangled && !name.starts_with(['_', 'Z', 'R']) {
        assert!(name.starts_with(&plain) && (plain.len() == name.len() || plain.len() + 4 > MAX_NAME_BYTES));
    }
    Corpus::Keep
});
