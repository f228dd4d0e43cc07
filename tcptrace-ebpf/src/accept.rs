//! Who accepts: the owner of a listener's child, from the accept system call on.
//!
//! Kernel prototypes: `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)` up to Linux 6.9,
//! `(struct sock *sk, struct proto_accept_arg *arg)` since 6.10 (net/ipv4/inet_connection_sock.c). Where a program
//! cannot be put there, the exits of the system calls accept and accept4 tell the descriptor, and the task's file table the
//! socket behind it (`perf_syscall_exit`, kernel/trace/trace_syscalls.c: the result is the third word). Accepts of io_uring
//! make no system call and are seen in the first way only.

use core::arch::asm;

use aya_ebpf::{
    EbpfContext as _, Global,
    cty::c_void,
    macros::{fexit, tracepoint},
    programs::{FExitContext, TracePointContext},
};
use tcptrace_common::{IPPROTO_TCP, KIND_ACCEPT, RawRecord, known};

use crate::{
    emit, filter_owner, settings,
    sock::Sock,
    stack,
    task::{OpenSocket, Task},
};

/// 1: `inet_csk_accept` has two arguments, not four.
#[unsafe(no_mangle)]
static ACCEPT_HAS_TWO_ARGUMENTS: Global<u8> = Global::new(0);

#[fexit(function = "inet_csk_accept")]
fn accept_fexit(ctx: FExitContext) -> i32 {
    // The result comes after the arguments.
    let accepted = if ACCEPT_HAS_TWO_ARGUMENTS.load() != 0 { word::<2>(&ctx) } else { word::<4>(&ctx) };
    if accepted.is_null() {
        return 0;
    }
    // SAFETY: the result of this function is `struct sock *`, see the prototypes above.
    let sk = unsafe { Sock::from_typed_argument(accepted) };
    let protocol = sk.protocol();
    if settings::wants_protocol(protocol) {
        report(ctx.as_ptr(), sk.existing_cookie(), sk.address(), protocol);
    }
    0
}

/// A word of the context, with its offset in the instruction: as a common load of both the compiler computes the address,
/// which the verifier of Linux 6.1 does not take ("dereference of modified ctx ptr").
#[inline(always)]
fn word<const INDEX: usize>(ctx: &FExitContext) -> *const c_void {
    let word;
    // SAFETY: one of the 64-bit words behind the context's address; the verifier checks which there are.
    unsafe {
        asm!(
            "{word} = *(u64 *)({ctx} + {at})",
            word = lateout(reg) word,
            ctx = in(reg) ctx.as_ptr(),
            at = const INDEX * 8,
            options(readonly, nostack),
        );
    }
    word
}

#[tracepoint]
fn accept_exit(ctx: TracePointContext) -> u32 {
    // SAFETY: only an address within the record is computed; its third word is the result, see above.
    let result = unsafe { ctx.as_ptr().cast::<i64>().add(2) };
    // SAFETY: the record has three words, and the verifier checks the access.
    let descriptor = unsafe { result.read_volatile() };
    if let Ok(descriptor) = u32::try_from(descriptor)
        && let Some(file) = OpenSocket::behind(descriptor)
        && file.protocol == IPPROTO_TCP
    {
        report(ctx.as_ptr(), file.cookie, file.sk, file.protocol);
    }
    0
}

#[inline(always)]
fn report(ctx: *mut c_void, cookie: u64, sk: u64, protocol: u16) {
    // Without a cookie it has not changed its state before our eyes.
    if cookie == 0 {
        return;
    }
    let task = Task::current();
    if filter_owner::is_on() && !filter_owner::wants_owned(cookie, &task, false) {
        return;
    }
    if stack::is_wanted() {
        stack::report(ctx, cookie, &task);
    }
    emit::record(&RawRecord {
        ts_ns: emit::now_ns(),
        cookie,
        sk,
        pid_tgid: task.pid_tgid,
        comm: task.comm,
        start_ns: task.start_ns,
        cgroup: task.cgroup,
        laddr: [0; 4],
        raddr: [0; 4],
        netns: 0,
        uid: 0,
        lport: 0,
        rport: 0,
        family: 0,
        protocol,
        sk_err: 0,
        kind: KIND_ACCEPT,
        old_state: 0,
        new_state: 0,
        known: known::COOKIE | known::TASK,
        flags: 0,
        detail: 0,
    });
}
