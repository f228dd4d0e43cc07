//! Names under roots of the test's own, and a real namespace.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Child, Command},
    time::Duration,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SECOND: u64 = 1_000_000_000;
const NET: &str = "/proc/self/ns/net";
const UTS: &str = "/proc/self/ns/uts";

/// Links to namespaces of this process stand for the files that they are mounted on. The kinds do not matter to names.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        for name in ["proc", "names", "docker"] {
            fs::create_dir(dir.path().join(name)).expect("can be made");
        }
        Self { dir }
    }

    fn places(&self) -> Places {
        let named = ["names", "missing", "docker"].map(|name| self.dir.path().join(name)).to_vec();
        Places { proc: self.dir.path().join("proc"), named }
    }

    fn names(&self) -> NetnsNames {
        NetnsNames { places: self.places(), ..NetnsNames::default() }
    }

    fn link(&self, path: &str, namespace: &str) {
        let path = self.dir.path().join(path);
        let _ = fs::remove_file(&path);
        symlink(namespace, path).expect("can be made");
    }

    fn process(&self, pid: u32, comm: &[u8], namespace: &str) {
        let dir = format!("proc/{pid}");
        fs::create_dir_all(self.dir.path().join(&dir).join("ns")).expect("can be made");
        fs::write(self.dir.path().join(&dir).join("comm"), comm).expect("can be written");
        self.link(&format!("{dir}/ns/net"), namespace);
    }

    fn remove(&self, path: &str) {
        let path = self.dir.path().join(path);
        if path.is_symlink() { fs::remove_file(path) } else { fs::remove_dir_all(path) }
            .expect("can be removed");
    }
}

fn inode(path: &str) -> NonZeroU32 {
    inode_of(Path::new(path)).expect("is a namespace")
}

#[test]
fn names_come_before_processes() {
    let host = Host::new();
    host.link("names/blue", NET);
    host.link("docker/0123456789ab", NET);
    host.link("docker/default", UTS);
    fs::write(host.dir.path().join("names/about-to-be-mounted"), "").expect("can be written");
    host.process(1, b"init\n", NET);
    host.process(7, b"nginx\n", "/proc/self/ns/ipc");
    host.process(8, b"other\n", "/proc/self/ns/ipc");
    let mut names = host.names();
    assert_eq!(names.name(inode(NET)).as_ref().map(|name| &*name.text), Some("blue"));
    assert_eq!(names.name(inode(UTS)).as_ref().map(|name| &*name.text), Some("default"));
    assert_eq!(
        host.names().name(inode("/proc/self/ns/ipc")).as_ref().map(|name| &*name.text),
        Some("pid 7 (nginx)")
    );
    assert_eq!(host.names().name(NonZeroU32::MIN), None);
}

#[test]
fn a_number_that_is_given_again_gets_the_new_name() {
    let host = Host::new();
    host.link("names/blue", NET);
    let mut names = host.names();
    let mut name = |now: u64| names.name_at(inode(NET), KtimeNs(now)).map(|name| name.text.to_string());
    let begin = 100 * SECOND;
    assert_eq!(name(begin).as_deref(), Some("blue"));
    host.link("names/green", NET);
    assert_eq!(name(begin + 5 * SECOND).as_deref(), Some("blue"), "it is still right");
    host.link("names/blue", UTS);
    assert_eq!(name(begin + 6 * SECOND - 1).as_deref(), Some("blue"), "for one second");
    assert_eq!(name(begin + 6 * SECOND).as_deref(), Some("green"));
    host.remove("names/green");
    assert_eq!(name(begin + 15 * SECOND).as_deref(), Some("green"), "for the last events");
    assert_eq!(name(begin + 16 * SECOND), None);
}

#[test]
fn what_is_unknown_is_searched_for_once_a_second() {
    let host = Host::new();
    let mut names = host.names();
    let begin = 100 * SECOND;
    assert_eq!(names.name_at(inode(NET), KtimeNs(begin)), None);
    host.process(42, b"nginx\n", NET);
    assert_eq!(names.name_at(inode(NET), KtimeNs(begin + SECOND - 1)), None);
    let again = names.next_search;
    let mut name = |now: u64| names.name_at(inode(NET), KtimeNs(now)).map(|name| name.text.to_string());
    assert_eq!(name(again.0).as_deref(), Some("pid 42 (nginx)"));
    host.process(42, b"worker (1)\n\n", NET);
    assert_eq!(name(again.0 + 1).as_deref(), Some("pid 42 (nginx)"));
    assert_eq!(name(again.0 + 2 * SECOND).as_deref(), Some("pid 42 (worker (1)\n)"), "text is data");
    host.process(43, b"\xff\n", NET);
    host.remove("proc/42");
    assert_eq!(name(again.0 + 4 * SECOND).as_deref(), Some("pid 43 (\u{fffd})"));
    fs::remove_file(host.dir.path().join("proc/43/comm")).expect("can be removed");
    assert_eq!(name(again.0 + 6 * SECOND).as_deref(), Some("pid 43"));
    host.link("names/blue", NET);
    assert_eq!(name(again.0 + 8 * SECOND).as_deref(), Some("blue"), "a name is better than a process");
}

