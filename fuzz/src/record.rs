//! From an event back to the record that tells it.

use std::net::IpAddr;

use tcptrace::model::{
    Endpoint, Event, Family, ProcessStart, Request, ResetSent, SocketKey, Task, TimeWait, TimerAction,
    Transition,
};
use tcptrace_common::{
    AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP, KIND_ACCEPT, KIND_DESTROY, KIND_FORK, KIND_REQUEST,
    KIND_RESET_RECEIVED, KIND_RESET_SENT, KIND_TIME_WAIT, KIND_TRANSITION, KIND_TRANSITION_BACKUP, RawMini,
    RawRecord, flags, known, reset_reason::NAMES, timer_action,
};
use zerocopy::{FromZeros as _, IntoBytes as _};

/// Where in a record its kind stands.
pub const KIND_AT: usize = std::mem::offset_of!(RawRecord, kind);

/// The bytes of a record that tells `event` and nothing else: what is not known is zero. `record` and `mini` are what the
/// event was read from; kernel addresses, the stamps of a time-wait socket and the connection of a listener's reset are
/// taken from there, because the event has them in another form.
pub fn encode(event: &Event, record: &RawRecord, mini: &RawMini) -> Vec<u8> {
    let record = match event {
        Event::TimeWait(event) => return time_wait(event, mini).as_bytes().to_vec(),
        Event::Request(event) => return request(event, mini).as_bytes().to_vec(),
        Event::Transition(event) => transition(event, record),
        Event::ResetSent(event) => reset_sent(event, record),
        Event::Accepted(event) => RawRecord {
            sk: record.sk,
            ..with_task(with_key(of_kind(KIND_ACCEPT, event.ts.0), event.key), Some(event.task))
        },
        Event::Forked(event) => RawRecord {
            pid_tgid: u64::from(event.parent.get()) << 32,
            sk: event.child.get().into(),
            start_ns: nanoseconds(event.started),
            ..of_kind(KIND_FORK, event.ts.0)
        },
        Event::Destroyed(event) => {
            RawRecord { sk: record.sk, ..with_key(of_kind(KIND_DESTROY, event.ts.0), event.key) }
        }
        Event::ResetReceived(event) => {
            RawRecord { sk: record.sk, ..with_key(of_kind(KIND_RESET_RECEIVED, event.ts.0), event.key) }
        }
    };
    record.as_bytes().to_vec()
}

fn of_kind(kind: u8, ts_ns: u64) -> RawRecord {
    RawRecord { kind, ts_ns, ..RawRecord::new_zeroed() }
}

fn with_key(record: RawRecord, key: SocketKey) -> RawRecord {
    match key.cookie() {
        Some(cookie) => RawRecord { cookie: cookie.get(), known: record.known | known::COOKIE, ..record },
        None => record,
    }
}

fn with_task(record: RawRecord, task: Option<Task>) -> RawRecord {
    let Some(task) = task else { return record };
    RawRecord {
        pid_tgid: u64::from(task.pid.get()) << 32 | u64::from(task.tid.get()),
        comm: zerocopy::transmute!(task.comm.0),
        start_ns: nanoseconds(task.started),
        cgroup: task.cgroup.map_or(0, Into::into),
        known: record.known | known::TASK,
        ..record
    }
}

fn nanoseconds(start: Option<ProcessStart>) -> u64 {
    start.map_or(0, |start| start.ticks() * 10_000_000)
}

fn transition(event: &Transition, from: &RawRecord) -> RawRecord {
    let kind = if event.is_backup { KIND_TRANSITION_BACKUP } else { KIND_TRANSITION };
    let record = with_task(with_key(of_kind(kind, event.ts.0), event.key), event.task);
    let bit = |bit, is_set| if is_set { bit } else { 0 };
    RawRecord {
        sk: from.sk,
        laddr: address(event.family, event.local),
        raddr: address(event.family, event.remote),
        lport: port(event.local),
        rport: port(event.remote),
        netns: event.netns.map_or(0, Into::into),
        uid: event.uid.unwrap_or(0),
        family: family(event.family),
        protocol: if event.mptcp { IPPROTO_MPTCP } else { IPPROTO_TCP },
        sk_err: event.error.unwrap_or(0),
        old_state: event.old.raw(),
        new_state: event.new.raw(),
        known: record.known
            | bit(known::NETNS, event.netns.is_some())
            | bit(known::UID, event.uid.is_some())
            | bit(known::SK_ERR, event.error.is_some()),
        flags: bit(flags::ORPHAN, event.is_orphan) | bit(flags::NEWBORN, event.is_newborn),
        ..record
    }
}

