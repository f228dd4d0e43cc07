//! `sock:inet_sock_set_state` as a BTF-typed tracepoint.
//!
//! Kernel prototype (include/trace/events/sock.h, Linux >= 4.16):
//! `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`, called by `tcp_set_state` and
//! `inet_sk_state_store` before the new state is stored. BTF-typed tracepoints exist since Linux 5.5.
//!
//! Several programs, attached in this order. Since Linux 6.1 the kernel does not enter a program on a CPU where it runs
//! already (`__bpf_trace_run`): when an interrupt hits `state_btf` in a system call and softirq work changes another
//! socket's state, `state_btf` is skipped for that one. `state_btf_backup` is not, and reports what the first one has
//! not. TCP changes states in system calls and in softirq only, so there is no third level up to Linux 6.19.
//!
//! Since Linux 7.0 a task can be preempted in a tracepoint's programs (where the kernel is preemptible at all, which it is
//! by default: `PREEMPT_LAZY`). Until it runs again, other tasks on that CPU find the program busy, and can themselves be
//! preempted in the next one: `state_btf_third` reports what those two have not. A fourth one would seldom have work.

use aya_ebpf::{
    EbpfContext as _,
    cty::c_void,
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tcptrace_common::{
    KIND_TRANSITION, KIND_TRANSITION_BACKUP, RawRecord, UNWANTED_BACKUPS, current_is_owner, flags, known,
    tcp_state,
};

use crate::{
    emit,
    filter::{self, Candidate},
    filter_owner, settings,
    sock::Sock,
    stack,
    task::{Task, is_kernel_thread},
};

/// A transition that one of the programs has taken.
#[repr(C)]
struct Taken {
    sk: u64,
    old: u32,
    new: u32,
    is_orphan: u64,
}

/// The last one on this CPU.
#[map]
static TAKEN: PerCpuArray<Taken> = PerCpuArray::with_max_entries(1, 0);

#[btf_tracepoint(function = "inet_sock_set_state")]
fn state_btf(ctx: BtfTracePointContext) -> i32 {
    if let Some(change) = Change::of(&ctx) {
        change.take();
        change.report(&ctx, KIND_TRANSITION);
    }
    0
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn state_btf_backup(ctx: BtfTracePointContext) -> i32 {
    back_up(&ctx)
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn state_btf_third(ctx: BtfTracePointContext) -> i32 {
    back_up(&ctx)
}

#[inline(always)]
fn back_up(ctx: &BtfTracePointContext) -> i32 {
    if let Some(change) = Change::of(ctx) {
        // When this program itself was interrupted before it looked, another transition was taken meanwhile and
        // ours is reported twice: user space drops the second.
        if !change.is_taken() {
            change.take();
            change.report(ctx, KIND_TRANSITION_BACKUP);
        }
    }
    0
}

/// A change of state that is asked for.
struct Change {
    sk: Sock,
    old: u8,
    new: u8,
    protocol: u16,
    is_orphan: bool,
}

/// Whether the last transition of this CPU was this socket's `-> CLOSE` as an orphan: then it is destroyed in the same
/// call (`tcp_done`), and user space knows. When an interrupt has come between, the answer is no, which costs a record.
#[inline(always)]
pub(crate) fn was_closed_as_orphan(sk: Sock) -> bool {
    TAKEN.get(0).is_some_and(|taken| {
        taken.sk == sk.address() && taken.is_orphan != 0 && taken.new == u32::from(tcp_state::CLOSE)
    })
}

impl Change {
    #[inline(always)]
    fn of(ctx: &BtfTracePointContext) -> Option<Self> {
        let old = ctx.arg::<u32>(1) as u8;
        let new = ctx.arg::<u32>(2) as u8;
        // MPTCP subflows report FIN_WAIT2 -> FIN_WAIT2 and the like: not a transition.
        if old == new {
            return None;
        }
        // SAFETY: argument 0 of this tracepoint is `const struct sock *`, see the prototype above.
        let sk = unsafe { Sock::from_typed_argument(ctx.arg::<*const c_void>(0)) };
        let protocol = sk.protocol();
        if !settings::wants_protocol(protocol) {
            debug!(ctx, "protocol {} is not asked for", protocol);
            return None;
        }
        Some(Self { sk, old, new, protocol, is_orphan: sk.is_orphan() })
    }

    #[inline(always)]
    fn take(&self) {
        if let Some(taken) = TAKEN.get_ptr_mut(0) {
            let Self { sk, old, new, is_orphan, .. } = *self;
            // SAFETY: the entry of this CPU. An interrupt that sees it half written is about another socket, and
            // finds that it was not taken, which is right.
            unsafe {
                taken.write(Taken {
                    sk: sk.address(),
                    old: u32::from(old),
                    new: u32::from(new),
                    is_orphan: u64::from(is_orphan),
                });
            }
        }
    }

    /// Whether a program that comes before this one for the same event took it.
    #[inline(always)]
    fn is_taken(&self) -> bool {
        TAKEN.get(0).is_some_and(|taken| {
            taken.sk == self.sk.address()
                && taken.old == u32::from(self.old)
                && taken.new == u32::from(self.new)
        })
    }

    #[inline(always)]
    fn report(&self, ctx: &BtfTracePointContext, kind: u8) {
        let Self { sk, old, new, protocol, is_orphan } = *self;
        let family = sk.family();
        let (laddr, raddr) = sk.addresses(family);
        let (lport, rport) = (sk.local_port(new), sk.remote_port());
        let netns = sk.netns();
        let is_listener = Candidate::is_listener(old, new);
        let candidate = Candidate { family, laddr, raddr, lport, rport, netns, is_listener };
        let is_wanted = filter::wants_transition(old, new)
            && (!filter::is_on() || filter::was_undecided(old) || candidate.is_wanted());
        if !is_wanted {
            if kind == KIND_TRANSITION_BACKUP {
                emit::count(UNWANTED_BACKUPS);
            }
            return;
        }
        let is_child = old == tcp_state::LISTEN && new == tcp_state::SYN_RECV;
        let is_newborn = settings::have_cookie() && is_child && rport == 0;
        let have_cookie = settings::have_cookie() && !is_newborn;
        // MPTCP closes its TCP sockets by a worker of the kernel, for whoever has opened them (`mptcp_worker`).
        let is_owner = current_is_owner(old, new) && (old == tcp_state::CLOSE || !is_kernel_thread());
        let task = if is_owner { Task::current() } else { Task::none() };
        let cookie = if have_cookie { sk.cookie() } else { 0 };
        if filter_owner::is_on() && have_cookie && !is_listener {
            let is_wanted = if is_owner {
                filter_owner::wants_owned(cookie, &task, filter_owner::is_birth(old, new))
            } else {
                filter_owner::wants_socket(cookie)
            };
            if !is_wanted {
                if kind == KIND_TRANSITION_BACKUP {
                    emit::count(UNWANTED_BACKUPS);
                }
                return;
            }
        }
        if is_owner && have_cookie && stack::is_wanted() {
            stack::report(ctx.as_ptr(), cookie, &task);
        }
        let put = emit::record(&RawRecord {
            ts_ns: emit::now_ns(),
            cookie,
            sk: sk.address(),
            pid_tgid: task.pid_tgid,
            comm: task.comm,
            start_ns: task.start_ns,
            cgroup: task.cgroup,
            laddr,
            raddr,
            netns,
            uid: sk.uid(),
            lport,
            rport,
            family,
            protocol,
            sk_err: sk.error(),
            kind,
            old_state: old,
            new_state: new,
            known: known::NETNS
                | known::UID
                | known::SK_ERR
                | if have_cookie { known::COOKIE } else { 0 }
                | if is_owner { known::TASK } else { 0 },
            flags: if is_orphan { flags::ORPHAN } else { 0 } | if is_newborn { flags::NEWBORN } else { 0 },
            detail: 0,
        });
        if !put {
            debug!(ctx, "ring full: {} -> {} lost", old, new);
        }
    }
}
