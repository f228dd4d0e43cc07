//! Which members of the kernel's structures the kernel half wants, and what else it must be told about this kernel.
//!
//! rustc emits no CO-RE relocations: each offset becomes a read-only global of the kernel half. A member that is
//! not what the kernel half loads (size, kind, no bit-field) is an error, not a guess.

use tcptrace_common::reset_reason;

use super::{
    error::BtfProblem,
    types::{
        Kind::{self, Bytes, Place, Pointer},
        Types,
    },
};

/// Name of a global of the kernel half and its value.
pub(super) type Offset = (&'static str, u32);

/// Global of the kernel half, structure, path of members, kind.
type Wanted = (&'static str, &'static str, &'static str, Kind);

/// For the programs on `inet_sock_set_state`.
const FOR_STATES: [Wanted; 21] = [
    ("SKC_FAMILY", "sock", "__sk_common.skc_family", Bytes(2)),
    ("SKC_NUM", "sock", "__sk_common.skc_num", Bytes(2)),
    ("SKC_DPORT", "sock", "__sk_common.skc_dport", Bytes(2)),
    ("SKC_RCV_SADDR", "sock", "__sk_common.skc_rcv_saddr", Bytes(4)),
    ("SKC_DADDR", "sock", "__sk_common.skc_daddr", Bytes(4)),
    ("SKC_V6_RCV_SADDR", "sock", "__sk_common.skc_v6_rcv_saddr", Bytes(16)),
    ("SKC_V6_DADDR", "sock", "__sk_common.skc_v6_daddr", Bytes(16)),
    ("SKC_NET", "sock", "__sk_common.skc_net.net", Pointer),
    ("SKC_STATE", "sock", "__sk_common.skc_state", Bytes(1)),
    ("SKC_COOKIE", "sock", "__sk_common.skc_cookie", Bytes(8)),
    ("INET_SPORT", "inet_sock", "inet_sport", Bytes(2)),
    ("SK_PROTOCOL", "sock", "sk_protocol", Bytes(2)),
    ("SK_UID", "sock", "sk_uid", Bytes(4)),
    ("SK_ERR", "sock", "sk_err", Bytes(4)),
    ("SKC_FLAGS", "sock", "__sk_common.skc_flags", Bytes(8)),
    ("NET_NS_INUM", "net", "ns.inum", Bytes(4)),
    ("TASK_PID", "task_struct", "pid", Bytes(4)),
    ("TASK_TGID", "task_struct", "tgid", Bytes(4)),
    ("TASK_FLAGS", "task_struct", "flags", Bytes(4)),
    ("TASK_GROUP_LEADER", "task_struct", "group_leader", Pointer),
    ("TASK_START_BOOTTIME", "task_struct", "start_boottime", Bytes(8)),
];

/// For the programs that follow time-wait and request sockets, besides.
const FOR_MINIS: [Wanted; 7] = [
    ("TIMER_FUNCTION", "timer_list", "function", Pointer),
    ("TIMER_EXPIRES", "timer_list", "expires", Bytes(8)),
    ("TIMER_PPREV", "timer_list", "entry.pprev", Pointer),
    ("TW_TIMER", "inet_timewait_sock", "tw_timer", Place),
    ("TW_SUBSTATE", "inet_timewait_sock", "tw_substate", Bytes(1)),
    ("SKC_LISTENER", "sock", "__sk_common.skc_listener", Pointer),
    ("RSK_TIMER", "request_sock", "rsk_timer", Place),
];

/// For the programs that see accepts, besides.
const FOR_ACCEPTS: [Wanted; 5] = [
    ("TASK_FILES", "task_struct", "files", Pointer),
    ("FILES_FDT", "files_struct", "fdt", Pointer),
    ("FDTABLE_FD", "fdtable", "fd", Pointer),
    ("FILE_PRIVATE_DATA", "file", "private_data", Pointer),
    ("SOCKET_SK", "socket", "sk", Pointer),
];

/// For the program on `tcp_send_reset`, besides.
const FOR_RESETS: [Wanted; 3] = [
    ("SKB_HEAD", "sk_buff", "head", Pointer),
    ("SKB_NETWORK_HEADER", "sk_buff", "network_header", Bytes(2)),
    ("SKB_TRANSPORT_HEADER", "sk_buff", "transport_header", Bytes(2)),
];

/// Where user space made a system call: members of `pt_regs`, which are an interface of the kernel's (ptrace).
#[cfg(target_arch = "x86_64")]
pub(super) const USER_REGISTERS: [Offset; 4] =
    [("REGISTER_IP", 128), ("REGISTER_SP", 152), ("REGISTER_FP", 32), ("REGISTER_LR", 128)];

/// See above.
#[cfg(target_arch = "aarch64")]
pub(super) const USER_REGISTERS: [Offset; 4] =
    [("REGISTER_IP", 256), ("REGISTER_SP", 248), ("REGISTER_FP", 29 * 8), ("REGISTER_LR", 30 * 8)];

impl Types {
    /// Whether programs on this kernel may call `bpf_NAME`; it may be refused to some of them.
    pub(super) fn has_helper(&self, name: &str) -> bool {
        self.enumerators("bpf_func_id").iter().any(|(known, _)| known.strip_prefix("BPF_FUNC_") == Some(name))
    }

    /// Offsets for the state programs.
    pub(super) fn for_states(&self) -> Result<Vec<Offset>, BtfProblem> {
        self.all(&FOR_STATES)
    }

    /// Offsets for the programs that follow time-wait and request sockets.
    pub(super) fn for_minis(&self) -> Result<Vec<Offset>, BtfProblem> {
        let mut offsets = self.all(&FOR_MINIS)?;
        // Linux >= 6.14. Without it the kernel half says that the stamp is unknown.
        let stamp = self.offset_of("inet_timewait_sock", "tw_entry_stamp", Bytes(4));
        offsets.push(("TW_ENTRY_STAMP", stamp.unwrap_or(0)));
        let (byte, mask) = self.bit_of("inet_request_sock", "acked")?;
        offsets.extend([("IR_ACKED_BYTE", byte), ("IR_ACKED_MASK", mask)]);
        Ok(offsets)
    }

    /// Offsets for the programs that see accepts.
    pub(super) fn for_accepts(&self) -> Result<Vec<Offset>, BtfProblem> {
        self.all(&FOR_ACCEPTS)
    }

    /// Offsets for the program that sees resets.
    pub(super) fn for_resets(&self) -> Result<Vec<Offset>, BtfProblem> {
        self.all(&FOR_RESETS)
    }

    /// Our number of a reset's reason for each of this kernel's; `None` when it gives no reasons (before Linux 6.10).
    pub(super) fn reset_reasons(&self) -> Option<[u8; reset_reason::TABLE]> {
        if self.tracepoint_arguments("tcp_send_reset") != Some(3) {
            return None;
        }
        let mut ours = [0; reset_reason::TABLE];
        for (name, value) in self.enumerators("sk_rst_reason") {
            let place = name
                .strip_prefix("SK_RST_REASON_")
                .and_then(|name| reset_reason::NAMES.iter().position(|known| *known == name));
            let number = place.and_then(|place| u8::try_from(place + 1).ok());
            let entry = usize::try_from(value).ok().and_then(|value| ours.get_mut(value));
            if let (Some(number), Some(entry)) = (number, entry) {
                *entry = number;
            }
        }
        Some(ours)
    }

    fn all(&self, wanted: &[Wanted]) -> Result<Vec<Offset>, BtfProblem> {
        let offset =
            |(global, structure, path, kind): &Wanted| Ok((*global, self.offset_of(structure, path, *kind)?));
        wanted.iter().map(offset).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::types::VMLINUX, *};

    #[test]
    fn this_kernel_has_everything_that_is_wanted() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("SKIPPED: this kernel has no {VMLINUX}");
            return;
        }
        let types = Types::of_the_kernel().expect("is BTF");
        let offsets = types.for_states().expect("every member is found");
        assert_eq!(offsets.len(), FOR_STATES.len());
        assert_eq!(types.for_minis().expect("every member is found").len(), FOR_MINIS.len() + 3);
        assert_eq!(types.for_accepts().expect("every member is found").len(), FOR_ACCEPTS.len());
        assert_eq!(types.for_resets().expect("every member is found").len(), FOR_RESETS.len());
        // include/net/sock.h: the addresses come first, "addresses and ports must be at the head".
        assert!(offsets.contains(&("SKC_DADDR", 0)), "{offsets:?}");
        assert!(offsets.contains(&("SKC_RCV_SADDR", 4)), "{offsets:?}");
        // include/net/rstreason.h: the first ones have not moved.
        if let Some(reasons) = types.reset_reasons() {
            assert_eq!(reasons[..2], [1, 2]);
            let known = reasons.iter().filter(|reason| **reason != 0).count();
            assert!(known >= 10, "{reasons:?}");
        }
    }
}
