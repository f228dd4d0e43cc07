//! The ways that the kernel offers: which one will be used, and what a better one would take.

use super::trials::{Trials, Tried};
use crate::{
    output::doctor::{Ladder, Step},
    source::live::{AcceptWay, Hook, HookChoice, Host, Way},
};

/// `kallsyms_show_value`, kernel/kallsyms.c.
pub(super) const ADDRESSES: &str =
    "CAP_SYSLOG and kernel.kptr_restrict 0 or 1 (sudo sysctl kernel.kptr_restrict=1)";

/// All ladders.
pub(super) fn of(host: &Host, trials: &Trials) -> Vec<Ladder> {
    vec![
        states(trials),
        lifecycles(host, trials),
        accepts(host, trials),
        resets(trials),
        held(trials),
        forks(trials),
    ]
}

/// A step, as it did when it was tried.
fn step(
    name: &'static str,
    is_used: bool,
    tried: &Tried,
    what: &str,
    needs: impl FnOnce() -> String,
) -> Step {
    let why_not = tried.as_ref().and_then(|tried| tried.as_ref().err().cloned());
    Step {
        name,
        used: is_used,
        works: tried.as_ref().map(Result::is_ok),
        what: what.to_owned(),
        needs: why_not.as_ref().map(|_| needs()),
        why_not,
    }
}

/// The last step: nothing is done, which always works.
fn off(what: &str) -> Step {
    step("off", true, &Some(Ok(())), what, String::new)
}

fn states(trials: &Trials) -> Ladder {
    let used = trials.asked.as_ref().ok().map(|working| working.hook);
    let steps = trials.hooks.iter().map(|(choice, tried)| match choice {
        HookChoice::Classic => step(
            Hook::Classic.name(),
            matches!(used, Some(Hook::Classic)),
            tried,
            "classic tracepoint sock:inet_sock_set_state; no cookie, netns, uid and error, no true TIME_WAIT and \
             SYN_RECV, nobody is seen to accept",
            || "tracefs, which root may read, and CONFIG_FTRACE".to_owned(),
        ),
        _ => step(
            Hook::Btf { cookie: true }.name(),
            matches!(used, Some(Hook::Btf { .. })),
            tried,
            if trials.has_cookies == Some(false) {
                "BTF-typed tracepoint sock:inet_sock_set_state; no socket cookies before Linux 5.12: sockets are told \
                 apart by address, and TIME_WAIT, SYN_RECV and accepts are not followed"
            } else {
                "BTF-typed tracepoint sock:inet_sock_set_state, every field"
            },
            || "a kernel with CONFIG_DEBUG_INFO_BTF".to_owned(),
        ),
    });
    Ladder {
        name: "hook",
        about: "changes of state (--hook)",
        used: used.map(Hook::name),
        steps: steps.collect(),
    }
}

fn lifecycles(host: &Host, trials: &Trials) -> Ladder {
    let used = trials.asked.as_ref().ok().map(|working| working.lifecycle.way);
    let step = |(way, tried): &(Way, Tried)| {
        let what = match way {
            Way::Fentry => {
                "at the kernel functions that make and end these sockets (fentry); nothing goes unseen"
            }
            Way::Timer => {
                "by their timers; SYN_RECV begins without a cookie, FIN_WAIT2 and TIME_WAIT are true to a tick of the \
                 timer and may be told 250 ms late, and each timer of the host costs a comparison"
            }
            _ => {
                "looked for every 250 ms; ends are lower bounds, most causes unknown, and what is shorter than a look \
                 is missed"
            }
        };
        let needs = || match way {
            Way::Fentry => functions(host),
            Way::Timer => format!("BTF, Linux 5.12, {ADDRESSES}"),
            _ => "BTF and Linux 5.12, for socket cookies".to_owned(),
        };
        self::step(way.name(), used == Some(*way), tried, what, needs)
    };
    let mut steps: Vec<Step> = trials.lifecycles.iter().map(step).collect();
    if used == Some(Way::Off) {
        steps.push(off(
            "TIME_WAIT and half-open connections are not seen: FIN_WAIT2 ends when the kernel swaps the socket, SYN_RECV \
             is a lower bound",
        ));
    }
    let about = "time-wait and half-open sockets (--lifecycle)";
    Ladder { name: "lifecycle", about, used: used.map(Way::name), steps }
}

fn accepts(host: &Host, trials: &Trials) -> Ladder {
    let used = trials.asked.as_ref().ok().map(|working| working.accepts.way);
    let step = |(way, tried): &(AcceptWay, Tried)| {
        let what = match way {
            AcceptWay::Fexit => "at the kernel function inet_csk_accept (fexit), io_uring included",
            _ => {
                "at the exits of accept and accept4; costs each system call of the host about 90 ns, and does not see \
                 io_uring"
            }
        };
        let needs = || match way {
            AcceptWay::Fexit => functions(host),
            _ => "BTF, Linux 5.12, tracefs, and CONFIG_FTRACE_SYSCALLS".to_owned(),
        };
        self::step(way.name(), used == Some(*way), tried, what, needs)
    };
    let mut steps: Vec<Step> = trials.accepts.iter().map(step).collect();
    if used == Some(AcceptWay::Off) {
        steps.push(off("until it closes, a connection is its listener's owner's"));
    }
    Ladder { name: "accept", about: "who accepts (--accept)", used: used.map(AcceptWay::name), steps }
}

/// What programs at functions take.
fn functions(host: &Host) -> String {
    match host.calls_functions {
        None => "a kernel with CONFIG_FUNCTION_TRACER and CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS".to_owned(),
        Some(false) => "BTF, Linux 5.12, kernel.ftrace_enabled 1 (sudo sysctl kernel.ftrace_enabled=1)".to_owned(),
        Some(true) => {
            "a kernel that takes programs at its functions: Linux 5.12 with BTF and \
                       CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, not hardened against them, and not locked down"
            .to_owned()
        }
    }
}

/// One that is there or not.
fn optional(
    trials: &Trials,
    name: &'static str,
    about: &'static str,
    hook: &'static str,
    what: &str,
    tried: &Tried,
    needs: &str,
) -> Ladder {
    let is_used = trials.asked.is_ok() && matches!(tried, Some(Ok(())));
    let is_known = trials.asked.is_ok() && tried.is_some();
    let used = is_known.then_some(if is_used { hook } else { "off" });
    Ladder { name, about, used, steps: vec![step(hook, is_used, tried, what, || needs.to_owned())] }
}

fn resets(trials: &Trials) -> Ladder {
    let tried = trials.extras.as_ref().map(|extras| extras.resets.clone());
    optional(
        trials,
        "resets",
        "resets that we send",
        "tcp_send_reset",
        "that we send a reset, and why; without it, some ends have the cause `unknown`",
        &tried,
        "this tracepoint (Linux 4.16), and BTF, or tracefs with the classic hook",
    )
}

fn held(trials: &Trials) -> Ladder {
    let tried = trials.extras.as_ref().map(|extras| extras.destruction.clone());
    optional(
        trials,
        "held",
        "closed sockets that are held",
        "tcp_destroy_sock",
        "that a closed socket is let go; without it, closed sockets that are held are not known",
        &tried,
        "BTF and Linux 5.12, for socket cookies",
    )
}

fn forks(trials: &Trials) -> Ladder {
    optional(
        trials,
        "children",
        "children of processes (-p)",
        "sched_process_fork",
        "that a process makes another; without it, `-p` does not include children made while tracing",
        &trials.forks,
        "BTF",
    )
}
