//! Who owns the connections: processes, their cgroups and network namespaces, and what the host says of them.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
    sync::Arc,
};

use crate::model::{
    Cgroup, Comm, Family, KtimeNs, NetnsName, ProcessStart, Task,
    findings::host::{Counters, Descriptors, Host, Settings},
};

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Nginx,
    Api,
    Postgres,
    Redis,
    Sshd,
    Orders,
    Crawler,
    Prometheus,
    Ledger,
}

/// What there is to know of a program.
struct Part {
    who: Who,
    comm: &'static str,
    pid: u32,
    /// Processes with consecutive ids.
    processes: u32,
    uid: u32,
    /// Where it is in [`NAMESPACES`].
    netns: usize,
    cgroup: &'static str,
    addr: [u8; 4],
    family: Family,
    /// Where it listens.
    port: Option<u16>,
    /// Descriptors that are no connections of these scenes.
    descriptors: u64,
    limit: u64,
}

const HOST: usize = 0;

/// Inodes and names.
const NAMESPACES: [(u32, &str, bool); 4] = [
    (4_026_531_840, "host", true),
    (4_026_532_691, "pid 1841 (nginx)", false),
    (4_026_532_774, "pid 2210 (api)", false),
    (4_026_532_857, "shop", true),
];

const PARTS: [Part; 9] = [
    Part {
        who: Who::Nginx,
        comm: "nginx",
        pid: 1841,
        processes: 4,
        uid: 101,
        netns: 1,
        cgroup: "/system.slice/docker-5d1f0c2b7a94e3861f20b9d4c87e6a5530c41f7e98d2b6a1304e5f7c8b9a0d12.scope",
        addr: [172, 18, 0, 2],
        family: Family::V6,
        port: Some(443),
        descriptors: 160,
        limit: 1_048_576,
    },
    Part {
        who: Who::Api,
        comm: "api",
        pid: 2210,
        processes: 1,
        uid: 1000,
        netns: 2,
        cgroup: "/system.slice/docker-9be3a1744f6c0d2258b1e7f390ac46d1e85b02c7f3649ad81b5e0f2c7d834e6a.scope",
        addr: [172, 18, 0, 3],
        family: Family::V4,
        port: Some(8080),
        descriptors: 90,
        limit: 1_048_576,
    },
    Part {
        who: Who::Postgres,
        comm: "postgres",
        pid: 903,
        processes: 1,
        uid: 114,
        netns: HOST,
        cgroup: "/system.slice/system-postgresql.slice/postgresql@16-main.service",
        addr: [10, 0, 0, 5],
        family: Family::V4,
        port: Some(5432),
        descriptors: 210,
        limit: 524_288,
    },
    Part {
        who: Who::Redis,
        comm: "redis-server",
        pid: 760,
        processes: 1,
        uid: 113,
        netns: HOST,
        cgroup: "/system.slice/redis-server.service",
        addr: [10, 0, 0, 5],
        family: Family::V4,
        port: Some(6379),
        descriptors: 30,
        limit: 65_535,
    },
    Part {
        who: Who::Sshd,
        comm: "sshd",
        pid: 801,
        processes: 1,
        uid: 0,
        netns: HOST,
        cgroup: "/system.slice/ssh.service",
        addr: [10, 0, 0, 5],
        family: Family::V6,
        port: Some(22),
        descriptors: 12,
        limit: 524_288,
    },
    Part {
        who: Who::Orders,
        comm: "java",
        pid: 3120,
        processes: 1,
        uid: 1001,
        netns: 3,
        cgroup: "/kubepods.slice/kubepods-burstable.slice/\
                 kubepods-burstable-pod7c9d1e52_3b0a_4f7e_9c21_0d6b8a4f5e13.slice/\
                 cri-containerd-c41f7e98d2b6a1304e5f7c8b9a0d125d1f0c2b7a94e3861f20b9d4c87e6a5530.scope",
        addr: [10, 244, 1, 17],
        family: Family::V4,
        port: None,
        descriptors: 780,
        limit: 1024,
    },
    Part {
        who: Who::Crawler,
        comm: "crawler",
        pid: 4022,
        processes: 1,
        uid: 1002,
        netns: HOST,
        cgroup: "/user.slice/user-1002.slice/session-7.scope",
        addr: [10, 0, 0, 5],
        family: Family::V4,
        port: None,
        descriptors: 24,
        limit: 1024,
    },
    Part {
        who: Who::Prometheus,
        comm: "prometheus",
        pid: 1502,
        processes: 1,
        uid: 115,
        netns: HOST,
        cgroup: "/system.slice/prometheus.service",
        addr: [10, 0, 0, 5],
        family: Family::V4,
        port: None,
        descriptors: 340,
        limit: 8192,
    },
    Part {
        who: Who::Ledger,
        comm: "ledger",
        pid: 5150,
        processes: 1,
        uid: 1003,
        netns: HOST,
        cgroup: "/system.slice/ledger.service",
        addr: [10, 0, 0, 5],
        family: Family::V4,
        port: None,
        descriptors: 40,
        limit: 1024,
    },
];

