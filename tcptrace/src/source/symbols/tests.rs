use std::{
    fs,
    hint::black_box,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use proptest::prelude::*;

use super::*;

/// The line of `landmark`.
const LINE: u32 = line!() + 3;

#[inline(never)]
fn landmark(seed: u64) -> u64 {
    let mut sum = black_box(seed);
    for step in 0..black_box(3) {
        sum = inlined_part(sum, step);
    }
    black_box(sum)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "that is what is tested")]
fn inlined_part(sum: u64, step: u64) -> u64 {
    black_box(black_box(sum).rotate_left(7) ^ black_box(step).wrapping_mul(0x9e37_79b9))
}

fn landmark_addr() -> u64 {
    let function: fn(u64) -> u64 = black_box(landmark);
    function as usize as u64
}

fn own_pid() -> NonZeroU32 {
    NonZeroU32::new(std::process::id()).expect("has a number")
}

fn own_path() -> String {
    std::env::current_exe().expect("is known").display().to_string()
}

fn start_of(pid: NonZeroU32) -> u64 {
    Alive::open(pid, None).expect("is alive").identity.1 * NS_PER_TICK + 1
}

fn is_landmark(frame: &Frame) -> bool {
    frame.symbol.as_deref().is_some_and(|symbol| symbol.ends_with("symbols::tests::landmark"))
}

fn is_part(frame: &Frame) -> bool {
    frame.symbol.as_deref().is_some_and(|symbol| symbol.contains("inlined_part"))
}

/// Not a test: a process to look at. It tells where its `landmark` is, and ends with its input.
#[test]
#[ignore = "other tests run it"]
fn sleeper() {
    landmark(1);
    println!("\nlandmark {:x}", landmark_addr());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

struct Sleeper {
    child: Child,
    landmark: u64,
}

impl Sleeper {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("can be run");
        let output = BufReader::new(child.stdout.take().expect("is piped"));
        let landmark = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| u64::from_str_radix(line.strip_prefix("landmark ")?, 16).ok())
            .expect("it says where");
        Self { child, landmark }
    }

    fn of(program: &Path) -> Self {
        Self::start(Command::new(program).args(ARGUMENTS))
    }

    fn pid(&self) -> NonZeroU32 {
        NonZeroU32::new(self.child.id()).expect("has a number")
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.end();
    }
}

const ARGUMENTS: [&str; 4] = ["source::symbols::tests::sleeper", "--exact", "--ignored", "--nocapture"];

fn copy_of_ourselves(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("sleeper");
    fs::copy(own_path(), &path).expect("there is room");
    path
}

#[test]
fn a_function_of_our_own_has_a_name_and_a_place() {
    landmark(1);
    let addr = landmark_addr();
    let frames = Symbols::new().resolve(own_pid(), None, &[addr], None);
    let frame = frames.last().expect("one at least");
    assert!(is_landmark(frame), "{frames:?}");
    assert_eq!((frame.addr, frame.offset, frame.inlined), (addr, Some(0), false));
    assert_eq!(frame.module, Some(own_path()));
    assert!(frame.file.as_ref().is_some_and(|file| file.ends_with("symbols/tests.rs")), "{frame:?}");
    assert!(matches!(frame.line, Some(line) if (LINE..LINE + 2).contains(&line)), "{frame:?}");
}

#[test]
fn inlined_functions_come_before_what_they_are_part_of() {
    let addr = landmark_addr();
    let mut symbols = Symbols::new();
    let frames = (addr..addr + 200)
        .map(|addr| symbols.resolve(own_pid(), None, &[addr], None))
        .find(|frames| frames.iter().any(is_part))
        .expect("a part is inlined");
    let (outer, inner) = frames.split_last().expect("one at least");
    assert!(is_landmark(outer) && !outer.inlined, "{frames:?}");
    let part = inner.iter().find(|frame| is_part(frame)).expect("was found");
    assert!(inner.iter().all(|frame| frame.inlined && frame.addr == outer.addr && frame.offset.is_none()));
    let lines = LINE..LINE + 14;
    assert!(lines.contains(&outer.line.expect("is known")) && outer.line < part.line, "{frames:?}");
}

