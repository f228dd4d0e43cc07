//! The life of time-wait and request sockets, seen at the functions that make and end them (Linux >= 5.5, x86-64).
//!
//! Nothing is paid for the timers of others, no re-arm goes unseen, and a request socket has its cookie from the start.
//!
//! Kernel prototypes (net/ipv4/inet_timewait_sock.c, net/ipv4/inet_connection_sock.c, Linux 5.10 to 7.2):
//! - `void inet_twsk_hashdance(struct inet_timewait_sock *tw, struct sock *sk, ..)` up to 6.10,
//!   `inet_twsk_hashdance_schedule` with the same first arguments since: the time-wait socket takes the place of `sk`
//! - `void __inet_twsk_schedule(struct inet_timewait_sock *tw, int timeo, bool rearm)`: its time begins again; the substate
//!   has been set before (`tcp_timewait_state_process`)
//! - `static void tw_timer_handler(struct timer_list *t)`: its time is over; calls `inet_twsk_kill`
//! - `static void inet_twsk_kill(struct inet_timewait_sock *tw)`: its end, whatever the cause
//! - `inet_csk_reqsk_queue_hash_add(struct sock *sk, struct request_sock *req, ..)`: a request is about to be seen
//! - `bool inet_csk_reqsk_queue_drop(struct sock *sk, struct request_sock *req)`: it is taken away; true when it was there
//! - `static void reqsk_timer_handler(struct timer_list *t)`: sends the SYN-ACK again and re-arms the timer, or takes the
//!   request away

use aya_ebpf::{
    cty::c_void,
    macros::{fentry, fexit, map},
    maps::PerCpuArray,
    programs::{FEntryContext, FExitContext},
};
use tcptrace_common::timer_action;

use crate::{
    minis, settings,
    sock::{Mini, Sock, Timer},
};

/// The timer whose handler runs on this CPU.
#[map]
static EXPIRING: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[fentry]
fn tw_hashdance(ctx: FEntryContext) -> i32 {
    minis::time_wait(&Mini::at(ctx.arg(0)), timer_action::START, None);
    0
}

#[fentry(function = "__inet_twsk_schedule")]
fn tw_schedule(ctx: FEntryContext) -> i32 {
    // The first time it is new, and reported by `tw_hashdance`.
    if ctx.arg::<u8>(2) != 0 {
        minis::time_wait(&Mini::at(ctx.arg(0)), timer_action::START, None);
    }
    0
}

#[fentry(function = "tw_timer_handler")]
fn tw_timer(ctx: FEntryContext) -> i32 {
    if let Some(expiring) = EXPIRING.get_ptr_mut(0) {
        // SAFETY: the entry of this CPU, where timer handlers run one after the other.
        unsafe { expiring.write(ctx.arg(0)) };
    }
    0
}

#[fentry(function = "inet_twsk_kill")]
fn tw_kill(ctx: FEntryContext) -> i32 {
    let tw: u64 = ctx.arg(0);
    let timer = Mini::time_wait_timer_of(tw);
    let mut action = timer_action::CANCEL;
    if let Some(expiring) = EXPIRING.get_ptr_mut(0) {
        // SAFETY: the entry of this CPU.
        let is_expiring = unsafe { expiring.read() } == timer;
        if is_expiring {
            action = timer_action::EXPIRE;
            // SAFETY: as above. The next socket at this address must not be taken for expired.
            unsafe { expiring.write(0) };
        }
    }
    minis::time_wait(&Mini::at(tw), action, None);
    0
}

#[fentry(function = "inet_csk_reqsk_queue_hash_add")]
fn request_add(ctx: FEntryContext) -> i32 {
    if settings::have_cookie() {
        // SAFETY: argument 1 is `struct request_sock *`, which begins with a `struct sock_common`: the helper takes it
        // (btf_sock_ids, net/core/filter.c). Its child and its time-wait socket will have the same cookie.
        unsafe { Sock::from_typed_argument(ctx.arg::<*const c_void>(1)) }.cookie();
    }
    minis::request(&Mini::at(ctx.arg(1)), timer_action::START);
    0
}

#[fexit(function = "inet_csk_reqsk_queue_drop")]
fn request_drop(ctx: FExitContext) -> i32 {
    // Argument 2 of two is the result.
    if ctx.arg::<u8>(2) != 0 {
        minis::request(&Mini::at(ctx.arg(1)), timer_action::CANCEL);
    }
    0
}

#[fentry(function = "reqsk_timer_handler")]
fn request_timer(ctx: FEntryContext) -> i32 {
    // SAFETY: argument 0 is `struct timer_list *`.
    let timer = unsafe { Timer::from_typed_argument(ctx.arg(0)) };
    minis::request(&Mini::of_request_timer(timer), timer_action::EXPIRE);
    0
}

#[fexit(function = "reqsk_timer_handler")]
fn request_timer_exit(ctx: FExitContext) -> i32 {
    // SAFETY: argument 0 is `struct timer_list *`. The request may be gone by now; requests are freed to a cache of
    // their own (SLAB_TYPESAFE_BY_RCU), so that it is a request's timer all the same.
    let timer = unsafe { Timer::from_typed_argument(ctx.arg(0)) };
    if timer.is_pending() {
        minis::request(&Mini::of_request_timer(timer), timer_action::START);
    }
    0
}
