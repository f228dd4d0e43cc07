//! Synthetic records: connections over loopback, as the default `watch` reports them, both ends of each.

use tcptrace_common::{
    AF_INET, IPPROTO_TCP, KIND_ACCEPT, KIND_REQUEST, KIND_TIME_WAIT, KIND_TRANSITION, RawMini, RawRecord,
    current_is_owner, flags, known, tcp_state, timer_action,
};
use zerocopy::IntoBytes as _;

/// Records that [`Synthetic::open`] makes: four transitions, the timer of the request socket, `accept`.
pub const OPENING: usize = 7;

/// Records that [`Synthetic::close`] makes: six transitions, the timer of the time-wait socket.
pub const CLOSING: usize = 9;

/// A tick of the kernel's timers, as the decoder wants it.
pub const TICK_NS: u64 = 4_000_000;

/// Between two records: a host that makes a million of them a second.
const STEP_NS: u64 = 1_000;

const PORT: u16 = 443;

/// Processes that own sockets.
const PROCESSES: u64 = 100;

/// Makes records, one behind the other in time.
#[derive(Debug)]
pub struct Synthetic {
    now_ns: u64,
    /// Lives begun for each connection.
    lives: Vec<u32>,
    random: u64,
}

impl Synthetic {
    /// So many connections, none open. Their memory is touched, so that it is not taken for somebody else's later.
    pub fn new(connections: usize) -> Self {
        let mut lives = Vec::with_capacity(connections);
        lives.extend((0..connections).map(|i| u32::from(i == usize::MAX)));
        Self { now_ns: 1_000_000_000_000, lives, random: 0x9E37_79B9_7F4A_7C15 }
    }

    /// Connections.
    pub fn len(&self) -> usize {
        self.lives.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// Any one of them (xorshift, which repeats itself, so that runs do).
    pub fn any(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % self.lives.len().max(1) as u64).unwrap_or(0)
    }

    /// A connection begins its next life: appends [`OPENING`] records.
    pub fn open(&mut self, index: usize, out: &mut Vec<u8>) {
        use tcp_state::{CLOSE, ESTABLISHED, LISTEN, SYN_RECV, SYN_SENT};
        self.lives[index] += 1;
        let ends = self.ends(index);
        self.full(&ends.client.unbound(), CLOSE, SYN_SENT, out);
        self.mini(&ends.request(), KIND_REQUEST, timer_action::START, SYN_RECV, out);
        self.full(&ends.client, SYN_SENT, ESTABLISHED, out);
        self.full(&ends.server, LISTEN, SYN_RECV, out);
        self.mini(&ends.request(), KIND_REQUEST, timer_action::CANCEL, SYN_RECV, out);
        self.full(&ends.server, SYN_RECV, ESTABLISHED, out);
        let accept = RawRecord { kind: KIND_ACCEPT, ..self.record(&ends.server, 0, 0) };
        out.extend(RawRecord { known: known::COOKIE | known::TASK, ..accept }.as_bytes());
    }

    /// It ends, its time-wait socket too: appends [`CLOSING`] records.
    pub fn close(&mut self, index: usize, out: &mut Vec<u8>) {
        use tcp_state::{CLOSE, CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, TIME_WAIT};
        let ends = self.ends(index);
        self.full(&ends.client, ESTABLISHED, FIN_WAIT1, out);
        self.full(&ends.server, ESTABLISHED, CLOSE_WAIT, out);
        self.full(&ends.server, CLOSE_WAIT, LAST_ACK, out);
        self.full(&ends.client, FIN_WAIT1, FIN_WAIT2, out);
        self.mini(&ends.client, KIND_TIME_WAIT, timer_action::START, TIME_WAIT, out);
        self.full(&ends.client, FIN_WAIT2, CLOSE, out);
        self.full(&ends.server, LAST_ACK, CLOSE, out);
        self.mini(&ends.client, KIND_TIME_WAIT, timer_action::CANCEL, TIME_WAIT, out);
        self.mini(&ends.client, KIND_TIME_WAIT, timer_action::EXPIRE, TIME_WAIT, out);
    }

