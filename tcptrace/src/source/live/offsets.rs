//! Where the members of `struct sock` are, from the running kernel's BTF.
//!
//! rustc emits no CO-RE relocations: each offset becomes a read-only global of the kernel half. A member that is
//! not what the kernel half loads (size, kind, no bit-field) is an error, not a guess.

use btf_rs::{Backend, Btf, BtfType, Member, Struct, Type};

use super::error::BtfProblem;

/// The kernel's own types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What the kernel half loads from a member.
#[derive(Clone, Copy)]
enum Kind {
    /// An integer, or a struct that wraps one (`kuid_t`), or an array of integers.
    Bytes(usize),
    /// A pointer.
    Pointer,
    /// A structure, of which only the place is of interest.
    Place,
}

/// Global of the kernel half, structure, path of members, kind.
const WANTED: [(&str, &str, &str, Kind); 13] = [
    ("SKC_FAMILY", "sock", "__sk_common.skc_family", Kind::Bytes(2)),
    ("SKC_NUM", "sock", "__sk_common.skc_num", Kind::Bytes(2)),
    ("SKC_DPORT", "sock", "__sk_common.skc_dport", Kind::Bytes(2)),
    ("SKC_RCV_SADDR", "sock", "__sk_common.skc_rcv_saddr", Kind::Bytes(4)),
    ("SKC_DADDR", "sock", "__sk_common.skc_daddr", Kind::Bytes(4)),
    ("SKC_V6_RCV_SADDR", "sock", "__sk_common.skc_v6_rcv_saddr", Kind::Bytes(16)),
    ("SKC_V6_DADDR", "sock", "__sk_common.skc_v6_daddr", Kind::Bytes(16)),
    ("SKC_NET", "sock", "__sk_common.skc_net.net", Kind::Pointer),
    ("INET_SPORT", "inet_sock", "inet_sport", Kind::Bytes(2)),
    ("SK_PROTOCOL", "sock", "sk_protocol", Kind::Bytes(2)),
    ("SK_UID", "sock", "sk_uid", Kind::Bytes(4)),
    ("SK_ERR", "sock", "sk_err", Kind::Bytes(4)),
    ("NET_NS_INUM", "net", "ns.inum", Kind::Bytes(4)),
];

