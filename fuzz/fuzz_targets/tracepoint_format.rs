//! The `format` file of a tracepoint: what is read from it is what it says.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use tcptrace::fuzzing::{tracepoint_fields, tracepoint_socket};

/// Global of the kernel half, field, size. That of the protocol follows it.
const FIELDS: [(&str, &str, u32); 11] = [
    ("FMT_SKADDR", "skaddr", 8),
    ("FMT_OLDSTATE", "oldstate", 4),
    ("FMT_NEWSTATE", "newstate", 4),
    ("FMT_SPORT", "sport", 2),
    ("FMT_DPORT", "dport", 2),
    ("FMT_FAMILY", "family", 2),
    ("FMT_PROTOCOL", "protocol", 0),
    ("FMT_SADDR", "saddr", 4),
    ("FMT_DADDR", "daddr", 4),
    ("FMT_SADDR_V6", "saddr_v6", 16),
    ("FMT_DADDR_V6", "daddr_v6", 16),
];

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(bytes) else { return Corpus::Reject };
    let socket = tracepoint_socket(text);
    let Ok(read) = tracepoint_fields(text) else { return Corpus::Keep };
    let value = |global| read.iter().find(|(name, _)| *name == global).map(|(_, value)| *value);
    assert_eq!(read.len(), FIELDS.len() + 1);
    assert_eq!(value("FMT_SKADDR"), socket);
    let protocol_size = value("FMT_PROTOCOL_SIZE").expect("is among them");
    assert!(matches!(protocol_size, 1 | 2));
    let lines = FIELDS.map(|(global, field, size)| {
        let offset = value(global).expect("is among them");
        let size = if size == 0 { protocol_size } else { size };
        format!("\tfield:int {field};\toffset:{offset};\tsize:{size};\tsigned:0;\n")
    });
    assert_eq!(tracepoint_fields(&lines.concat()), Ok(read));
    Corpus::Keep
});
