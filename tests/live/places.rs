//! Where a socket is: network namespaces and cgroups, by name.

use std::{
    fs,
    net::SocketAddr,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    capture::{Capture, Row, table},
    harness::Tracer,
    machine::pause,
    netns::{self, ip, unique_port},
    worker::Worker,
};

/// A network namespace with a name. Taken away when dropped.
struct Named {
    name: String,
    inode: u64,
}

impl Named {
    fn new(which: &str) -> Result<Self> {
        let name = format!("tcptrace-test-{}-{which}", std::process::id());
        ip(&format!("netns add {name}"))?;
        let inode = fs::metadata(Path::new("/run/netns").join(&name))?.ino();
        Ok(Self { name, inode })
    }

    /// Starts a worker in it.
    fn worker(&self, name: &str) -> Result<Worker> {
        let file = fs::File::open(Path::new("/run/netns").join(&self.name))?;
        thread::scope(|scope| {
            let started = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).context("setns")?;
                Worker::start(name)
            });
            started.join().map_err(|_| anyhow!("the thread panicked"))?
        })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// One connection over a virtual cable: a row for each end, each with its own namespace and owner.
pub(crate) fn two_namespaces() -> Result<()> {
    let (left, right) = (Named::new("left")?, Named::new("right")?);
    let cable = format!("link add cable netns {} type veth peer name cable netns {}", left.name, right.name);
    ip(&cable)?;
    for (side, addr) in [(&left, "192.0.2.1/24"), (&right, "192.0.2.2/24")] {
        ip(&format!("-n {} addr add {addr} dev cable", side.name))?;
        ip(&format!("-n {} link set cable up", side.name))?;
    }
    let addr = SocketAddr::from(([192, 0, 2, 2], unique_port()));
    let (mut client, mut server) = (left.worker("left-client")?, right.worker("right-server")?);
    let (of_client, of_server) = (client.pid(), server.pid());
    let scene = |client: &mut Worker, server: &mut Worker| -> Result<()> {
        server.order(&format!("listen {addr}"))?;
        client.order(&format!("connect {addr}"))?;
        server.order("accept")?;
        client.order("close")?;
        server.order("wait")?;
        server.order("close")?;
        server.order("stop")
    };
    let is_left = |row: &Row| row.netns == Some(left.inode);
    let is_right = |row: &Row| row.netns == Some(right.inode);
    let path = format!("/run/netns/{}", right.name);
    let inode = format!("inode:{}", left.inode);
    let by_pid = format!("pid:{of_server}");
    let both = format!("{},{}", left.name, right.inode);
    for (args, wants_left, wants_right) in [
        (vec![], true, true),
        (vec!["-N", &left.name], true, false),
        (vec!["--netns", &path], false, true),
        (vec!["-N", &inode], true, false),
        (vec!["-N", &by_pid], false, true),
        (vec!["-N", &both], true, true),
    ] {
        let tracer = Tracer::start(&args)?;
        scene(&mut client, &mut server)?;
        thread::sleep(pause(Duration::from_millis(100)));
        let capture = tracer.stop()?;
        if !args.is_empty() {
            let strange = capture.select(|row| !(wants_left && is_left(row) || wants_right && is_right(row)));
            ensure!(strange.is_empty(), "{args:?} shows\n{}", table(strange));
        }
        for (is_here, wanted, owner, name, count) in [
            (&is_left as &dyn Fn(&Row) -> bool, wants_left, of_client, &left.name, 5),
            (&is_right, wants_right, of_server, &right.name, 7),
        ] {
            let rows = capture.select(is_here);
            ensure!(rows.len() == if wanted { count } else { 0 }, "{args:?}:\n{}", table(&capture.rows));
            for row in rows {
                ensure!(row.pid == Some(owner), "not of {owner}: {row}");
                ensure!(row.netns_name.as_ref() == Some(name), "{:?} instead of {name}", row.netns_name);
            }
        }
    }
    Ok(())
}

/// A cgroup of the test's own in the v2 hierarchy. Taken away when dropped.
pub(crate) struct OwnCgroup {
    dir: PathBuf,
    /// From the root of the hierarchy.
    pub(crate) path: String,
}

