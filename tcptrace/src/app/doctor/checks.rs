//! What this host has, and what to do about what it has not.

use std::{io, path::Path};

use super::trials::{Obstacle, Trials};
use crate::{
    model::TcpState,
    output::doctor::{Check, Verdict},
    source::{
        cgroups::Cgroups,
        diag::{DiagClient, StateMask},
        live::{Host, Privilege, Tracefs},
    },
};

const MOUNT_TRACEFS: &str = "sudo mount -t tracefs tracefs /sys/kernel/tracing";

/// What the host's files and the trials tell, in the order in which things are needed.
pub(super) fn of(host: &Host, trials: &Trials) -> Vec<Check> {
    let mut checks = vec![kernel(host, trials)];
    checks.extend(capabilities(host));
    checks.extend([btf(host, trials), tracefs(host, trials), lockdown(host, trials), ring_buffer(trials)]);
    checks.extend([function_tracer(host), kallsyms(host)]);
    checks.extend(skipped_runs(trials));
    checks
}

/// What is used beside tracing, asked for now.
pub(super) fn beside() -> [Check; 2] {
    [sock_diag(), cgroups()]
}

/// tracefs was mounted by the trials, and stays.
pub(super) fn left_mounted(path: &Path, error: &io::Error) -> Check {
    let found =
        format!("mounted at {} by these trials; it could not be unmounted again ({error})", path.display());
    Check { todo: Some(format!("sudo umount {}", path.display())), ..note("tracefs left", found) }
}

fn check(name: &str, verdict: Verdict, found: impl Into<String>) -> Check {
    Check { name: name.to_owned(), verdict, found: Some(found.into()), todo: None }
}

fn ok(name: &str, found: impl Into<String>) -> Check {
    check(name, Verdict::Ok, found)
}

fn note(name: &str, found: impl Into<String>) -> Check {
    check(name, Verdict::Note, found)
}

/// What is in the way of `watch`.
fn obstacle(trials: &Trials) -> Option<Obstacle> {
    trials.asked.as_ref().err().map(|refusal| refusal.obstacle)
}

fn fail_or_note(trials: &Trials, this: Obstacle) -> Verdict {
    if obstacle(trials) == Some(this) { Verdict::Fail } else { Verdict::Note }
}

fn kernel(host: &Host, trials: &Trials) -> Check {
    let release = &host.release;
    if obstacle(trials) == Some(Obstacle::TooOld) {
        let todo = Some("Linux 5.8 or newer, or a vendor kernel with BPF ring buffers".to_owned());
        return Check { todo, ..check("kernel", Verdict::Fail, release) };
    }
    // What an older one of a vendor has, the trials have shown.
    let is_enough = host.is_new_enough || trials.asked.is_ok();
    check("kernel", if is_enough { Verdict::Ok } else { Verdict::Unknown }, release)
}

fn capabilities(host: &Host) -> Vec<Check> {
    let privileges = match &host.privileges {
        Ok(privileges) => privileges,
        Err(error) => return vec![check("capabilities", Verdict::Unknown, error)],
    };
    let (there, missing): (Vec<&Privilege>, Vec<&Privilege>) =
        privileges.iter().partition(|privilege| privilege.is_there);
    let names: Vec<String> = there.iter().map(|privilege| privilege.capability.to_string()).collect();
    let is_enough = missing.iter().all(|privilege| !privilege.is_needed);
    let verdict = if is_enough { Verdict::Ok } else { Verdict::Fail };
    let found = if names.is_empty() { "none that is of use".to_owned() } else { names.join(", ") };
    let todo = (!is_enough).then(|| {
        "run it with sudo, or give the binary the capabilities: sudo setcap cap_bpf,cap_perfmon=ep \
         $(command -v tcptrace)"
            .to_owned()
    });
    let all = Check { todo, ..check("capabilities", verdict, found) };
    let missing = missing.into_iter().map(|Privilege { capability, purpose, is_needed, .. }| {
        let verdict = if *is_needed { Verdict::Fail } else { Verdict::Note };
        let of_use = if *is_needed { "needed" } else { "of use" };
        check(&capability.to_string(), verdict, format!("missing; {of_use} {purpose}"))
    });
    std::iter::once(all).chain(missing).collect()
}

fn btf(host: &Host, trials: &Trials) -> Check {
    match &host.btf {
        Ok(members) => {
            let path = Host::BTF;
            ok("BTF", format!("{path} has the {members} members that are read at a change of state"))
        }
        Err(problem) => Check {
            todo: Some(
                "a kernel with CONFIG_DEBUG_INFO_BTF; without it, the classic tracepoint, which knows fewer fields"
                    .to_owned(),
            ),
            ..check("BTF", fail_or_note(trials, Obstacle::Btf), problem)
        },
    }
}

