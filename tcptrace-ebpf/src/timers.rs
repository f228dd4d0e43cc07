//! The life of time-wait and request sockets, seen through their timers.
//!
//! Kernel prototypes (include/trace/events/timer.h): `timer_start(struct timer_list *timer, ..)`,
//! `timer_cancel(struct timer_list *timer)`, `timer_expire_entry(struct timer_list *timer, ..)`. The timer is ours when
//! its `function` is `tw_timer_handler` (net/ipv4/inet_timewait_sock.c) or `reqsk_timer_handler`
//! (net/ipv4/inet_connection_sock.c), whose addresses user space takes from /proc/kallsyms. Every timer of the host passes
//! here: one load and two comparisons for those that are not ours.
//!
//! Linux 6.18: `tcp_time_wait` arms the timer before it reports `-> CLOSE` for the full socket. A request's timer is armed
//! when it is hashed (`reqsk_queue_hash_req`) and again after each retransmission of the SYN-ACK (`reqsk_timer_handler`).
//! `timer_cancel` is reported when a timer is taken off for any reason: before `timer_expire_entry`, before a
//! `timer_start` (re-arm), or for good (`inet_twsk_deschedule_put`, `inet_csk_reqsk_queue_drop`, which takes a request
//! away when its child is complete, too). A re-arm within the same wheel bucket reports nothing.

use aya_ebpf::{Global, macros::btf_tracepoint, programs::BtfTracePointContext};
use tcptrace_common::timer_action;

use crate::{
    minis,
    sock::{Mini, Timer},
};

/// Address of `tw_timer_handler`.
#[unsafe(no_mangle)]
static TW_TIMER_HANDLER: Global<u64> = Global::new(u64::MAX);

/// Address of `reqsk_timer_handler`.
#[unsafe(no_mangle)]
static REQSK_TIMER_HANDLER: Global<u64> = Global::new(u64::MAX);

#[btf_tracepoint(function = "timer_start")]
fn timer_start(ctx: BtfTracePointContext) -> i32 {
    report(&ctx, timer_action::START)
}

#[btf_tracepoint(function = "timer_cancel")]
fn timer_cancel(ctx: BtfTracePointContext) -> i32 {
    report(&ctx, timer_action::CANCEL)
}

#[btf_tracepoint(function = "timer_expire_entry")]
fn timer_expire(ctx: BtfTracePointContext) -> i32 {
    report(&ctx, timer_action::EXPIRE)
}

#[inline(always)]
fn report(ctx: &BtfTracePointContext, action: u8) -> i32 {
    // SAFETY: argument 0 of these tracepoints is `struct timer_list *`, see the prototypes above.
    let timer = unsafe { Timer::from_typed_argument(ctx.arg(0)) };
    let function = timer.function();
    if function == TW_TIMER_HANDLER.load() {
        minis::time_wait(&Mini::of_time_wait_timer(timer), action, Some(timer));
    } else if function == REQSK_TIMER_HANDLER.load() {
        minis::request(&Mini::of_request_timer(timer), action);
    }
    0
}