/// A process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pub(super) who: Who,
    pub(super) task: Task,
    pub(super) uid: u32,
    pub(super) netns: NonZeroU32,
    pub(super) addr: IpAddr,
    pub(super) family: Family,
    pub(super) port: Option<NonZeroU16>,
    descriptors: u64,
    limit: u64,
    /// It has ended.
    is_over: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Cast {
    /// Those that have ended are kept: their last acts refer to them.
    processes: Vec<Process>,
}

impl Cast {
    /// As it is at first.
    pub(super) fn new() -> Self {
        let processes = PARTS.iter().enumerate().flat_map(|(number, part)| {
            (part.pid..part.pid + part.processes).filter_map(move |pid| process(part, number, pid))
        });
        Self { processes: processes.collect() }
    }

    /// Those of a program that live, by their places.
    pub(super) fn places(&self, who: Who) -> impl Iterator<Item = u16> {
        let living = self.living().filter(move |(_, process)| process.who == who);
        living.map(|(place, _)| place)
    }

    fn living(&self) -> impl Iterator<Item = (u16, &Process)> {
        (0..).zip(&self.processes).filter(|(_, process)| !process.is_over)
    }

    /// The process at a place.
    pub(super) fn at(&self, place: u16) -> Option<&Process> {
        self.processes.get(usize::from(place))
    }

    /// Whoever listens, each once.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Process> {
        let mut before = None;
        self.processes
            .iter()
            .filter(move |process| process.port.is_some() && before.replace(process.who) != Some(process.who))
    }

    /// A program of one process is started again: another process, with the place of the new one.
    pub(super) fn restart(&mut self, who: Who, at: KtimeNs) -> Option<u16> {
        let place = self.places(who).last()?;
        let before = *self.at(place)?;
        let pid = before.task.pid.checked_add(211)?;
        let task = Task { pid, tid: pid, started: ProcessStart::from_ns(at.0), ..before.task };
        self.processes.get_mut(usize::from(place))?.is_over = true;
        self.processes.push(Process { task, ..before });
        u16::try_from(self.processes.len() - 1).ok()
    }

    /// What a look at the host shows besides connections; `leaked` are descriptors that orders has not closed.
    pub(super) fn host(&self, now: KtimeNs, leaked: u64) -> Host {
        let settings = Settings {
            local_ports: Some((32_768, 60_999)),
            reserved_ports: 0,
            max_time_wait: Some(262_144),
            reuses_time_wait: Some(2),
            fin_timeout_s: Some(60),
            keepalive_time_s: Some(7200),
            keepalive_interval_s: Some(75),
            keepalive_probes: Some(9),
        };
        let namespaces = || NAMESPACES.iter().filter_map(|(inode, ..)| NonZeroU32::new(*inode));
        let processes = self.living().map(|(_, process)| {
            let leaked = if process.who == Who::Orders { leaked } else { 0 };
            Descriptors {
                task: process.task,
                open: process.descriptors + leaked,
                // Most of the others are files.
                sockets: process.descriptors / 20 + leaked,
                limit: Some(process.limit),
            }
        });
        Host {
            read: Some(now),
            settings: namespaces().map(|netns| (netns, settings)).collect(),
            counters: namespaces().map(|netns| (netns, Counters::default())).collect(),
            processes: processes.collect(),
            ..Host::default()
        }
    }
}

fn process(part: &Part, number: usize, pid: u32) -> Option<Process> {
    let pid = NonZeroU32::new(pid)?;
    Some(Process {
        who: part.who,
        task: Task {
            pid,
            tid: pid,
            comm: Comm::from(part.comm),
            started: ProcessStart::from_ticks(4_000 + u64::from(pid.get())),
            cgroup: cgroup_id(number),
        },
        uid: part.uid,
        netns: NonZeroU32::new(NAMESPACES.get(part.netns)?.0)?,
        addr: IpAddr::V4(Ipv4Addr::from(part.addr)),
        family: part.family,
        port: part.port.and_then(NonZeroU16::new),
        descriptors: part.descriptors,
        limit: part.limit,
        is_over: false,
    })
}

fn cgroup_id(number: usize) -> Option<NonZeroU64> {
    NonZeroU64::new(2_000 + 37 * number as u64)
}

/// The cgroups by their ids.
pub fn cgroups() -> impl Iterator<Item = (NonZeroU64, Cgroup)> {
    let parts = PARTS.iter().enumerate();
    parts.filter_map(|(number, part)| Some((cgroup_id(number)?, Cgroup::at(part.cgroup.as_bytes()))))
}

/// Names of the network namespaces by their inodes.
pub fn namespaces() -> impl Iterator<Item = (NonZeroU32, NetnsName)> {
    NAMESPACES.iter().filter_map(|(inode, text, is_given)| {
        Some((NonZeroU32::new(*inode)?, NetnsName { text: Arc::from(*text), is_given: *is_given }))
    })
}