#[test]
fn a_return_address_belongs_to_what_is_before_it() {
    let addr = landmark_addr();
    let frames = Symbols::new().resolve(own_pid(), None, &[addr + 1, addr, addr + 1], None);
    let at = |addr| frames.iter().filter(move |frame| frame.addr == addr && is_landmark(frame));
    assert_eq!(at(addr).count(), 0, "its first byte is behind the function before: {frames:?}");
    assert_eq!(at(addr + 1).map(|frame| frame.offset).collect::<Vec<_>>(), [Some(1), Some(1)], "{frames:?}");
}

#[test]
fn a_stack_is_looked_up_once() {
    let mut symbols = Symbols::new();
    let first = symbols.resolve(own_pid(), None, &[landmark_addr()], None);
    assert!(Arc::ptr_eq(
        &first,
        &symbols.resolve(own_pid(), Some(start_of(own_pid())), &[landmark_addr()], None)
    ));
    symbols.stacks = Cache::new(3, 1 << 20);
    for addr in 0..20 {
        symbols.resolve(own_pid(), None, &[landmark_addr() + addr], None);
        assert!(symbols.stacks.size().0 <= 3);
    }
    symbols.stacks = Cache::new(100, 3 * size_of::<Frame>());
    for addr in 0..20 {
        symbols.resolve(own_pid(), None, &[addr], None);
        let (entries, bytes) = symbols.stacks.size();
        assert!(entries <= 2 && bytes <= 3 * size_of::<Frame>());
    }
}

#[test]
fn what_is_no_code_is_told_as_it_is() {
    let addrs = [0, 1, 4096, 1 << 47, u64::MAX - 1, u64::MAX];
    let bare: Vec<Frame> = addrs.iter().copied().map(super::bare).collect();
    let mut symbols = Symbols::new();
    assert_eq!(*symbols.resolve(own_pid(), None, &addrs, None), *bare);
    assert_eq!(*symbols.resolve(NonZeroU32::MAX, None, &addrs, None), *bare, "no such process");
    assert_eq!(
        *symbols.resolve(own_pid(), Some(1), &[landmark_addr()], None),
        [super::bare(landmark_addr())],
        "another one"
    );
    assert!(symbols.resolve(own_pid(), None, &[], None).is_empty());
    assert_eq!(symbols.resolve(own_pid(), None, &[1; 500], None).len(), MAX_FRAMES);
    assert!(symbols.resolve(own_pid(), None, &[landmark_addr(); 500], None).len() <= MAX_FRAMES);
}

#[test]
fn a_process_that_has_ended_is_known_if_it_was_noted() {
    let mut sleeper = Sleeper::of(Path::new(&own_path()));
    let (pid, start, addr) = (sleeper.pid(), start_of(sleeper.pid()), sleeper.landmark);
    let (mut noted, mut not_noted) = (Symbols::new(), Symbols::new());
    noted.note_process(pid, Some(start));
    noted.note_process(pid, Some(start));
    assert_eq!(noted.processes.size().0, 1);
    sleeper.end();
    noted.note_process(pid, Some(start));
    let frames = noted.resolve(pid, Some(start), &[addr], None);
    assert!(is_landmark(frames.last().expect("one at least")), "the file is still there: {frames:?}");
    assert_eq!(noted.resolve(pid, None, &[addr], None).len(), frames.len(), "who had the number last");
    assert_eq!(*not_noted.resolve(pid, Some(start), &[addr], None), [super::bare(addr)]);
    assert_eq!(
        *noted.resolve(pid, Some(start + NS_PER_TICK), &[addr], None),
        [super::bare(addr)],
        "another one"
    );
}

