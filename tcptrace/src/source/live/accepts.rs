//! Learning who accepts a connection: at `inet_csk_accept`, or at the exit of the system call.

use std::fmt;

use aya::{Btf, Ebpf};

use super::{
    error::OpenError,
    ftrace,
    object::{Globals, attach_tracepoint},
    programs::{Link, Typed},
    tracefs,
    types::Types,
};

/// How to learn who accepts a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptChoice {
    /// The best that the kernel gives.
    #[default]
    Auto,
    /// At the kernel's own function, or an error.
    Fexit,
    /// At the exits of the system calls, or an error.
    Syscall,
    /// Not at all.
    Off,
}

/// How it is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptWay {
    /// At `inet_csk_accept`.
    Fexit,
    /// At the exits of `accept` and `accept4`.
    Syscall,
    /// Not at all.
    Off,
}

impl AcceptWay {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Syscall => "syscall",
            Self::Off => "off",
        }
    }
}

/// The way that is used, and why none of the better ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// The way.
    pub way: AcceptWay,
    /// Why each better way is not used, best first.
    pub reasons: Vec<(AcceptWay, String)>,
}

impl Accepts {
    pub(super) const OFF: Self = Self { way: AcceptWay::Off, reasons: Vec::new() };
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            AcceptWay::Fexit => "who accepts is seen at inet_csk_accept (fexit)",
            AcceptWay::Syscall => {
                "who accepts is seen at the exits of accept and accept4, which costs each system call of the host \
                 about 90 ns (see --accept) and does not see io_uring"
            }
            AcceptWay::Off => "who accepts is not seen: until it closes, a connection is its listener's owner's",
        })?;
        for (way, reason) in &self.reasons {
            write!(f, "; not {}: {reason}", way.name())?;
        }
        Ok(())
    }
}

const FUNCTION: &str = "inet_csk_accept";
const FEXIT: Typed = Typed::exit("accept_fexit", FUNCTION);
const SYSCALL_PROGRAM: &str = "accept_exit";
const SYSCALLS: [&str; 2] = ["sys_exit_accept", "sys_exit_accept4"];

/// The steps of one start.
pub(super) struct AcceptLadder {
    choice: AcceptChoice,
    left: Vec<AcceptWay>,
    reasons: Vec<(AcceptWay, String)>,
    /// Why the programs cannot know what they need.
    unknown: Option<String>,
}

impl AcceptLadder {
    /// Sets what the programs want to know, as far as it can be known.
    pub(super) fn new(choice: AcceptChoice, types: &Types, globals: &mut Globals) -> Self {
        let unknown = match types.for_accepts() {
            Ok(offsets) => {
                globals.offsets.extend(offsets);
                None
            }
            Err(problem) => Some(problem.to_string()),
        };
        globals.accept_has_two_arguments = types.function_arguments(FUNCTION) == Some(2);
        let left = match choice {
            AcceptChoice::Auto => vec![AcceptWay::Fexit, AcceptWay::Syscall],
            AcceptChoice::Fexit => vec![AcceptWay::Fexit],
            AcceptChoice::Syscall => vec![AcceptWay::Syscall],
            AcceptChoice::Off => Vec::new(),
        };
        Self { choice, left, reasons: Vec::new(), unknown }
    }

    /// Has the kernel verify what takes long. Climbs down where it refuses.
    pub(super) fn load(&mut self, ebpf: &mut Ebpf, btf: &Btf, has_cookies: bool) {
        if !has_cookies {
            self.unknown = Some("it needs socket cookies (Linux 5.12)".to_owned());
        }
        while self.left.first() == Some(&AcceptWay::Fexit) {
            let loaded = match self.unknown.clone().or_else(ftrace::Switch::refusal) {
                Some(reason) => Err(reason),
                None => FEXIT.load(ebpf, btf).map_err(|error| error.of_this_kind()),
            };
            match loaded {
                Ok(()) => break,
                Err(reason) => self.give_up(reason),
            }
        }
    }

    /// Attaches the first step that can be.
    pub(super) fn attach(
        mut self,
        ebpf: &mut Ebpf,
        ring_size: u32,
    ) -> Result<(Accepts, Vec<Link>), OpenError> {
        while let Some(way) = self.left.first().copied() {
            let links = match (&self.unknown, way) {
                (Some(reason), _) => Err(reason.clone()),
                (None, AcceptWay::Fexit) => {
                    FEXIT.attach(ebpf).map(|link| vec![link]).map_err(|error| error.of_this_kind())
                }
                (None, _) => attach_to_syscalls(ebpf, ring_size).map_err(|error| error.of_this_kind()),
            };
            match links {
                Ok(links) => return Ok((Accepts { way, reasons: self.reasons }, links)),
                Err(reason) => self.give_up(reason),
            }
        }
        let accepts = Accepts { way: AcceptWay::Off, reasons: self.reasons };
        match self.choice {
            AcceptChoice::Auto | AcceptChoice::Off => Ok((accepts, Vec::new())),
            _ => Err(OpenError::Accept { accepts }),
        }
    }

    fn give_up(&mut self, reason: String) {
        let way = self.left.remove(0);
        self.reasons.push((way, reason));
    }
}

fn attach_to_syscalls(ebpf: &mut Ebpf, ring_size: u32) -> Result<Vec<Link>, OpenError> {
    tracefs::find_or_mount()?;
    SYSCALLS
        .iter()
        .map(|tracepoint| attach_tracepoint(ebpf, SYSCALL_PROGRAM, "syscalls", tracepoint, ring_size))
        .collect()
}