impl OwnCgroup {
    /// `None` where this machine has no such hierarchy, or none that can be written.
    pub(crate) fn new(path: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
        let path = format!("/tcptrace-test-{}/{path}", std::process::id());
        let dir = Path::new(mount).join(path.trim_start_matches('/'));
        fs::create_dir_all(&dir).ok()?;
        Some(Self { dir, path })
    }

    pub(crate) fn take(&self, process: u32) -> Result<()> {
        fs::write(self.dir.join("cgroup.procs"), process.to_string()).context("cgroup.procs")
    }

    fn remove(&self) {
        let _ = fs::remove_dir(&self.dir);
        let _ = self.dir.parent().map(fs::remove_dir);
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

const CONTAINER: &str = "3f4e5d6c7b8a99887766554433221100ffeeddccbbaa00112233445566778899";

/// A connection of a process in a cgroup is named by it, also when the cgroup has gone, and selected by it.
pub(crate) fn cgroups() -> Result<()> {
    let Some(cgroup) = OwnCgroup::new(&format!("docker-{CONTAINER}.scope")) else {
        eprintln!("SKIPPED: places::cgroups: no cgroup2 hierarchy that can be written");
        return Ok(());
    };
    let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    let parent = Path::new(&cgroup.path).parent().context("a parent")?.display().to_string();
    let tracers = [
        Tracer::start(&["--lifecycle", "auto"])?,
        Tracer::start(&["--lifecycle", "auto", "--cgroup", &cgroup.path])?,
        Tracer::start(&["--lifecycle", "auto", "--cgroup", &parent])?,
    ];
    let (inode, of_client, of_server) = netns::run(|netns| {
        let (mut client, mut server) = (Worker::start("in-cgroup")?, Worker::start("elsewhere")?);
        cgroup.take(client.pid())?;
        let pids = (netns.inode, client.pid(), server.pid());
        server.order(&format!("listen {addr}"))?;
        client.order(&format!("connect {addr}"))?;
        server.order("accept")?;
        client.order("close")?;
        server.order("wait")?;
        // The client's process and its cgroup go; the connection is in FIN_WAIT2.
        client.kill()?;
        thread::sleep(pause(Duration::from_millis(100)));
        cgroup.remove();
        ensure!(!cgroup.dir.exists(), "the cgroup is still there");
        server.order("close")?;
        server.order("stop")?;
        thread::sleep(pause(Duration::from_millis(800)));
        Ok(pids)
    })?;
    let captures = tracers.into_iter().map(Tracer::stop).collect::<Result<Vec<Capture>>>()?;
    for capture in &captures {
        let rows = capture.select(|row| row.netns == Some(inode) && row.pid == Some(of_client));
        ensure!(rows.iter().any(|row| row.new == "TIME_WAIT"), "{}", table(&capture.rows));
        for row in rows {
            ensure!(row.cgroup.as_deref() == Some(&cgroup.path[..]), "{:?}: {row}", row.cgroup);
            ensure!(row.container.as_deref() == Some(CONTAINER), "{:?}: {row}", row.container);
        }
    }
    let of_others = |capture: &Capture| {
        let is_decided = |row: &&&Row| row.owner_is.as_deref() != Some("listener");
        let rows = capture.select(|row| row.netns == Some(inode) && row.pid == Some(of_server));
        rows.iter().filter(is_decided).count()
    };
    ensure!(of_others(&captures[0]) > 0, "the server is shown without a filter");
    for selected in &captures[1..] {
        ensure!(of_others(selected) == 0, "the server is not selected:\n{}", table(&selected.rows));
    }
    Ok(())
}

/// What leads nowhere is said before anything is attached.
pub(crate) fn unknown_places() -> Result<()> {
    for (flag, value, accepted) in
        [("-N", "no-such-name", "accepted are"), ("--cgroup", "/no/such/cgroup", "/no/such/cgroup")]
    {
        let output = Command::new(crate::harness::program())
            .args(["watch", flag, value, "--duration", "1s"])
            .output()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{stderr}");
        ensure!(
            stderr.contains(value) && stderr.contains(accepted) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
    Ok(())
}