    /// The moment of the last record.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn ends(&self, index: usize) -> Ends {
        let number = (index as u64) << 32 | u64::from(self.lives[index]);
        let low = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        // 60,000 ports of each address.
        let port = 1024 + u16::try_from(index % 60_000).unwrap_or(0);
        let host = low(index as u64 / 60_000);
        let client = End {
            number: number << 1,
            owner: index as u64 % PROCESSES,
            laddr: (0x0a00_0000 + host).to_be(),
            raddr: 0x0a80_0001_u32.to_be(),
            lport: port,
            rport: PORT,
        };
        let server = End {
            number: number << 1 | 1,
            owner: PROCESSES,
            laddr: client.raddr,
            raddr: client.laddr,
            lport: PORT,
            rport: port,
        };
        Ends { client, server }
    }

    fn full(&mut self, end: &End, old: u8, new: u8, out: &mut Vec<u8>) {
        out.extend(self.record(end, old, new).as_bytes());
    }

    fn record(&mut self, end: &End, old: u8, new: u8) -> RawRecord {
        self.now_ns += STEP_NS;
        let is_owner = current_is_owner(old, new);
        let pid = 1_000 + end.owner;
        let is_orphan = matches!(new, tcp_state::FIN_WAIT2 | tcp_state::CLOSE | tcp_state::LAST_ACK);
        RawRecord {
            ts_ns: self.now_ns,
            cookie: end.number,
            sk: 0xffff_8880_0000_0000 | end.number << 6,
            pid_tgid: pid << 32 | pid,
            comm: [u64::from_ne_bytes(*b"server\0\0"), 0],
            start_ns: 1_000_000_000,
            cgroup: 1,
            laddr: [end.laddr, 0, 0, 0],
            raddr: [end.raddr, 0, 0, 0],
            netns: 1,
            uid: 0,
            lport: end.lport,
            rport: end.rport,
            family: AF_INET,
            protocol: IPPROTO_TCP,
            sk_err: 0,
            kind: KIND_TRANSITION,
            old_state: old,
            new_state: new,
            known: known::COOKIE
                | known::NETNS
                | known::UID
                | known::SK_ERR
                | if is_owner { known::TASK } else { 0 },
            flags: if is_orphan { flags::ORPHAN } else { 0 },
            detail: 0,
        }
    }

    fn mini(&mut self, end: &End, kind: u8, action: u8, state: u8, out: &mut Vec<u8>) {
        self.now_ns += STEP_NS;
        let is_request = kind == KIND_REQUEST;
        let mini = RawMini {
            ts_ns: self.now_ns,
            cookie: if is_request { 0 } else { end.number },
            sk: 0xffff_8881_0000_0000 | end.number << 6,
            pid_tgid: 0,
            jiffies_left: 15_000,
            entry_stamp_ms: u32::try_from((self.now_ns / 1_000_000) & u64::from(u32::MAX)).unwrap_or(0),
            reserved: 0,
            listener: 0,
            reserved_5: 0,
            laddr: [end.laddr, 0, 0, 0],
            raddr: [end.raddr, 0, 0, 0],
            netns: 1,
            reserved_2: 0,
            lport: end.lport,
            rport: end.rport,
            family: AF_INET,
            protocol: IPPROTO_TCP,
            reserved_3: 0,
            kind,
            action,
            state,
            known: known::NETNS | if is_request { 0 } else { known::COOKIE | known::ENTRY_STAMP },
            flags: 0,
            reserved_4: 0,
        };
        out.extend(mini.as_bytes());
    }
}

/// A socket.
struct End {
    number: u64,
    owner: u64,
    laddr: u32,
    raddr: u32,
    lport: u16,
    rport: u16,
}

impl End {
    /// As it is when it begins to connect.
    const fn unbound(&self) -> Self {
        Self { lport: 0, ..*self }
    }
}

struct Ends {
    client: End,
    server: End,
}

impl Ends {
    /// The server's end before the handshake is complete.
    const fn request(&self) -> End {
        let End { number, owner, laddr, raddr, lport, rport } = self.server;
        End { number, owner, laddr, raddr, lport, rport }
    }
}
