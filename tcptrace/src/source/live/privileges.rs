//! The capabilities that tracing needs, and how they are given up.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use rustix::process::{Resource, Rlimit, getpriority_process, setpriority_process, setrlimit};

use super::error::OpenError;

/// Capability and what it is for.
const NEEDED: [(Capability, &str); 2] = [
    (Capability::CAP_BPF, "to load BPF programs and make their maps"),
    (Capability::CAP_PERFMON, "to attach to kernel tracepoints and read kernel memory"),
];

/// The same for those that tracing can be without.
const USEFUL: [(Capability, &str); 5] = [
    (Capability::CAP_SYSLOG, "to know the timers of time-wait and half-open sockets by /proc/kallsyms"),
    (Capability::CAP_SYS_ADMIN, "to read the sockets of other network namespaces, and to mount tracefs"),
    (Capability::CAP_SYS_PTRACE, "to find the network namespaces and the sockets of other users' processes"),
    (Capability::CAP_DAC_READ_SEARCH, "to look into /proc/PID/fd of other users' processes"),
    (Capability::CAP_SYS_NICE, "to let the thread that reads the ring go before others"),
];

/// A capability that is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// `CAP_BPF`
    pub capability: Capability,
    /// What it is for.
    pub purpose: &'static str,
    /// Without it there is no tracing.
    pub is_needed: bool,
    /// Whether the calling thread has it, or one that stands for it.
    pub is_there: bool,
}

/// All that are of use, the needed ones first.
pub(super) fn all() -> Result<Vec<Privilege>, CapsError> {
    let effective = caps::read(None, CapSet::Effective)?;
    let has = |capability| effective.contains(&capability);
    let privilege = |(capability, purpose), is_needed| Privilege {
        capability,
        purpose,
        is_needed,
        is_there: has(capability) || is_needed && has(Capability::CAP_SYS_ADMIN),
    };
    let needed = NEEDED.into_iter().map(|one| privilege(one, true));
    Ok(needed.chain(USEFUL.into_iter().map(|one| privilege(one, false))).collect())
}

/// Checks that the needed capabilities are effective. `CAP_SYS_ADMIN` stands for both.
pub(super) fn check() -> Result<(), OpenError> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if has(Capability::CAP_SYS_ADMIN) {
        return Ok(());
    }
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(capability, _)| !has(*capability))
        .map(|(capability, purpose)| format!("{capability} ({purpose})"))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(OpenError::Capabilities { what: missing.join(" and ") }) }
}

/// Before Linux 5.11 maps count against the limit on locked memory, which is low by default.
pub(super) fn raise_memlock() {
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!("the limit on locked memory stays as it is: {error}");
    }
}

/// Niceness of the thread that reads the ring. With both processors of a machine making connections as fast as they can, 0
/// loses half of what happens, -4 a tenth, -10 nothing (docs/PERFORMANCE.md); when there is little to read, it makes no
/// difference. auditd does the same (`priority_boost`).
const NICENESS: i32 = -10;

/// Lets the calling thread go before others, unless it was started with a niceness that somebody has chosen. Threads that are
/// there already stay as they are. Takes `CAP_SYS_NICE`.
pub(super) fn raise_priority() {
    match getpriority_process(None) {
        Ok(0) => {
            if let Err(error) = setpriority_process(None, NICENESS) {
                tracing::info!("the niceness stays 0: {error}");
            }
        }
        Ok(chosen) => tracing::info!("the niceness stays {chosen}"),
        Err(error) => tracing::debug!("the niceness cannot be read: {error}"),
    }
}

/// Gives up every capability for good, but for CAP_BPF where this kernel wants it for reading a map.
///
/// Until Linux 5.18 `bpf(2)` as a whole is closed to the unprivileged when `kernel.unprivileged_bpf_disabled` is
/// set; later ones let the holder of a descriptor go on. `can_read_maps` finds out.
///
/// Capabilities belong to threads: call it before any other thread is started.
pub(super) fn drop_all(can_read_maps: impl Fn() -> bool) -> Result<(), CapsError> {
    let is_bpf_permitted = caps::has_cap(None, CapSet::Permitted, Capability::CAP_BPF)?;
    // The bounding set keeps a child of root from getting them back; shrinking it needs CAP_SETPCAP itself.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Effective)?;
    let kept: CapsHashSet = is_bpf_permitted.then_some(Capability::CAP_BPF).into_iter().collect();
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)?;
    if can_read_maps() {
        caps::clear(None, CapSet::Permitted)?;
        tracing::info!("all capabilities dropped");
    } else if is_bpf_permitted {
        caps::set(None, CapSet::Effective, &kept)?;
        tracing::info!("all capabilities dropped but CAP_BPF: this kernel wants it for reading a map");
    }
    Ok(())
}
