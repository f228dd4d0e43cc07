//! The life of time-wait sockets, seen through their timer.
//!
//! Kernel prototypes (include/trace/events/timer.h): `timer_start(struct timer_list *timer, ..)`,
//! `timer_cancel(struct timer_list *timer)`, `timer_expire_entry(struct timer_list *timer, ..)`. The timer is ours when
//! its `function` is `tw_timer_handler` (net/ipv4/inet_timewait_sock.c), whose address user space takes from
//! /proc/kallsyms. Every timer of the host passes here: one load and one comparison for those that are not ours.
//!
//! Linux 6.18: `tcp_time_wait` arms the timer before it reports `-> CLOSE` for the full socket. `timer_cancel` is
//! reported when the timer is taken off for any reason: before `timer_expire_entry`, before a `timer_start` (re-arm),
//! or for good (`inet_twsk_deschedule_put`). A re-arm within the same wheel bucket reports nothing.

use aya_ebpf::{
    Global, helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tcptrace_common::{IPPROTO_TCP, KIND_TIME_WAIT, RawMini, known, timer_action};

use crate::{
    emit,
    sock::{Mini, Timer, jiffies},
};

/// Address of `tw_timer_handler`.
#[unsafe(no_mangle)]
static TW_TIMER_HANDLER: Global<u64> = Global::new(u64::MAX);

#[btf_tracepoint(function = "timer_start")]
fn timer_start(ctx: BtfTracePointContext) -> i32 {
    time_wait(&ctx, timer_action::START)
}

#[btf_tracepoint(function = "timer_cancel")]
fn timer_cancel(ctx: BtfTracePointContext) -> i32 {
    time_wait(&ctx, timer_action::CANCEL)
}

#[btf_tracepoint(function = "timer_expire_entry")]
fn timer_expire(ctx: BtfTracePointContext) -> i32 {
    time_wait(&ctx, timer_action::EXPIRE)
}

#[inline(always)]
fn time_wait(ctx: &BtfTracePointContext, action: u8) -> i32 {
    // SAFETY: argument 0 of these tracepoints is `struct timer_list *`, see the prototypes above.
    let timer = unsafe { Timer::from_typed_argument(ctx.arg(0)) };
    if timer.function() != TW_TIMER_HANDLER.load() {
        return 0;
    }
    let Some(tw) = Mini::of_time_wait_timer(timer) else {
        return 0;
    };
    let entry_stamp = tw.entry_stamp();
    emit::mini(&RawMini {
        ts_ns: emit::now_ns(),
        cookie: tw.cookie(),
        sk: tw.address(),
        pid_tgid: bpf_get_current_pid_tgid(),
        jiffies_left: timer.expires().wrapping_sub(jiffies()).cast_signed(),
        entry_stamp_ms: entry_stamp.unwrap_or(0),
        reserved: 0,
        laddr: tw.local_address(),
        raddr: tw.remote_address(),
        netns: tw.netns(),
        reserved_2: 0,
        lport: tw.local_port(),
        rport: tw.remote_port(),
        family: tw.family(),
        protocol: IPPROTO_TCP,
        reserved_3: 0,
        kind: KIND_TIME_WAIT,
        action,
        state: tw.substate(),
        known: known::COOKIE | known::NETNS | if entry_stamp.is_some() { known::ENTRY_STAMP } else { 0 },
        reserved_4: [0; 2],
    });
    0
}
