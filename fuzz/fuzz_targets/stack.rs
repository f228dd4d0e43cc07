//! The record of a user stack: any bytes give one or an error, it has lost nothing on the way, and the search for callers
//! in memory that somebody else has filled comes to an end. An input is such a record, or the beginning of one.
#![no_main]

use std::{cell::RefCell, ops::Range, path::PathBuf};

use libfuzzer_sys::fuzz_target;
use tcptrace::{
    fuzzing::Unwinder,
    model::{Stack, StackTop},
    source::{
        decode::{Malformed, decode, decode_stack},
        symbols::MAX_FRAMES,
    },
};
use tcptrace_common::{MAX_STACK, RawStack, RawStackHead, STACK_BYTES};
use zerocopy::{FromZeros as _, IntoBytes as _};

/// Where the only program lies, for the stacks. It is this one, which has tables.
const PLACE: u64 = 0x1000_0000;

thread_local! {
    /// Reads the tables once.
    static UNWINDER: RefCell<Unwinder> = RefCell::default();
    static PROGRAM: (Range<u64>, u64) = program();
}

/// Where the code of this program is to lie, and where it is in the file.
fn program() -> (Range<u64>, u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let code = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (range, permissions, offset) = (words.next()?, words.next()?, words.next()?);
        let (start, end) = range.split_once('-')?;
        let number = |word| u64::from_str_radix(word, 16).ok();
        let size = number(end)? - number(start)?;
        (permissions == "r-xp").then_some((PLACE..PLACE + size, number(offset)?))
    };
    maps.lines().find_map(code).expect("this program has code")
}

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(decode_stack(bytes).is_some(), bytes.len() == RawStack::SIZE);
    let mut record = RawStack::new_zeroed();
    let len = bytes.len().min(RawStack::SIZE);
    record.as_mut_bytes()[..len].copy_from_slice(&bytes[..len]);
    assert_eq!(decode(record.as_bytes(), 0), Err(Malformed::Size(RawStack::SIZE)), "it is no other record");
    let Ok(stack) = decode_stack(record.as_bytes()).expect("has the size of one") else { return };
    assert!(stack.addrs.len() <= MAX_STACK && !stack.addrs.contains(&0));
    assert_eq!(decode_stack(encode(&stack).as_bytes()), Some(Ok(stack.clone())));
    let Some(top) = stack.top else { return };
    assert!(top.memory.len() <= STACK_BYTES);
    for file in [None, Some(PathBuf::from("/proc/self/exe"))] {
        let (range, offset) = PROGRAM.with(Clone::clone);
        let addrs = UNWINDER.with_borrow_mut(|unwinder| unwinder.unwind(range, offset, file, &top));
        assert!(addrs.first() == Some(&top.ip) && addrs.len() <= MAX_FRAMES);
    }
});

/// The record that tells this stack.
fn encode(stack: &Stack) -> RawStack {
    let mut record = RawStack::new_zeroed();
    record.head = RawStackHead {
        ts_ns: stack.ts.0,
        cookie: stack.key.cookie().map_or(0, Into::into),
        pid_tgid: stack.thread.0,
        start_ns: stack.started_ns.unwrap_or(0),
        bytes: i64::try_from(size_of_val(&*stack.addrs)).unwrap_or(i64::MAX),
        ..record.head
    };
    record.frames[..stack.addrs.len()].copy_from_slice(&stack.addrs);
    if let Some(StackTop { ip, sp, fp, lr, memory }) = &stack.top {
        record.head.registers = [*ip, *sp, *fp, *lr];
        record.head.copied = memory.len() as u64;
        record.memory[..memory.len()].copy_from_slice(memory);
    }
    record
}
