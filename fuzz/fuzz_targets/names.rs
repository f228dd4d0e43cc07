//! Names that others chose: of processes, of functions and files, and of cgroups with what their paths tell. Whatever they
//! are, they do nothing to a terminal or a program that reads our output, and none is taken for another.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize as _;
use tcptrace::{
    model::{Cgroup, Comm, Frame},
    output::escape::{self, Medium, SafeJson},
};
use tcptrace_fuzz::is_dangerous;

fuzz_target!(|bytes: &[u8]| {
    let mut comm = Comm::default();
    let len = bytes.len().min(15);
    comm.0[..len].copy_from_slice(&bytes[..len]);
    assert_eq!(unescaped(&escape::comm(&comm)), comm.bytes());
    assert_eq!(unescaped(&escape::comm_word(&comm)), comm.bytes());
    assert!(!escape::comm_word(&comm).contains(' '));
    check_json(&Medium::Json.comm(&comm));

    let cgroup = Cgroup::at(bytes);
    assert_eq!(unescaped(&escape::text(&cgroup.path)), cgroup.path.as_bytes());
    assert_eq!(unescaped(&escape::word(&cgroup.path)), cgroup.path.as_bytes());
    check_json(&Medium::Json.text(&cgroup.path));
    check_cgroup(&cgroup);

    let name = Some(cgroup.path);
    let mut frame = Frame { symbol: name.clone(), module: name.clone(), file: name, ..Frame::default() };
    check_frame(&frame);
    frame.file = None;
    check_frame(&frame);
    frame.symbol = None;
    check_frame(&frame);
});

fn check_frame(frame: &Frame) {
    assert_eq!(escape::frame(frame).chars().find(|c| is_dangerous(*c)), None);
}

fn check_json(text: &str) {
    let mut written = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut written, SafeJson);
    text.serialize(&mut serializer).expect("a string can be serialised");
    let written = String::from_utf8(written).expect("JSON is UTF-8");
    assert_eq!(written.chars().find(|c| is_dangerous(*c)), None);
    assert_eq!(serde_json::from_str::<String>(&written).expect("is JSON"), text);
}

fn check_cgroup(cgroup: &Cgroup) {
    let Cgroup { path, workload } = cgroup;
    if let Some(container) = &workload.container {
        assert!(path.contains(&container.id) && container.id.starts_with(container.short_id()));
        assert!(!container.id.is_empty() && !container.id.contains('/'));
    }
    if let Some(pod) = &workload.pod {
        assert!(path.replace('_', "-").contains(pod) && matches!(pod.len(), 32 | 36));
    }
    if let Some(unit) = &workload.unit {
        assert!(path.contains(unit) && !unit.contains('/'));
    }
    assert!(cgroup.is_within("/") && cgroup.is_within(path));
    for (place, _) in path.match_indices('/').skip(1) {
        assert!(cgroup.is_within(&path[..place]), "{path} in {}", &path[..place]);
    }
    assert!(!cgroup.is_within(&format!("{path}/below")));
}

/// The bytes that an escaped name stands for.
fn unescaped(safe: &str) -> Vec<u8> {
    assert_eq!(safe.chars().find(|c| is_dangerous(*c)), None);
    let mut bytes = Vec::new();
    let mut rest = safe;
    while let Some(place) = rest.find('\\') {
        bytes.extend(rest[..place].bytes());
        rest = &rest[place + 1..];
        if let Some(after) = rest.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&after[..2], 16).expect("two digits follow"));
            rest = &after[2..];
        } else {
            let after = rest.strip_prefix("u{").expect("nothing else is escaped");
            let (digits, after) = after.split_once('}').expect("ends");
            let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).expect("is a character");
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            rest = after;
        }
    }
    bytes.extend(rest.bytes());
    bytes
}
