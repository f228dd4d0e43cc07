//! Cgroups under a root of the test's own, and a real one.

use std::fs;

use proptest::prelude::*;
use rustix::fs::stat;
use tempfile::TempDir;

use super::{mount::directory_id, mountinfo::unescape, *};
use crate::model::Runtime;

const ID: &str = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970";
const SECOND: u64 = 1_000_000_000;

/// A `/proc` and a hierarchy in a directory that is no cgroupfs.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        fs::create_dir(dir.path().join("proc")).expect("can be made");
        fs::create_dir(dir.path().join("cgroup")).expect("can be made");
        Self { dir }
    }

    fn mount(&self) -> PathBuf {
        self.dir.path().join("cgroup")
    }

    fn cgroups(&self) -> Cgroups {
        self.cgroups_of(b"/", false)
    }

    fn cgroups_of(&self, root: &[u8], has_v1: bool) -> Cgroups {
        let mount = Mount::at(&self.mount(), root).expect("is a directory");
        Cgroups::over(self.dir.path().join("proc"), Some(mount), has_v1)
    }

    fn cgroups_of_v1(&self) -> Cgroups {
        Cgroups::over(self.dir.path().join("proc"), None, true)
    }

    fn make(&self, path: &str) -> NonZeroU64 {
        let dir = self.mount().join(path);
        fs::create_dir_all(&dir).expect("can be made");
        directory_id(&stat(&dir).expect("is there")).expect("has an inode")
    }

    fn remove(&self, path: &str) {
        fs::remove_dir(self.mount().join(path)).expect("can be removed");
    }

    fn process(&self, pid: u32, cgroup: &str) -> Option<NonZeroU32> {
        let dir = self.dir.path().join("proc").join(pid.to_string());
        fs::create_dir_all(&dir).expect("can be made");
        fs::write(dir.join("cgroup"), cgroup).expect("can be written");
        NonZeroU32::new(pid)
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.dir.path().join("proc").join(pid.to_string())).expect("can be removed");
    }
}

fn path(cgroup: Option<Arc<Cgroup>>) -> Option<String> {
    cgroup.map(|cgroup| cgroup.path.clone())
}

fn id(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("is not 0")
}

#[test]
fn a_process_shows_the_way_and_a_wrong_one_does_no_harm() {
    let host = Host::new();
    let nginx = host.make("system.slice/nginx.service");
    let ssh = host.make("system.slice/ssh.service");
    let mut cgroups = host.cgroups();
    let pid = host.process(42, "0::/system.slice/nginx.service\n");
    let found = cgroups.name(nginx, pid).expect("is found");
    assert_eq!(found.path, "/system.slice/nginx.service");
    assert_eq!(found.workload.unit.as_deref(), Some("nginx.service"));
    assert_eq!(cgroups.next_walk, KtimeNs(0), "nobody has walked");

    assert_eq!(path(cgroups.name(ssh, pid)).as_deref(), Some("/system.slice/ssh.service"), "it has moved");
    assert_ne!(cgroups.next_walk, KtimeNs(0));
    for way_out in ["0::/../cgroup/system.slice\n", "0::system.slice\n", "0::/\n", "0::\n", "0", ""] {
        let pid = host.process(43, way_out);
        let mut cgroups = host.cgroups();
        assert_eq!(path(cgroups.name(ssh, pid)).as_deref(), Some("/system.slice/ssh.service"), "{way_out}");
    }
}

#[test]
fn a_walk_finds_all_and_they_outlive_their_directories() {
    let host = Host::new();
    let docker = host.make(&format!("system.slice/docker-{ID}.scope"));
    let deep = host.make("a/b/c/d/e");
    let other = host.make("a/b/other");
    fs::write(host.mount().join("a/cgroup.procs"), "").expect("can be written");
    let mut cgroups = host.cgroups();
    assert_eq!(path(cgroups.name(deep, None)).as_deref(), Some("/a/b/c/d/e"));
    host.remove("a/b/other");
    host.remove("a/b/c/d/e");
    assert_eq!(path(cgroups.name(other, None)).as_deref(), Some("/a/b/other"), "it was seen on the way");
    assert_eq!(path(cgroups.name(deep, None)).as_deref(), Some("/a/b/c/d/e"));
    let container = cgroups.name(docker, None).and_then(|cgroup| cgroup.workload.container.clone());
    assert_eq!(container.and_then(|container| container.runtime), Some(Runtime::Docker));
    let root = cgroups.mount.as_ref().map(|mount| mount.id).expect("is mounted");
    assert_eq!(path(cgroups.name(root, None)).as_deref(), Some("/"));
}

