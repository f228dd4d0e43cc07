//! Which sockets are asked for, as far as that can be decided here. What cannot be decided yet passes: user space decides
//! when it can. Conditions that are off are constants for the verifier and cost nothing.
//!
//! The same decision, in user space: `Filter::may_want` (tcptrace/src/model/prefilter.rs).

use aya_ebpf::{
    Global,
    cty::c_void,
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
    programs::RawTracePointContext,
};
use tcptrace_common::{
    AF_INET, AF_INET6,
    filter::{LOCAL, NetworkKey, PORT_WORDS, PREFIX_BEFORE, REMOTE, SERVICE},
    tcp_state,
};

use crate::sock::Sock;

/// The address family, or 0 for both.
#[unsafe(no_mangle)]
static FILTER_FAMILY: Global<u16> = Global::new(0);

/// Bits: which sides' ports are asked for.
#[unsafe(no_mangle)]
static FILTER_PORTS: Global<u8> = Global::new(0);

/// Bits: which sides' networks are asked for.
#[unsafe(no_mangle)]
static FILTER_NETWORKS: Global<u8> = Global::new(0);

/// 1: only some network namespaces.
#[unsafe(no_mangle)]
static FILTER_NETNS: Global<u8> = Global::new(0);

/// 1: only some transitions, see [`TRANSITIONS`].
#[unsafe(no_mangle)]
static FILTER_STATES: Global<u8> = Global::new(0);

/// For each old state the new states, as bits, that make a transition of interest.
#[unsafe(no_mangle)]
static TRANSITIONS: [u16; 16] = [0; 16];

/// 1: nothing of time-wait sockets is of interest.
#[unsafe(no_mangle)]
static NO_TIME_WAIT: Global<u8> = Global::new(0);

/// 1: nothing of request sockets is of interest.
#[unsafe(no_mangle)]
static NO_REQUESTS: Global<u8> = Global::new(0);

#[map]
static PORTS: Array<u64> = Array::with_max_entries(3 * PORT_WORDS, 0);

#[map]
static NETWORKS: LpmTrie<NetworkKey, u8> = LpmTrie::with_max_entries(4096, 0);

#[map]
static NAMESPACES: HashMap<u32, u8> = HashMap::with_max_entries(1024, 0);

/// Whether anything is asked of sockets, but their states.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    FILTER_FAMILY.load() != 0
        || FILTER_PORTS.load() != 0
        || FILTER_NETWORKS.load() != 0
        || FILTER_NETNS.load() != 0
}

/// What is known of a socket: 0 and the unspecified address are unknown.
pub(crate) struct Candidate {
    pub(crate) family: u16,
    pub(crate) laddr: [u32; 4],
    pub(crate) raddr: [u32; 4],
    pub(crate) lport: u16,
    pub(crate) rport: u16,
    pub(crate) netns: u32,
    /// It has no peer, and its children may be asked for where it is not.
    pub(crate) is_listener: bool,
}

impl Candidate {
    /// Whether this is about a listening socket itself.
    #[inline(always)]
    pub(crate) fn is_listener(old: u8, new: u8) -> bool {
        new == tcp_state::LISTEN || (old == tcp_state::LISTEN && new == tcp_state::CLOSE)
    }

    /// A subprogram, so that programs without a filter stay small.
    #[inline(never)]
    pub(crate) fn is_wanted(&self) -> bool {
        let family = FILTER_FAMILY.load();
        if family != 0 && self.family != family {
            return false;
        }
        // SAFETY: nobody writes to the map while programs are attached.
        if FILTER_NETNS.load() != 0 && self.netns != 0 && unsafe { NAMESPACES.get(self.netns) }.is_none() {
            return false;
        }
        self.has_wanted_ports() && self.has_wanted_addresses()
    }

    #[inline(always)]
    fn has_wanted_ports(&self) -> bool {
        let asked = FILTER_PORTS.load();
        let (lport, rport) = (self.lport, self.rport);
        if asked & (1 << LOCAL) != 0 && lport != 0 && !is_in(LOCAL, lport) {
            return false;
        }
        if self.is_listener {
            return asked & (1 << SERVICE) == 0 || lport == 0 || is_in(SERVICE, lport);
        }
        if asked & (1 << REMOTE) != 0 && rport != 0 && !is_in(REMOTE, rport) {
            return false;
        }
        let is_known = lport != 0 && rport != 0;
        asked & (1 << SERVICE) == 0 || !is_known || is_in(SERVICE, lport) || is_in(SERVICE, rport)
    }