#[test]
fn words_for_the_own_namespace() {
    let host = Host::new();
    host.link("names/blue", NET);
    host.link("docker/0123456789ab", NET);
    host.process(42, b"nginx\n", NET);
    let places = host.places();
    let own = inode(NET);
    let path = host.dir.path().join("names/blue").display().to_string();
    let number = own.to_string();
    let explicit = format!("inode:{own}");
    for word in ["blue", "0123456789ab", "42", "pid:42", NET, &path, &number, &explicit] {
        assert_eq!(places.resolve(word), Ok(own), "{word}");
    }
    assert_eq!(places.resolve("inode:7").ok(), NonZeroU32::new(7), "it is taken unseen");
    let pid = std::process::id();
    for word in ["self".to_owned(), pid.to_string(), format!("/proc/{pid}/ns/net"), number] {
        assert_eq!(resolve(&word), Ok(own), "{word}");
    }
    // A name can be a number; `pid:` is there to say which.
    host.link("names/42", NET);
    host.remove("proc/42");
    assert_eq!(places.resolve("42"), Ok(own));
    assert!(places.resolve("pid:42").is_err());
}

#[test]
fn words_that_lead_nowhere_are_refused_in_one_line() {
    let host = Host::new();
    host.link("names/uts", UTS);
    host.link("names/dangling", "/nonexistent");
    fs::write(host.dir.path().join("names/file"), "").expect("can be written");
    let places = host.places();
    let refused = |word: &str| {
        let error = places.resolve(word).expect_err("leads nowhere");
        let text = error.to_string();
        assert!(text.contains(&format!("`{word}`")) && text.contains("accepted"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        error
    };
    for word in ["", "red", ".", "..", "-1", "+1", " 1", "0x10", "dangling", "SELF", "é"] {
        assert!(matches!(refused(word), NetnsError::Unknown { .. }), "{word}");
    }
    for word in ["0", "99999999999", "pid:", "pid:x", "pid:+1", "pid:0", "inode:0", "inode:-1"] {
        assert!(matches!(refused(word), NetnsError::Number { .. }), "{word}");
    }
    for word in ["file", "uts", UTS, "/", "/dev/null", "/proc/self/status"] {
        assert!(matches!(refused(word), NetnsError::Other { .. }), "{word}");
    }
    assert!(matches!(refused("/nonexistent"), NetnsError::Path { error: Errno::NOENT, .. }));
    assert!(matches!(refused("4242"), NetnsError::Process { pid: 4242, error: Errno::NOENT, .. }));
    assert!(matches!(refused("pid:4242"), NetnsError::Process { .. }));
    for word in ["4026531992", "4194305"] {
        assert!(matches!(refused(word), NetnsError::Absent { .. }), "{word}");
    }
}

#[test]
fn the_kernel_tells_the_kind_of_a_namespace() {
    for (path, is_net) in [(NET, true), (UTS, false)] {
        let namespace = Namespace::open(Path::new(path)).expect("is a namespace");
        assert_eq!(is_network(namespace.fd()), is_net, "{path}");
        assert_eq!(may_be_entered(namespace.fd()), is_net, "{path}");
    }
    assert_eq!(inode_of(Path::new("/proc/self/status")), None);
}

/// Is undone at the end of a test.
struct Undo(Child, String);

impl Drop for Undo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if Path::new(NAMED[0]).join(&self.1).exists() {
            let _ = Command::new("ip").args(["netns", "del", &self.1]).status();
        }
    }
}

#[test]
fn a_real_namespace_has_a_process_and_then_a_name() {
    let spawned = Command::new("unshare").args(["--net", "sleep", "60"]).spawn();
    let Ok(child) = spawned else {
        eprintln!("SKIPPED: there is no `unshare` to make a network namespace with");
        return;
    };
    let pid = child.id();
    let name = format!("tcptrace-test-{pid}");
    let mut undo = Undo(child, name.clone());
    let is_ready = || fs::read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == b"sleep\n");
    for _ in 0..500 {
        if is_ready() || undo.0.try_wait().is_ok_and(|status| status.is_some()) {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    if !is_ready() {
        eprintln!("SKIPPED: no network namespace can be made; that takes root");
        return;
    }
    let inode = resolve(&pid.to_string()).expect("is there");
    assert_ne!(Ok(inode), resolve("self"));
    assert_eq!(resolve(&inode.to_string()), Ok(inode));
    let mut names = NetnsNames::new();
    assert_eq!(names.name(inode).as_ref().map(|name| &*name.text), Some(&format!("pid {pid} (sleep)")[..]));
    let named = Command::new("ip").args(["netns", "attach", &name, &pid.to_string()]).status();
    if !named.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: `ip netns attach` gives no name to a network namespace here");
        return;
    }
    let found = NetnsNames::new().name(inode).expect("has a name");
    assert_eq!((&*found.text, found.is_given), (&name[..], true));
    assert_eq!(resolve(&name), Ok(inode));
    assert_eq!(resolve(&format!("/run/netns/{name}")), Ok(inode), "it is known behind a mount");
}

proptest! {
    #[test]
    fn any_word_has_an_answer_of_one_line(word in "(pid:|inode:)?([0-9]{0,11}|[^/\\x00-\\x1f]{0,20})") {
        if let Err(error) = Host::new().places().resolve(&word) {
            prop_assert!(error.to_string().contains(&word) && !error.to_string().contains('\n'));
        }
    }
}