#[test]
fn walks_are_rare_and_what_is_unknown_is_asked_for_again() {
    let host = Host::new();
    let early = host.make("early");
    let mut cgroups = host.cgroups();
    let begin = 10 * SECOND;
    assert!(cgroups.name_at(early, None, KtimeNs(begin)).is_some());
    let rest = cgroups.next_walk.0 - begin;
    assert!(rest >= CHEAP_REST_NS, "{rest}");

    let late = host.make("late");
    assert_eq!(cgroups.name_at(late, None, KtimeNs(begin + 1)), None, "no walk so soon");
    assert_eq!(cgroups.next_walk.0, begin + rest);
    assert!(cgroups.name_at(late, None, KtimeNs(begin + rest)).is_some(), "a walk is allowed again");

    let now = begin + SECOND;
    let gone = id(u64::MAX);
    assert_eq!(cgroups.name_at(gone, None, KtimeNs(now)), None);
    let walked = cgroups.next_walk;
    assert_eq!(cgroups.name_at(gone, None, KtimeNs(now + SECOND - 1)), None);
    assert_eq!(cgroups.next_walk, walked, "it is known to be unknown");
    assert_eq!(cgroups.name_at(gone, None, KtimeNs(now + SECOND)), None);
    assert_ne!(cgroups.next_walk, walked);
}

#[test]
fn memory_is_bounded() {
    let host = Host::new();
    let mut cgroups = host.cgroups();
    let cgroup = Arc::new(Cgroup::at(b"/x"));
    let used = id(1_000_000);
    cgroups.remember(used, &cgroup);
    for number in 0..MAX_KNOWN as u64 {
        cgroups.remember(id(2_000_000 + number), &cgroup);
        cgroups.name_at(used, None, KtimeNs(0));
    }
    assert_eq!(cgroups.known.len(), MAX_KNOWN);
    assert!(cgroups.known.contains_key(&used) && !cgroups.known.contains_key(&id(2_000_000)));
    cgroups.next_walk = KtimeNs(u64::MAX);
    for number in 0..2 * MAX_GUESSES as u64 {
        assert_eq!(cgroups.name_at(id(3_000_000 + number), None, KtimeNs(0)), None);
    }
    assert_eq!(cgroups.guesses.len(), MAX_GUESSES);
    let long = ["n"; 600].join("/");
    let deep = host.make(&long);
    let mut cgroups = host.cgroups();
    assert_eq!(cgroups.name(deep, None), None, "too deep for a walk");
    let pid = host.process(7, &format!("0::/{long}\n"));
    assert!(cgroups.name(deep, pid).is_some(), "a process leads to it");
}

#[test]
fn a_removed_cgroup_has_the_name_that_its_last_process_tells() {
    let host = Host::new();
    let mut cgroups = host.cgroups();
    let pid = host.process(42, "0::/system.slice/job.service (deleted)\n");
    // A living one can be called so.
    let living = host.make("system.slice/job.service (deleted)");
    assert_eq!(path(cgroups.name(living, pid)).as_deref(), Some("/system.slice/job.service (deleted)"));
    let dead = id(u64::MAX);
    assert_eq!(path(cgroups.name(dead, pid)).as_deref(), Some("/system.slice/job.service"));
    assert_eq!(path(cgroups.name(dead, None)), None, "it is not taken for proven");
    // A service of that name has been started again.
    let again = host.make("system.slice/job.service");
    cgroups.next_walk = KtimeNs(0);
    assert_eq!(path(cgroups.name(again, None)).as_deref(), Some("/system.slice/job.service"));
}

