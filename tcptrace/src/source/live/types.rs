//! The running kernel's own types (BTF): where members are, what is there.

use std::{cell::RefCell, collections::HashMap, fs, io::Write as _, os::fd::AsRawFd as _};

use btf_rs::{Backend, Btf, BtfType, Member, Struct, Type};
use rustix::fs::MemfdFlags;

use super::error::BtfProblem;

/// The kernel's own types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What the kernel half loads from a member.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// An integer, or a struct that wraps one (`kuid_t`), or an array of integers.
    Bytes(usize),
    /// A pointer.
    Pointer,
    /// A structure, of which only the place is of interest.
    Place,
}

/// The kernel's own types.
pub(super) struct Types {
    btf: Btf,
    /// What was asked for by name: finding one goes through all of them.
    named: RefCell<HashMap<String, Vec<u32>>>,
}

impl Types {
    /// Reads them.
    pub(super) fn of_the_kernel() -> Result<Self, BtfProblem> {
        // Mapping it parses only what is asked for (3 ms, and 1.3 ms a name, instead of 250); kernels before 6.16 cannot map it.
        Btf::from_file_with_backend(VMLINUX, Backend::Mmap)
            .or_else(|_| mapped_copy())
            .or_else(|_| Btf::from_file(VMLINUX))
            .map(Self::new)
            .map_err(|source| BtfProblem::Unreadable { path: VMLINUX, source })
    }

    fn new(btf: Btf) -> Self {
        Self { btf, named: RefCell::default() }
    }

    /// All types of this name.
    fn named(&self, name: &str) -> Vec<Type> {
        let mut named = self.named.borrow_mut();
        let ids = match named.get(name) {
            Some(ids) => ids,
            None => {
                named.entry(name.to_owned()).or_insert(self.btf.resolve_ids_by_name(name).unwrap_or_default())
            }
        };
        ids.iter().filter_map(|id| self.btf.resolve_type_by_id(*id).ok()).collect()
    }

    /// Bytes from the beginning of `structure` to the member at `path` (`member.member`), which must be of this kind.
    pub(super) fn offset_of(&self, structure: &str, path: &str, kind: Kind) -> Result<u32, BtfProblem> {
        offset_of(self, structure, path, kind)
    }

    /// The byte and the mask in it of a bit-field of one bit, on a little-endian machine.
    pub(super) fn bit_of(&self, structure: &str, name: &str) -> Result<(u32, u32), BtfProblem> {
        let problem = |found: &str| BtfProblem::Member {
            member: format!("{structure}.{name}"),
            found: found.to_owned(),
            wanted: "a bit".to_owned(),
        };
        let holder = find_struct(self, structure).ok_or_else(|| problem("missing"))?;
        let (bits, member) = find_member(&self.btf, &holder, name).ok_or_else(|| problem("missing"))?;
        if member.bitfield_size() != Some(1) {
            return Err(problem("no bit-field of one bit"));
        }
        Ok((bits / 8, 1 << (bits % 8)))
    }

    /// How many arguments the programs on a BTF-typed tracepoint see. `None` when it is not there.
    pub(super) fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        // typedef void (*btf_trace_NAME)(void *__data, arguments..);
        let mut found = self.named(&format!("btf_trace_{name}")).into_iter().next()?;
        for _ in 0..4 {
            if let Type::FuncProto(proto) = &found {
                return proto.parameters.len().checked_sub(1);
            }
            found = self.btf.resolve_chained_type(found.as_btf_type()?).ok()?;
        }
        None
    }

    /// How many arguments a function has. `None` when it is not there.
    pub(super) fn function_arguments(&self, name: &str) -> Option<usize> {
        let found = self.named(name);
        let function = found.iter().find(|found| matches!(found, Type::Func(_)))?;
        match self.btf.resolve_chained_type(function.as_btf_type()?).ok()? {
            Type::FuncProto(proto) => Some(proto.parameters.len()),
            _ => None,
        }
    }

    /// Whether there is a function of this name.
    pub(super) fn has_function(&self, name: &str) -> bool {
        let found = self.named(name);
        found.iter().any(|found| matches!(found, Type::Func(_)))
    }

    /// Names and values of an enumeration; empty when it is not there.
    pub(super) fn enumerators(&self, name: &str) -> Vec<(String, u32)> {
        let found = self.named(name);
        let members = found.iter().find_map(|found| match found {
            Type::Enum(enumeration) => Some(&enumeration.members),
            _ => None,
        });
        let members = members.into_iter().flatten();
        members.filter_map(|member| Some((self.btf.resolve_name(member).ok()?, member.val()))).collect()
    }
}

/// A copy in memory can be mapped.
fn mapped_copy() -> Result<Btf, btf_rs::Error> {
    let copy = rustix::fs::memfd_create("vmlinux.btf", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let mut copy = fs::File::from(copy);
    copy.write_all(&fs::read(VMLINUX)?)?;
    Btf::from_file_with_backend(format!("/proc/self/fd/{}", copy.as_raw_fd()), Backend::Mmap)
}

fn offset_of(types: &Types, structure: &str, path: &str, kind: Kind) -> Result<u32, BtfProblem> {
    let problem = |found: &str| BtfProblem::Member {
        member: format!("{structure}.{path}"),
        found: found.to_owned(),
        wanted: match kind {
            Kind::Bytes(size) => format!("{size} bytes of integers"),
            Kind::Pointer => "a pointer".to_owned(),
            Kind::Place => "a structure".to_owned(),
        },
    };
    let btf = &types.btf;
    let mut holder = find_struct(types, structure).map(Type::Struct).ok_or_else(|| problem("missing"))?;
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

/// A structure by name.
fn find_struct(types: &Types, name: &str) -> Option<Struct> {
    types.named(name).into_iter().find_map(|found| match found {
        Type::Struct(found) => Some(found),
        _ => None,
    })
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
    fn what_is_not_there_or_of_another_kind_is_named() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("SKIPPED: this kernel has no {VMLINUX}");
            return;
        }
        let types = Types::new(Btf::from_file(VMLINUX).expect("is BTF"));
        for (path, kind) in [
            ("sk_nothing", Kind::Bytes(4)),
            ("sk_err", Kind::Bytes(2)),
            ("sk_err", Kind::Pointer),
            ("sk_err.x", Kind::Pointer),
        ] {
            let error = offset_of(&types, "sock", path, kind).expect_err("must be refused").to_string();
            assert!(error.contains(path), "{error}");
        }
        assert!(offset_of(&types, "no_such_struct", "x", Kind::Pointer).is_err());
        assert!(types.bit_of("sock", "sk_err").is_err(), "it is no bit");
        assert_eq!(types.tracepoint_arguments("inet_sock_set_state"), Some(3));
        assert_eq!(types.tracepoint_arguments("no_such_tracepoint"), None);
        assert_eq!(types.function_arguments("tcp_set_state"), Some(2));
        assert_eq!(types.function_arguments("no_such_function"), None);
        assert!(types.has_function("tcp_set_state") && !types.has_function("no_such_function"));
        assert!(types.enumerators("no_such_enum").is_empty());
    }

    #[test]
    fn a_mapped_copy_says_the_same() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("SKIPPED: this kernel has no {VMLINUX}");
            return;
        }
        let parsed = Types::new(Btf::from_file(VMLINUX).expect("is BTF"));
        let mapped = Types::new(mapped_copy().expect("can be mapped"));
        for _ in 0..2 {
            for name in ["sock", "tcp_set_state", "btf_trace_inet_sock_set_state", "no_such_type"] {
                assert_eq!(parsed.named(name), mapped.named(name), "{name}");
            }
        }
    }
}