fn tracefs(host: &Host, trials: &Trials) -> Check {
    match &host.tracefs {
        Tracefs::At(path) => ok("tracefs", path.display().to_string()),
        Tracefs::Closed(path) => {
            check("tracefs", Verdict::Unknown, format!("{} may not be looked into", path.display()))
        }
        Tracefs::Nowhere => Check {
            todo: Some(format!(
                "`watch` mounts it itself where it needs it and may; by hand: {MOUNT_TRACEFS}"
            )),
            ..check("tracefs", fail_or_note(trials, Obstacle::Tracefs), "not mounted")
        },
    }
}

fn lockdown(host: &Host, trials: &Trials) -> Check {
    match &host.lockdown {
        Ok(mode) if mode == "confidentiality" => {
            let verdict = if trials.asked.is_ok() { Verdict::Note } else { Verdict::Fail };
            Check {
                todo: Some("boot without lockdown=confidentiality".to_owned()),
                ..check("lockdown", verdict, "confidentiality: BPF programs may not read kernel memory")
            }
        }
        Ok(mode) if mode == "integrity" => {
            ok("lockdown", "integrity, with which BPF programs may read kernel memory")
        }
        Ok(mode) => ok("lockdown", mode),
        Err(error) => Check {
            todo: (error.kind() == io::ErrorKind::NotFound).then(|| {
                "where the kernel has lockdown, this shows it: sudo mount -t securityfs securityfs \
                 /sys/kernel/security"
                    .to_owned()
            }),
            ..check("lockdown", Verdict::Unknown, format!("{} cannot be read ({error})", Host::LOCKDOWN))
        },
    }
}

fn ring_buffer(trials: &Trials) -> Check {
    const NAME: &str = "ring buffer";
    match &trials.asked {
        _ if trials.extras.is_some() => {
            ok(NAME, format!("{} can be had (--ring-size)", size(trials.ring_size)))
        }
        Err(refusal) if matches!(refusal.obstacle, Obstacle::Ring | Obstacle::TooOld) => {
            check(NAME, Verdict::Fail, &refusal.text)
        }
        _ => Check { found: None, ..check(NAME, Verdict::Unknown, "") },
    }
}

/// A power of two, at least a page.
fn size(bytes: u32) -> String {
    let kib = bytes / 1024;
    if kib.is_multiple_of(1024) { format!("{} MiB", kib / 1024) } else { format!("{kib} KiB") }
}

fn function_tracer(host: &Host) -> Check {
    const NAME: &str = "function tracer";
    match host.calls_functions {
        Some(true) => ok(NAME, "kernel.ftrace_enabled is 1"),
        Some(false) => Check {
            todo: Some("sudo sysctl kernel.ftrace_enabled=1".to_owned()),
            ..note(
                NAME,
                "kernel.ftrace_enabled is 0: the kernel calls no programs at functions (fentry, fexit)",
            )
        },
        None => Check {
            todo: Some("a kernel with CONFIG_FUNCTION_TRACER".to_owned()),
            ..note(NAME, "the kernel has none: no programs at functions (fentry, fexit)")
        },
    }
}

fn kallsyms(host: &Host) -> Check {
    const NAME: &str = "kallsyms";
    match &host.addresses {
        Ok(()) => ok(NAME, "/proc/kallsyms tells the addresses by which timers of sockets are known"),
        Err(reason) => Check { todo: Some(super::ladders::ADDRESSES.to_owned()), ..note(NAME, reason) },
    }
}

/// What lists sockets; it needs no privilege in our own network namespace.
fn sock_diag() -> Check {
    const NAME: &str = "sock_diag";
    let listed =
        DiagClient::own().and_then(|mut client| client.dump(StateMask::only(TcpState::Listen), false));
    match listed {
        Ok(_) => ok(NAME, "the kernel lists its sockets: what was open before the start is known"),
        Err(error) => Check {
            todo: Some(
                "without it, what was open before the start is not known, and nothing is healed".to_owned(),
            ),
            ..note(NAME, error.to_string())
        },
    }
}

fn cgroups() -> Check {
    const NAME: &str = "cgroup2";
    match Cgroups::new().mount() {
        Some(path) => ok(NAME, path.display().to_string()),
        None => Check {
            todo: Some("mount -t cgroup2 none DIRECTORY, for --cgroup and the names of cgroups".to_owned()),
            ..note(NAME, "not mounted")
        },
    }
}

/// Said only where it is missing.
fn skipped_runs(trials: &Trials) -> Option<Check> {
    let working = trials.asked.as_ref().ok()?;
    (!working.counts_skipped_runs).then(|| {
        let found =
            "runs of our programs that the kernel skips are not counted, so that a loss may go unseen";
        Check { todo: Some("Linux 5.12 or newer".to_owned()), ..note("skipped runs", found) }
    })
}
