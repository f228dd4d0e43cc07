//! Loading and attaching single programs of the kernel half.

use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, FEntry, FExit, Program, ProgramError, fentry::FEntryLink, fexit::FExitLink,
        tp_btf::BtfTracePointLink, trace_point::TracePointLink,
    },
};

use super::error::OpenError;

/// A program that the kernel's types say where to attach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed {
    /// Its name in the object.
    pub(super) program: &'static str,
    /// The tracepoint or function.
    pub(super) target: &'static str,
    pub(super) place: Place,
}

/// Where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At a tracepoint.
    Tracepoint,
    /// Where a function begins.
    Entry,
    /// Where it returns.
    Exit,
}

impl Typed {
    pub(super) const fn tracepoint(program: &'static str, target: &'static str) -> Self {
        Self { program, target, place: Place::Tracepoint }
    }

    pub(super) const fn entry(program: &'static str, target: &'static str) -> Self {
        Self { program, target, place: Place::Entry }
    }

    pub(super) const fn exit(program: &'static str, target: &'static str) -> Self {
        Self { program, target, place: Place::Exit }
    }

    /// Has the kernel verify and take it. Nothing runs yet.
    pub(super) fn load(self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), OpenError> {
        let Self { program: name, target, place } = self;
        let (what, result) = match place {
            Place::Tracepoint => {
                let program: &mut BtfTracePoint = program(ebpf, name)?;
                ("load a BTF-typed tracepoint program", program.load(target, btf))
            }
            Place::Entry => {
                let program: &mut FEntry = program(ebpf, name)?;
                ("load an fentry program", program.load(target, btf))
            }
            Place::Exit => {
                let program: &mut FExit = program(ebpf, name)?;
                ("load an fexit program", program.load(target, btf))
            }
        };
        // Loaded by an earlier try.
        match result {
            Err(ProgramError::AlreadyLoaded) => Ok(()),
            // The maps are made by now: it is not the ring's size.
            result => result.map_err(|error| OpenError::from_aya(what, 0, error)),
        }
    }

    /// Lets it run.
    pub(super) fn attach(self, ebpf: &mut Ebpf) -> Result<Link, OpenError> {
        let name = self.program;
        let (what, result) = match self.place {
            Place::Tracepoint => {
                let program: &mut BtfTracePoint = program(ebpf, name)?;
                let link = program.attach().and_then(|id| program.take_link(id));
                ("attach to a tracepoint", link.map(Link::Tracepoint))
            }
            Place::Entry => {
                let program: &mut FEntry = program(ebpf, name)?;
                let link = program.attach().and_then(|id| program.take_link(id));
                ("attach an fentry program", link.map(Link::Entry))
            }
            Place::Exit => {
                let program: &mut FExit = program(ebpf, name)?;
                let link = program.attach().and_then(|id| program.take_link(id));
                ("attach an fexit program", link.map(Link::Exit))
            }
        };
        result.map_err(|error| OpenError::from_aya(what, 0, error))
    }
}

/// What keeps a program attached. Dropping it detaches; the program and its counters stay.
pub(super) enum Link {
    Tracepoint(#[expect(dead_code, reason = "held for its drop")] BtfTracePointLink),
    Classic(#[expect(dead_code, reason = "held for its drop")] TracePointLink),
    Entry(#[expect(dead_code, reason = "held for its drop")] FEntryLink),
    Exit(#[expect(dead_code, reason = "held for its drop")] FExitLink),
}

/// A program of the object by name.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, OpenError>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(OpenError::Object(name))
}