#[test]
fn v1_alone_has_names_by_process() {
    let host = Host::new();
    let mut cgroups = host.cgroups_of_v1();
    let lines = "3:cpu,cpuacct:/docker/x\n2:pids:/docker/y\n1:name=systemd:/\n";
    let pid = host.process(42, lines);
    let other = host.process(43, "2:freezer:/f\n1:name=systemd:/user.slice\n");
    let root = id(1);
    assert_eq!(path(cgroups.name_at(root, pid, KtimeNs(0))).as_deref(), Some("/docker/y"));
    assert_eq!(path(cgroups.name_at(root, other, KtimeNs(0))).as_deref(), Some("/user.slice"));
    assert_eq!(cgroups.name_at(root, None, KtimeNs(0)), None);
    host.process(42, "2:pids:/docker/z\n");
    assert_eq!(path(cgroups.name_at(root, pid, KtimeNs(1))).as_deref(), Some("/docker/y"));
    assert_eq!(path(cgroups.name_at(root, pid, KtimeNs(SECOND))).as_deref(), Some("/docker/z"));
    host.end(42);
    assert_eq!(path(cgroups.name_at(root, pid, KtimeNs(3 * SECOND))).as_deref(), Some("/docker/z"));
    assert!(matches!(cgroups.id_of(Path::new("/x")), Err(CgroupError::NoHierarchy { .. })));
    assert_eq!(cgroups.is_within(root, Path::new("/x")), None);
}

#[test]
fn on_a_hybrid_host_v1_tells_more_than_the_root_of_v2() {
    let host = Host::new();
    let child = host.make("system.slice");
    let mut cgroups = host.cgroups_of(b"/", true);
    let root = cgroups.mount.as_ref().map(|mount| mount.id).expect("is mounted");
    let pid = host.process(42, "1:name=systemd:/docker/y\n0::/\n");
    assert_eq!(path(cgroups.name(root, pid)).as_deref(), Some("/docker/y"));
    assert_eq!(path(cgroups.name(root, None)).as_deref(), Some("/"));
    assert_eq!(path(cgroups.name(root, NonZeroU32::new(43))).as_deref(), Some("/"), "no such process");
    assert_eq!(path(cgroups.name(child, pid)).as_deref(), Some("/system.slice"));
    let mut pure = host.cgroups();
    assert_eq!(path(pure.name(root, pid)).as_deref(), Some("/"));
}

#[test]
fn a_part_of_the_hierarchy_has_paths_from_its_root() {
    let host = Host::new();
    let inner = host.make("web");
    let mut cgroups = host.cgroups_of(b"/lxc.payload.a", false);
    let pid = host.process(42, "0::/lxc.payload.a/web\n");
    assert_eq!(path(cgroups.name(inner, pid)).as_deref(), Some("/lxc.payload.a/web"));
    assert_eq!(cgroups.next_walk, KtimeNs(0));
    assert_eq!(cgroups.is_within(inner, Path::new("web")), Some(true));
    let root = cgroups.mount.as_ref().map(|mount| mount.id).expect("is mounted");
    assert_eq!(path(cgroups.name(root, None)).as_deref(), Some("/lxc.payload.a"));
    assert_eq!(path(host.cgroups_of(b"/lxc.payload.a", false).name(inner, None)).as_deref(), {
        Some("/lxc.payload.a/web")
    });
    // Our own cgroup namespace is inside of what is mounted.
    let mut outer = host.cgroups_of(b"/../..", false);
    assert_eq!(path(outer.name(inner, None)).as_deref(), Some("/web"));
    // A process outside of our cgroup namespace, in a cgroup that is not mounted here.
    let outside = host.process(43, "0::/../../system.slice/nginx.service\n");
    let mut cgroups = host.cgroups();
    assert_eq!(path(cgroups.name(id(u64::MAX), outside)).as_deref(), Some("/system.slice/nginx.service"));
}

