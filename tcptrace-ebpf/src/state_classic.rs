//! `sock:inet_sock_set_state` as a classic tracepoint, for kernels without BTF.
//!
//! The offsets of the record's fields come from the tracefs `format` file: before Linux 5.6 `protocol` is a u8
//! and the addresses sit one byte earlier. The record has no cookie, namespace, uid or error.

use aya_ebpf::{Global, macros::tracepoint, programs::TracePointContext};
use aya_log_ebpf::debug;
use tcptrace_common::{AF_INET6, KIND_TRANSITION, RawRecord, current_is_owner, known};

use crate::{
    emit,
    filter::{self, Candidate},
    settings,
    sock::context_field,
    task::Task,
};

/// Declares offsets into the tracepoint's record that user space sets at load.
macro_rules! fields {
    ($($name:ident),+ $(,)?) => {
        $( #[unsafe(no_mangle)] static $name: Global<u32> = Global::new(u32::MAX); )+
    };
}

fields! {
    FMT_SKADDR, FMT_OLDSTATE, FMT_NEWSTATE, FMT_SPORT, FMT_DPORT, FMT_FAMILY, FMT_PROTOCOL,
    FMT_SADDR, FMT_DADDR, FMT_SADDR_V6, FMT_DADDR_V6,
}

/// Size of the `protocol` field in bytes: 1 or 2.
#[unsafe(no_mangle)]
static FMT_PROTOCOL_SIZE: Global<u32> = Global::new(2);

#[tracepoint(category = "sock", name = "inet_sock_set_state")]
fn state_classic(ctx: TracePointContext) -> u32 {
    // None: the kernel refused a read of its own record, which would be a wrong `format` file.
    if try_state_classic(&ctx).is_none() {
        debug!(&ctx, "a field of the tracepoint's record could not be read");
    }
    0
}

#[inline(always)]
fn try_state_classic(ctx: &TracePointContext) -> Option<()> {
    let old = context_field::<u32>(ctx, &FMT_OLDSTATE)? as u8;
    let new = context_field::<u32>(ctx, &FMT_NEWSTATE)? as u8;
    if old == new {
        return Some(());
    }
    let protocol = if FMT_PROTOCOL_SIZE.load() == 1 {
        u16::from(context_field::<u8>(ctx, &FMT_PROTOCOL)?)
    } else {
        context_field::<u16>(ctx, &FMT_PROTOCOL)?
    };
    if !settings::wants_protocol(protocol) {
        return Some(());
    }
    let family = context_field::<u16>(ctx, &FMT_FAMILY)?;
    let (laddr, raddr) = if family == AF_INET6 {
        (context_field(ctx, &FMT_SADDR_V6)?, context_field(ctx, &FMT_DADDR_V6)?)
    } else {
        ([context_field(ctx, &FMT_SADDR)?, 0, 0, 0], [context_field(ctx, &FMT_DADDR)?, 0, 0, 0])
    };
    let (lport, rport) = (context_field(ctx, &FMT_SPORT)?, context_field(ctx, &FMT_DPORT)?);
    let is_listener = Candidate::is_listener(old, new);
    let candidate = Candidate { family, laddr, raddr, lport, rport, netns: 0, is_listener };
    if !filter::wants_transition(old, new)
        || filter::is_on() && !filter::was_undecided(old) && !candidate.is_wanted()
    {
        return Some(());
    }
    let is_owner = current_is_owner(old, new);
    let task = if is_owner { Task::current() } else { Task::none() };
    let put = emit::record(&RawRecord {
        ts_ns: emit::now_ns(),
        cookie: 0,
        sk: context_field(ctx, &FMT_SKADDR)?,
        pid_tgid: task.pid_tgid,
        comm: task.comm,
        start_ns: task.start_ns,
        cgroup: task.cgroup,
        laddr,
        raddr,
        netns: 0,
        uid: 0,
        lport,
        rport,
        family,
        protocol,
        sk_err: 0,
        kind: KIND_TRANSITION,
        old_state: old,
        new_state: new,
        known: if is_owner { known::TASK } else { 0 },
        flags: 0,
        detail: 0,
    });
    if !put {
        debug!(ctx, "ring full: {} -> {} lost", old, new);
    }
    Some(())
}
