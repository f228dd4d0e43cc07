//! Records about mini-sockets, whichever hook sees them.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use tcptrace_common::{
    IPPROTO_TCP, KIND_REQUEST, KIND_TIME_WAIT, RawMini, flags, known, tcp_state, timer_action,
};

use crate::{
    emit,
    filter::{self, Candidate},
    filter_owner,
    sock::{Mini, Timer, jiffies},
};

/// Reports a time-wait socket.
#[inline(always)]
pub(crate) fn time_wait(tw: &Mini, action: u8, timer: Option<Timer>) {
    if !filter::wants_time_wait()
        || filter::is_on() && !candidate(tw).is_wanted()
        || !filter_owner::wants_socket(tw.cookie())
    {
        return;
    }
    let stamp = tw.entry_stamp();
    let left = timer.map(|timer| timer.expires().wrapping_sub(jiffies()).cast_signed());
    emit::mini(&RawMini {
        jiffies_left: left.unwrap_or(0),
        entry_stamp_ms: stamp.unwrap_or(0),
        kind: KIND_TIME_WAIT,
        state: tw.substate(),
        known: known::COOKIE
            | known::NETNS
            | if stamp.is_some() { known::ENTRY_STAMP } else { 0 }
            | if left.is_some() { known::JIFFIES_LEFT } else { 0 },
        ..common(tw, action)
    });
}

/// Reports a request socket.
#[inline(always)]
pub(crate) fn request(request: &Mini, action: u8) {
    if !filter::wants_requests() || filter::is_on() && !candidate(request).is_wanted() {
        return;
    }
    // Whether it was acknowledged is of interest at its end only.
    let is_acked = action == timer_action::EXPIRE && request.is_acked();
    emit::mini(&RawMini {
        kind: KIND_REQUEST,
        state: tcp_state::SYN_RECV,
        known: known::COOKIE | known::NETNS,
        listener: request.listener(),
        flags: if is_acked { flags::ACKED } else { 0 },
        ..common(request, action)
    });
}

#[inline(always)]
fn candidate(mini: &Mini) -> Candidate {
    Candidate {
        family: mini.family(),
        laddr: mini.local_address(),
        raddr: mini.remote_address(),
        lport: mini.local_port(),
        rport: mini.remote_port(),
        netns: mini.netns(),
        is_listener: false,
    }
}

#[inline(always)]
fn common(mini: &Mini, action: u8) -> RawMini {
    RawMini {
        ts_ns: emit::now_ns(),
        cookie: mini.cookie(),
        sk: mini.address(),
        pid_tgid: bpf_get_current_pid_tgid(),
        jiffies_left: 0,
        entry_stamp_ms: 0,
        reserved: 0,
        listener: 0,
        reserved_5: 0,
        laddr: mini.local_address(),
        raddr: mini.remote_address(),
        netns: mini.netns(),
        reserved_2: 0,
        lport: mini.local_port(),
        rport: mini.remote_port(),
        family: mini.family(),
        protocol: IPPROTO_TCP,
        reserved_3: 0,
        kind: 0,
        action,
        state: 0,
        known: 0,
        flags: 0,
        reserved_4: 0,
    }
}