    #[inline(always)]
    fn has_wanted_addresses(&self) -> bool {
        let asked = FILTER_NETWORKS.load();
        if asked & (1 << LOCAL) != 0 && !self.is_within(LOCAL, &self.laddr) {
            return false;
        }
        self.is_listener || asked & (1 << REMOTE) == 0 || self.is_within(REMOTE, &self.raddr)
    }

    #[inline(always)]
    fn is_within(&self, side: u32, addr: &[u32; 4]) -> bool {
        // ::ffff:a.b.c.d is a.b.c.d (RFC 4291 section 2.5.5.2).
        let is_mapped =
            self.family == AF_INET6 && addr[0] == 0 && addr[1] == 0 && addr[2] == 0x0000_ffff_u32.to_be();
        let key: NetworkKey = if is_mapped {
            [side, 4, addr[3], 0, 0, 0]
        } else if self.family == AF_INET {
            [side, 4, addr[0], 0, 0, 0]
        } else {
            [side, 6, addr[0], addr[1], addr[2], addr[3]]
        };
        // Unspecified: not known yet, or a listener's for all addresses.
        if key[2] == 0 && key[3] == 0 && key[4] == 0 && key[5] == 0 {
            return true;
        }
        let bits = if key[1] == 4 { 32 } else { 128 };
        NETWORKS.get(Key::new(PREFIX_BEFORE + bits, key)).is_some()
    }
}

/// A full socket that does not listen, or is closed by now.
#[inline(always)]
pub(crate) fn candidate(sk: Sock) -> Candidate {
    let family = sk.family();
    let (laddr, raddr) = sk.addresses(family);
    Candidate {
        family,
        laddr,
        raddr,
        lport: sk.local_port(tcp_state::CLOSE),
        rport: sk.remote_port(),
        netns: sk.netns(),
        is_listener: false,
    }
}

#[inline(always)]
fn is_in(side: u32, port: u16) -> bool {
    let word = side * PORT_WORDS + u32::from(port >> 6);
    PORTS.get(word).is_some_and(|bits| bits & (1_u64 << (port & 63)) != 0)
}

/// Whether a transition is of interest, whosever.
#[inline(always)]
pub(crate) fn wants_transition(old: u8, new: u8) -> bool {
    if FILTER_STATES.load() == 0 {
        return true;
    }
    let entry = (&raw const TRANSITIONS).cast::<u16>().wrapping_add(usize::from(old & 15));
    // SAFETY: an entry of the table, by the mask. Volatile, as user space replaces it at load.
    let news = unsafe { entry.read_volatile() };
    news & (1 << (new & 15)) != 0
}

/// Whether a condition is on that was undecided for a socket in this state, which user space has therefore heard of: a
/// client has no port before it is in SYN_SENT, and a listener's child may have no peer before it is in SYN_RECV.
#[inline(always)]
pub(crate) fn was_undecided(old: u8) -> bool {
    (FILTER_PORTS.load() != 0 || FILTER_NETWORKS.load() != 0)
        && (old == tcp_state::SYN_SENT || old == tcp_state::SYN_RECV)
}

#[inline(always)]
pub(crate) fn wants_time_wait() -> bool {
    NO_TIME_WAIT.load() == 0
}

#[inline(always)]
pub(crate) fn wants_requests() -> bool {
    NO_REQUESTS.load() == 0
}

/// Decides and does nothing else, for `BPF_PROG_TEST_RUN`: user space compares the answers with its own. Without the macro,
/// whose programs return 0.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn filter_decides(ctx: *mut c_void) -> i32 {
    let ctx = RawTracePointContext::new(ctx);
    let word = |index: usize| ctx.arg::<u64>(index);
    let addr =
        |first: u64, second: u64| [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32];
    let candidate = Candidate {
        laddr: addr(word(0), word(1)),
        raddr: addr(word(2), word(3)),
        lport: word(4) as u16,
        rport: (word(4) >> 16) as u16,
        family: (word(4) >> 32) as u16,
        is_listener: (word(4) >> 48) as u16 != 0,
        netns: word(5) as u32,
    };
    let (old, new) = (word(6) as u8, (word(6) >> 8) as u8);
    i32::from(candidate.is_wanted()) | (i32::from(wants_transition(old, new)) << 1)
}
