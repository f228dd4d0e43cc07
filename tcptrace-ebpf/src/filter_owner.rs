//! Whose sockets are asked for. That is known in the owner's own system calls alone: what is decided there is remembered
//! for the socket, by its cookie. Of a socket whose owner has not been seen everything passes.

use aya_ebpf::{
    Global,
    helpers::generated::bpf_get_current_ancestor_cgroup_id,
    macros::{btf_tracepoint, map},
    maps::{HashMap, LruHashMap},
    programs::BtfTracePointContext,
};
use tcptrace_common::{KIND_FORK, RawRecord, filter::ONLY_CHILDREN, known, tcp_state};

use crate::{
    emit,
    task::{Task, of_task},
};

/// 1: only some processes, see [`PROCESSES`].
#[unsafe(no_mangle)]
static FILTER_PROCESSES: Global<u8> = Global::new(0);

/// 1: only some names.
#[unsafe(no_mangle)]
static FILTER_COMMS: Global<u8> = Global::new(0);

/// The id of a cgroup, or 0 for all.
#[unsafe(no_mangle)]
static FILTER_CGROUP: Global<u64> = Global::new(0);

/// How far below the root that cgroup is.
#[unsafe(no_mangle)]
static FILTER_CGROUP_LEVEL: Global<u32> = Global::new(0);

/// Processes and their start (0: not known); the children that they make are added. [`ONLY_CHILDREN`] for one that is not
/// asked for itself.
#[map]
static PROCESSES: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1, 0);

#[map]
static COMMS: HashMap<[u64; 2], u8> = HashMap::with_max_entries(1, 0);

/// Cookies of sockets whose owners are not asked for.
#[map]
static UNWANTED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1, 0);

#[inline(always)]
pub(crate) fn is_on() -> bool {
    FILTER_PROCESSES.load() != 0 || FILTER_COMMS.load() != 0 || FILTER_CGROUP.load() != 0
}

/// Whether a record of a socket is asked for that nobody is known to have owned, or whose owner was wanted.
#[inline(always)]
pub(crate) fn wants_socket(cookie: u64) -> bool {
    // SAFETY: the value is not looked at.
    !is_on() || unsafe { UNWANTED.get(cookie) }.is_none()
}

/// Whether a record of a socket is asked for that the current task owns, and remembers what was decided.
///
/// What user space has heard of before must not end without a word: the record by which the socket gets an owner that is
/// not asked for passes, unless it is the first one.
#[inline(never)]
pub(crate) fn wants_owned(cookie: u64, task: &Task, is_birth: bool) -> bool {
    let was_wanted = wants_socket(cookie);
    if is_wanted(task) {
        if !was_wanted {
            let _ = UNWANTED.remove(cookie);
        }
        return true;
    }
    if was_wanted {
        let _ = UNWANTED.insert(cookie, 1, 0);
    }
    was_wanted && !is_birth
}

/// Whether a transition is the first one of a socket, and made by its owner.
#[inline(always)]
pub(crate) fn is_birth(old: u8, new: u8) -> bool {
    old == tcp_state::CLOSE && new == tcp_state::SYN_SENT
}

#[inline(always)]
fn is_wanted(task: &Task) -> bool {
    if FILTER_PROCESSES.load() != 0 {
        // SAFETY: the value is copied at once; another processor may replace it, whole.
        let Some(start) = (unsafe { PROCESSES.get((task.pid_tgid >> 32) as u32) }).copied() else {
            return false;
        };
        // Another process may have the number by now.
        let is_same = start == 0 || task.start_ns == 0 || start == task.start_ns / NS_PER_TICK;
        if start == ONLY_CHILDREN || !is_same {
            return false;
        }
    }
    // SAFETY: the value is not looked at.
    if FILTER_COMMS.load() != 0 && unsafe { COMMS.get(task.comm) }.is_none() {
        return false;
    }
    let cgroup = FILTER_CGROUP.load();
    // SAFETY: the helper takes a number and cannot fail; it returns 0 where there is no such ancestor.
    cgroup == 0
        || unsafe { bpf_get_current_ancestor_cgroup_id(FILTER_CGROUP_LEVEL.load().cast_signed()) } == cgroup
}

/// `USER_HZ` is 100.
const NS_PER_TICK: u64 = 10_000_000;

/// `sched:sched_process_fork`: a process that is asked for makes another one.
///
/// Kernel prototype (include/trace/events/sched.h): `TP_PROTO(struct task_struct *parent, struct task_struct *child)`, called
/// by `kernel_clone` before the child runs.
#[btf_tracepoint(function = "sched_process_fork")]
fn fork_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: both arguments of this tracepoint are `struct task_struct *`, see the prototype above.
    let parent = unsafe { of_task(ctx.arg(0)) };
    // SAFETY: as above.
    let child = unsafe { of_task(ctx.arg(1)) };
    // A thread is no process.
    // SAFETY: the value is not looked at.
    if child.is_thread() || unsafe { PROCESSES.get(parent.tgid) }.is_none() {
        return 0;
    }
    let ticks = child.start_ns / NS_PER_TICK;
    let _ = PROCESSES.insert(child.tgid, ticks, 0);
    emit::record(&RawRecord {
        ts_ns: emit::now_ns(),
        cookie: 0,
        sk: u64::from(child.tgid),
        pid_tgid: u64::from(parent.tgid) << 32,
        comm: [0; 2],
        start_ns: child.start_ns,
        cgroup: 0,
        laddr: [0; 4],
        raddr: [0; 4],
        netns: 0,
        uid: 0,
        lport: 0,
        rport: 0,
        family: 0,
        protocol: 0,
        sk_err: 0,
        kind: KIND_FORK,
        old_state: 0,
        new_state: 0,
        known: known::TASK,
        flags: 0,
        detail: 0,
    });
    0
}