/// Name of a global of the kernel half and its value.
pub(super) type Offset = (&'static str, u32);

/// The same for the programs that follow time-wait sockets by their timer.
const WANTED_FOR_TIMERS: [(&str, &str, &str, Kind); 5] = [
    ("TIMER_FUNCTION", "timer_list", "function", Kind::Pointer),
    ("TIMER_EXPIRES", "timer_list", "expires", Kind::Bytes(8)),
    ("TW_TIMER", "inet_timewait_sock", "tw_timer", Kind::Place),
    ("TW_SUBSTATE", "inet_timewait_sock", "tw_substate", Kind::Bytes(1)),
    ("SKC_COOKIE", "sock", "__sk_common.skc_cookie", Kind::Bytes(8)),
];

/// The kernel's own types.
pub(super) struct Types(Btf);

impl Types {
    /// Reads them.
    pub(super) fn of_the_kernel() -> Result<Self, BtfProblem> {
        // Mapping it parses only what is asked for; kernels before 6.16 cannot map it.
        Btf::from_file_with_backend(VMLINUX, Backend::Mmap)
            .or_else(|_| Btf::from_file(VMLINUX))
            .map(Self)
            .map_err(|source| BtfProblem::Unreadable { path: VMLINUX, source })
    }

    /// Offsets for the state programs.
    pub(super) fn offsets(&self) -> Result<Vec<Offset>, BtfProblem> {
        self.all(&WANTED)
    }

    /// Offsets for the timer programs.
    pub(super) fn timer_offsets(&self) -> Result<Vec<Offset>, BtfProblem> {
        let mut offsets = self.all(&WANTED_FOR_TIMERS)?;
        // Linux >= 6.14. Without it the kernel half says that the stamp is unknown.
        let stamp = offset_of(&self.0, "inet_timewait_sock", "tw_entry_stamp", Kind::Bytes(4));
        offsets.push(("TW_ENTRY_STAMP", stamp.unwrap_or(0)));
        Ok(offsets)
    }

    fn all(&self, wanted: &[(&'static str, &str, &str, Kind)]) -> Result<Vec<Offset>, BtfProblem> {
        let offset = |(global, structure, path, kind): &(&'static str, &str, &str, Kind)| {
            Ok((*global, offset_of(&self.0, structure, path, *kind)?))
        };
        wanted.iter().map(offset).collect()
    }
}

fn offset_of(btf: &Btf, structure: &str, path: &str, kind: Kind) -> Result<u32, BtfProblem> {
    let problem = |found: &str| BtfProblem::Member {
        member: format!("{structure}.{path}"),
        found: found.to_owned(),
        wanted: match kind {
            Kind::Bytes(size) => format!("{size} bytes of integers"),
            Kind::Pointer => "a pointer".to_owned(),
            Kind::Place => "a structure".to_owned(),
        },
    };
    let mut holder = btf
        .resolve_types_by_name(structure)
        .unwrap_or_default()
        .into_iter()
        .find(|found| matches!(found, Type::Struct(_)))
        .ok_or_else(|| problem("missing"))?;
    let mut bits = 0;
    for name in path.split('.') {
        let (Type::Struct(members) | Type::Union(members)) = &holder else {
            return Err(problem("not in a structure"));
        };
        let (at, member) = find_member(btf, members, name).ok_or_else(|| problem("missing"))?;
        if member.bitfield_size().is_some_and(|size| size != 0) {
            return Err(problem("a bit-field"));
        }
        bits += at;
        holder = without_modifiers(btf, &member).ok_or_else(|| problem("of no type"))?;
    }
    let fits = match kind {
        Kind::Pointer => matches!(holder, Type::Ptr(_)),
        Kind::Place => matches!(holder, Type::Struct(_)),
        Kind::Bytes(size) => size_of_type(btf, &holder) == Some(size),
    };
    if !fits || bits % 8 != 0 {
        return Err(problem(&format!(
            "{} of {:?} bytes at bit {bits}",
            holder.name(),
            size_of_type(btf, &holder)
        )));
    }
    Ok(bits / 8)
}

/// A member by name, those of anonymous structs and unions included, with its offset in bits.
fn find_member(btf: &Btf, holder: &Struct, name: &str) -> Option<(u32, Member)> {
    for member in &holder.members {
        let member_name = btf.resolve_name(member).unwrap_or_default();
        if member_name == name {
            return Some((member.bit_offset(), member.clone()));
        }
        if member_name.is_empty()
            && let Some(Type::Struct(inner) | Type::Union(inner)) = without_modifiers(btf, member)
            && let Some((at, found)) = find_member(btf, &inner, name)
        {
            return Some((member.bit_offset() + at, found));
        }
    }
    None
}

/// The type behind typedefs and qualifiers.
fn without_modifiers(btf: &Btf, from: &dyn BtfType) -> Option<Type> {
    let mut found = btf.resolve_chained_type(from).ok()?;
    // A chain of modifiers is short; a malformed one must not be endless.
    for _ in 0..32 {
        match &found {
            Type::Typedef(_) | Type::Const(_) | Type::Volatile(_) | Type::Restrict(_) | Type::TypeTag(_) => {
                found = btf.resolve_chained_type(found.as_btf_type()?).ok()?;
            }
            _ => return Some(found),
        }
    }
    None
}

fn size_of_type(btf: &Btf, of: &Type) -> Option<usize> {
    match of {
        Type::Int(int) => Some(int.size()),
        Type::Enum(enumeration) => Some(enumeration.size()),
        Type::Struct(members) | Type::Union(members) => Some(members.size()),
        Type::Array(array) => size_of_type(btf, &without_modifiers(btf, array)?)?.checked_mul(array.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_everything_that_is_wanted() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("SKIPPED: this kernel has no {VMLINUX}");
            return;
        }
        let types = Types::of_the_kernel().expect("is BTF");
        let offsets = types.offsets().expect("every member is found");
        assert_eq!(offsets.len(), WANTED.len());
        assert_eq!(types.timer_offsets().expect("every member is found").len(), WANTED_FOR_TIMERS.len() + 1);
        // include/net/sock.h: the addresses come first, "addresses and ports must be at the head".
        assert!(offsets.contains(&("SKC_DADDR", 0)), "{offsets:?}");
        assert!(offsets.contains(&("SKC_RCV_SADDR", 4)), "{offsets:?}");
    }

    #[test]
    fn what_is_not_there_or_of_another_kind_is_named() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("SKIPPED: this kernel has no {VMLINUX}");
            return;
        }
        let btf = Btf::from_file(VMLINUX).expect("is BTF");
        for (path, kind) in [
            ("sk_nothing", Kind::Bytes(4)),
            ("sk_err", Kind::Bytes(2)),
            ("sk_err", Kind::Pointer),
            ("sk_err.x", Kind::Pointer),
        ] {
            let error = offset_of(&btf, "sock", path, kind).expect_err("must be refused").to_string();
            assert!(error.contains(path), "{error}");
        }
        assert!(offset_of(&btf, "no_such_struct", "x", Kind::Pointer).is_err());
    }
}