fn reset_sent(event: &ResetSent, from: &RawRecord) -> RawRecord {
    let detail = event.reason.and_then(|reason| NAMES.iter().position(|name| *name == reason.name()));
    let record = RawRecord {
        kind: KIND_RESET_SENT,
        ts_ns: event.ts.0,
        sk: from.sk,
        old_state: from.old_state,
        family: from.family,
        detail: detail.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(0),
        ..RawRecord::new_zeroed()
    };
    let record = with_key(record, event.key);
    if event.half_open.is_none() {
        return record;
    }
    RawRecord {
        laddr: from.laddr,
        raddr: from.raddr,
        lport: from.lport,
        rport: from.rport,
        netns: from.netns,
        known: record.known | (from.known & known::NETNS),
        ..record
    }
}

/// What time-wait and request sockets have alike.
struct Mini {
    ts_ns: u64,
    key: SocketKey,
    family: Family,
    ends: [Endpoint; 2],
    netns: Option<std::num::NonZeroU32>,
    action: TimerAction,
}

impl Mini {
    fn encode(&self, sk: u64) -> RawMini {
        let [local, remote] = self.ends;
        RawMini {
            ts_ns: self.ts_ns,
            cookie: self.key.cookie().map_or(0, Into::into),
            sk,
            laddr: address(self.family, local),
            raddr: address(self.family, remote),
            lport: port(local),
            rport: port(remote),
            netns: self.netns.map_or(0, Into::into),
            family: family(self.family),
            action: match self.action {
                TimerAction::Start => timer_action::START,
                TimerAction::Cancel => timer_action::CANCEL,
                TimerAction::Expire => timer_action::EXPIRE,
            },
            known: if self.key.cookie().is_some() { known::COOKIE } else { 0 }
                | if self.netns.is_some() { known::NETNS } else { 0 },
            ..RawMini::new_zeroed()
        }
    }
}

fn time_wait(event: &TimeWait, from: &RawMini) -> RawMini {
    let TimeWait { ts, key, family, local, remote, netns, action, .. } = *event;
    let mini = Mini { ts_ns: ts.0, key, family, ends: [local, remote], netns, action }.encode(from.sk);
    RawMini {
        kind: KIND_TIME_WAIT,
        pid_tgid: event.thread.0,
        state: event.state.raw(),
        jiffies_left: from.jiffies_left,
        entry_stamp_ms: from.entry_stamp_ms,
        known: mini.known | (from.known & (known::ENTRY_STAMP | known::JIFFIES_LEFT)),
        ..mini
    }
}

fn request(event: &Request, from: &RawMini) -> RawMini {
    let Request { ts, key, family, local, remote, netns, action, .. } = *event;
    let mini = Mini { ts_ns: ts.0, key, family, ends: [local, remote], netns, action }.encode(from.sk);
    RawMini {
        kind: KIND_REQUEST,
        listener: from.listener,
        flags: if event.is_acked { flags::ACKED } else { 0 },
        ..mini
    }
}

fn family(family: Family) -> u16 {
    match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    }
}

fn port(end: Endpoint) -> u16 {
    end.port.map_or(0, Into::into)
}

fn address(family: Family, end: Endpoint) -> [u32; 4] {
    zerocopy::transmute!(octets(family, end))
}

/// An address as it stands in a socket of this family; zeros when it is not known.
pub fn octets(family: Family, end: Endpoint) -> [u8; 16] {
    match (family, end.addr) {
        (_, None) => [0; 16],
        (Family::V4, Some(IpAddr::V4(addr))) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&addr.octets());
            octets
        }
        (_, Some(IpAddr::V4(addr))) => addr.to_ipv6_mapped().octets(),
        (_, Some(IpAddr::V6(addr))) => addr.octets(),
    }
}