#[test]
fn a_program_that_is_deleted_is_read_while_it_runs() {
    let dir = tempfile::tempdir().expect("can be made");
    let path = copy_of_ourselves(dir.path());
    let mut sleeper = Sleeper::of(&path);
    fs::remove_file(&path).expect("is ours");
    let mut symbols = Symbols::new();
    let frames = symbols.resolve(sleeper.pid(), None, &[sleeper.landmark], None);
    let frame = frames.last().expect("one at least");
    assert!(is_landmark(frame), "{frame:?}");
    assert_eq!(frame.module, Some(format!("{} (deleted)", path.display())));

    // Then there is nothing to read, but what it was and where.
    sleeper.end();
    fs::write(format!("{} (deleted)", path.display()), "another").expect("is ours");
    let frames = symbols.resolve(sleeper.pid(), None, &[sleeper.landmark + 1], None);
    assert_eq!(frames.len(), 1);
    assert_eq!((&frames[0].symbol, &frames[0].module), (&None, &frame.module));
    assert!(frames[0].offset.is_some_and(|offset| offset > 0), "{frames:?}");
}

#[test]
fn a_process_in_a_container_is_read() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a mount namespace needs root");
        return;
    }
    let dir = tempfile::tempdir().expect("can be made");
    // 0777: what others can write is copied before it is read.
    let script = "mount -t tmpfs none \"$0\" && cp \"$1\" \"$0/hidden\" && chmod 0777 \"$0/hidden\" && \
        cp --parents $(ldd \"$1\" | grep -o '/[^ ]*') $(command -v chroot) \"$0\" && shift && cd \"$0\" && \
        mkdir old && pivot_root . old && exec chroot . /hidden \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(dir.path()).arg(own_path()).args(ARGUMENTS);
    let mut sleeper = Sleeper::start(&mut command);
    assert!(!dir.path().join("hidden").exists(), "it is in a namespace of its own");
    let (pid, addr) = (sleeper.pid(), sleeper.landmark);
    let mut symbols = Symbols::new();
    let frames = symbols.resolve(pid, None, &[addr], None);
    let frame = frames.last().expect("one at least");
    assert!(is_landmark(frame), "{frame:?}");
    assert_eq!(frame.module.as_deref(), Some("/hidden"));
    assert!(frame.line.is_some(), "a copy tells all that the file tells: {frame:?}");

    // By the name of the file in its root directory, which lives as long as it is held.
    let mut symbols = Symbols::new();
    symbols.note_process(pid, None);
    sleeper.end();
    let frames = symbols.resolve(pid, None, &[addr], None);
    assert!(is_landmark(frames.last().expect("one at least")), "{frames:?}");
}

#[test]
fn it_can_live_in_a_thread() {
    let mut symbols = Symbols::new();
    let frames =
        std::thread::spawn(move || symbols.resolve(own_pid(), None, &[landmark_addr()], None)).join();
    assert!(is_landmark(frames.expect("does not panic").last().expect("one at least")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_makes_it_panic(
        looks in prop::collection::vec(
            (
                prop_oneof![Just(own_pid()), (1..400_000_u32).prop_filter_map("not 0", NonZeroU32::new)],
                any::<Option<u64>>(),
                prop::collection::vec(prop_oneof![any::<u64>(), (0..1_u64 << 20).prop_map(|at| landmark_addr() + at)], 0..140),
            ),
            1..8,
        )
    ) {
        let mut symbols = Symbols::new();
        for (pid, start, addrs) in looks {
            symbols.note_process(pid, start);
            let frames = symbols.resolve(pid, start, &addrs, None);
            prop_assert!(frames.len() <= MAX_FRAMES);
            prop_assert!(frames.len() >= addrs.len().min(MAX_FRAMES));
            for text in frames.iter().flat_map(|frame| [&frame.symbol, &frame.module, &frame.file]).flatten() {
                prop_assert!(text.len() <= MAX_NAME_BYTES);
            }
        }
    }
}
