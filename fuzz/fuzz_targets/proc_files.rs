//! Files in /proc whose text others have a hand in: names of files, cgroups and mounts. Each input is given to all of the
//! parsers; what is not theirs they must pass over.
#![no_main]

use std::os::unix::ffi::OsStrExt as _;

use libfuzzer_sys::fuzz_target;
use tcptrace::fuzzing::{Maps, cgroup_mounts, cgroups_of_process, kallsyms, netstat};

fuzz_target!(|text: &[u8]| {
    let lines = text.split(|byte| *byte == b'\n').count();

    let maps = Maps::of(text);
    // A mapping is some 48 bytes, and its name stands in the text.
    assert!(maps.weight() <= 64 * lines + text.len());
    let separators = |byte: &u8| !byte.is_ascii_hexdigit();
    let numbers =
        text.split(separators).filter_map(|word| u64::from_str_radix(str::from_utf8(word).ok()?, 16).ok());
    for addr in numbers.flat_map(|number| [number.saturating_sub(1), number]).chain([0, u64::MAX]) {
        if let Some((range, offset)) = maps.find(addr) {
            assert!(range.contains(&addr));
            let start = maps.find(range.start).expect("the first address is in it").1;
            assert_eq!(offset.wrapping_sub(start), addr - range.start);
        }
    }

    for path in cgroups_of_process(text).into_iter().flatten() {
        assert!(path.starts_with(b"/") && !path.contains(&b'\n'));
        assert!(text.windows(path.len()).any(|window| window == path));
    }

    let (mounts, _) = cgroup_mounts(text);
    assert!(mounts.len() <= lines);
    let length: usize = mounts.iter().map(|(root, dir)| root.len() + dir.as_os_str().as_bytes().len()).sum();
    assert!(length <= text.len());

    let more = [b"TcpExt: SyncookiesSent\nTcpExt: 7\n", text].concat();
    assert_eq!(netstat(&more).syncookies_sent, Some(7), "the first pair of lines counts");
    let _ = netstat(text);

    let wanted = ["tw_timer_handler", "reqsk_timer_handler"];
    let found = kallsyms(text, wanted);
    let swapped = kallsyms(text, [wanted[1], wanted[0]]);
    assert_eq!(found, [swapped[1], swapped[0]]);
});