#[test]
fn a_person_names_a_cgroup_in_three_ways() {
    let host = Host::new();
    let nginx = host.make("system.slice/nginx.service");
    fs::write(host.mount().join("cgroup.procs"), "").expect("can be written");
    let mut cgroups = host.cgroups();
    let absolute = host.mount().join("system.slice/nginx.service/");
    let words = [absolute.as_path(), Path::new("/system.slice/nginx.service")];
    for word in words.into_iter().chain([Path::new("system.slice/./nginx.service")]) {
        assert_eq!(cgroups.id_of(word).expect("is there"), nginx, "{}", word.display());
        assert_eq!(cgroups.is_within(nginx, word), Some(true));
    }
    for (ancestor, is_within) in
        [("/", true), ("system.slice", true), ("/system", false), ("/system.slice/nginx.service/x", false)]
    {
        assert_eq!(cgroups.is_within(nginx, Path::new(ancestor)), Some(is_within), "{ancestor}");
    }
    assert_eq!(cgroups.is_within(id(u64::MAX), Path::new("/")), None);
    let root = cgroups.mount.as_ref().map(|mount| mount.id).expect("is mounted");
    assert_eq!(cgroups.id_of(Path::new("/")).expect("is there"), root);
    assert_eq!(cgroups.id_of(&host.mount()).expect("is there"), root);
    for word in ["", "nginx", "/etc/passwd", "../proc", "cgroup.procs", "system.slice/../..", "a\0b"] {
        let error = cgroups.id_of(Path::new(word)).expect_err("is none").to_string();
        assert!(error.starts_with(&format!("`{word}` is no cgroup (")), "{error}");
        assert!(error.contains("accepted are") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn mounts_are_found_in_mountinfo() {
    let text = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
        40 31 0:37 /docker/x /mnt/a\\040b rw shared:3 master:4 - cgroup2 cgroup2 rw\n\
        43 31 0:37 /../.. /outer rw - cgroup2 cgroup2 rw\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
        42 31 x:38 / /broken rw - cgroup2 cgroup2 rw\n42 31\n\n";
    let mounted = |dev, root: &str, dir: &str| Mounted { dev, root: root.into(), dir: dir.into() };
    let expected = vec![
        mounted((0, 38), "/", "/sys/fs/cgroup/unified"),
        mounted((0, 37), "/docker/x", "/mnt/a b"),
        mounted((0, 37), "/../..", "/outer"),
    ];
    assert_eq!(hierarchies(text), (expected, true));
    assert_eq!(hierarchies(b""), (vec![], false));
    assert_eq!(unescape(br"\134\0\777\"), br"\\0\777\");
}

/// A cgroup and a process, which a test lets go of at its end.
struct Temporary {
    dir: PathBuf,
    process: Option<std::process::Child>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir(self.dir.join("inner"));
        // The kernel can need a moment to see that nobody is in it.
        for _ in 0..100 {
            match fs::remove_dir(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                _ => break,
            }
        }
    }
}

#[test]
fn a_real_cgroup_keeps_its_name() {
    let mut cgroups = Cgroups::new();
    let name = format!("tcptrace-test-{}", std::process::id());
    let Some(mount) = cgroups.mount().map(Path::to_owned) else {
        eprintln!("SKIPPED: no cgroup2 hierarchy is mounted");
        return;
    };
    if let Err(error) = fs::create_dir(mount.join(&name)) {
        eprintln!("SKIPPED: no cgroup can be made in {} ({error})", mount.display());
        return;
    }
    let mut outer = Temporary { dir: mount.join(&name), process: None };
    fs::create_dir(outer.dir.join("inner")).expect("can be made");
    let id = cgroups.id_of(&outer.dir).expect("is there");
    let inner = cgroups.id_of(Path::new(&format!("{name}/inner"))).expect("is there");

    let process = std::process::Command::new("sleep").arg("60").spawn().expect("can be started");
    let pid = process.id();
    outer.process = Some(process);
    fs::write(outer.dir.join("cgroup.procs"), pid.to_string()).expect("can be moved");
    let mut others = Cgroups::new();
    let by_process = others.name(id, NonZeroU32::new(pid));
    assert_eq!(others.next_walk, KtimeNs(0), "nobody has walked");

    let found = cgroups.name(id, None).expect("a walk finds it");
    assert!(found.path.ends_with(&format!("/{name}")), "{}", found.path);
    assert_eq!(by_process.as_ref(), Some(&found));
    drop(outer);
    assert!(cgroups.id_of(Path::new(&name)).is_err(), "it is gone");
    assert_eq!(cgroups.name(id, None), Some(found));
    let gone = cgroups.name(inner, None).expect("was seen");
    assert!(gone.path.ends_with(&format!("/{name}/inner")), "{}", gone.path);
    assert_eq!(cgroups.is_within(inner, Path::new(&name)), Some(true));
    assert_eq!(cgroups.is_within(id, &mount.join(name).join("inner")), Some(false));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Membership::parse(&bytes);
        let _ = Membership::parse(&[b"0::/", &bytes[..], b"\n1:pids:/../.. (deleted)\n"].concat());
        let _ = hierarchies(&bytes);
        let _ = hierarchies(&[b"1 2 0:3 /\\", &bytes[..], b" /x rw - cgroup2 c rw"].concat());
        let _ = outside_and_gone(&[b"/../../", &bytes[..], b" (deleted)"].concat());
        let _ = Cgroup::at(&bytes).is_within("a/");
        prop_assert!(unescape(&bytes).len() <= bytes.len());
    }
}
