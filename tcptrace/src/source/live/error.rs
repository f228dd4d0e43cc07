//! Why tracing cannot start, and what the person at the terminal can do about it.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use rustix::io::Errno;
use thiserror::Error;

use super::release;

/// Tracing cannot start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Capabilities are missing.
    #[error(
        "tracing needs {what}, which this process does not have; run it with sudo, or give the binary the \
         capabilities: sudo setcap cap_bpf,cap_perfmon=ep $(command -v tcptrace)"
    )]
    Capabilities {
        /// Each with what it is for.
        what: String,
    },
    /// The kernel refuses although the capabilities are there.
    #[error(
        "the kernel refused to {what} although the capabilities are there (EPERM); usual reasons: kernel lockdown in \
         confidentiality mode (cat /sys/kernel/security/lockdown), a container whose seccomp profile forbids bpf(2), \
         or, before Linux 5.11, a low limit on locked memory (ulimit -l unlimited)"
    )]
    Refused {
        /// The operation.
        what: &'static str,
    },
    /// No ring buffers.
    #[error(
        "this kernel ({release}) has no BPF ring buffers; tcptrace needs Linux 5.8 or a vendor kernel that has them"
    )]
    TooOld {
        /// `uname -r`
        release: String,
    },
    /// `--ring-size` is not one that the kernel takes.
    #[error("the kernel made no ring buffer of {size} bytes: {source}; choose another --ring-size")]
    Ring {
        /// Bytes asked for.
        size: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// No type information.
    #[error("no BTF: {0}; the kernel needs CONFIG_DEBUG_INFO_BTF, or use --hook classic")]
    Btf(#[from] BtfProblem),
    /// The way of following time-wait and half-open sockets that is asked for cannot be had.
    #[error("{lifecycle}; leave --lifecycle to auto")]
    Lifecycle {
        /// What there is, and why not more.
        lifecycle: super::Lifecycle,
    },
    /// The way of learning who accepts that is asked for cannot be had.
    #[error("{accepts}; leave --accept to auto")]
    Accept {
        /// What there is, and why not more.
        accepts: super::Accepts,
    },
    /// No tracefs.
    #[error(
        "classic tracepoints need tracefs, which is not mounted and could not be mounted ({0}); \
         mount it: sudo mount -t tracefs tracefs /sys/kernel/tracing"
    )]
    Tracefs(io::Error),
    /// A file of tracefs cannot be read.
    #[error(
        "cannot read {path}: {source}; the kernel needs CONFIG_FTRACE and Linux 4.16, and tracefs is for root"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tracepoint's record is not understood.
    #[error("{path}: {problem}: this kernel's tracepoint is not understood")]
    Layout {
        /// The `format` file.
        path: PathBuf,
        /// What is wrong with it.
        problem: super::format::FormatError,
    },
    /// Anything else that the kernel or the loader says.
    #[error("cannot {what}: {source}")]
    Load {
        /// The operation.
        what: &'static str,
        /// The loader's words, the verifier's included.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The reactor could not take the ring.
    #[error("cannot wait for the ring buffer: {0}")]
    Poll(io::Error),
    /// The embedded object lacks a part: a defect of this build.
    #[error("the embedded BPF object has no `{0}`: this build of tcptrace is broken")]
    Object(&'static str),
}

/// What is wrong with the kernel's BTF.
#[derive(Debug, Error)]
pub enum BtfProblem {
    /// Not there or not readable.
    #[error("{path} cannot be read ({source})")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// Why.
        source: btf_rs::Error,
    },
    /// A member is missing or not what it should be.
    #[error("{member} is {found}, not {wanted}")]
    Member {
        /// `struct.member.member`
        member: String,
        /// What the BTF says.
        found: String,
        /// What the kernel half expects.
        wanted: String,
    },
}

impl OpenError {
    /// The same after the kernel has taken programs of another kind: what would keep all of them out is not the reason.
    pub(super) fn of_this_kind(&self) -> String {
        match self {
            Self::Refused { what } => format!(
                "the kernel refused to {what} (EPERM) after it had taken others: it is hardened or locked down against \
                 these, or a policy forbids it"
            ),
            other => other.to_string(),
        }
    }

    /// From a failed load or attach.
    pub(super) fn from_aya(what: &'static str, ring_size: u32, error: impl Into<EbpfError>) -> Self {
        let error = error.into();
        if let EbpfError::MapError(MapError::CreateError { name, io_error }) = &error
            && name == "EVENTS"
            && io_error.kind() == io::ErrorKind::InvalidInput
        {
            // EINVAL: the map type is unknown. A size the kernel does not take gives ENOMEM or E2BIG.
            return Self::TooOld { release: release::release() };
        }
        match io_error_of(&error) {
            // EACCES is of the same kind, and is what the verifier answers: that has words of its own.
            Some(io_error) if io_error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                Self::Refused { what }
            }
            Some(io_error) if matches!(&error, EbpfError::MapError(MapError::CreateError { name, .. }) if name == "EVENTS") => {
                Self::Ring { size: ring_size, source: io::Error::new(io_error.kind(), io_error.to_string()) }
            }
            _ => {
                tracing::debug!("{error}");
                Self::Load { what, source: full_text(&error).into() }
            }
        }
    }
}

/// The system's answer at the bottom of an error.
fn io_error_of(error: &EbpfError) -> Option<&io::Error> {
    let direct = match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. })
        | EbpfError::ProgramError(ProgramError::LoadError { io_error, .. }) => Some(io_error),
        EbpfError::ProgramError(ProgramError::SyscallError(call)) => Some(&call.io_error),
        _ => None,
    };
    direct.or_else(|| find(error))
}

/// The first error of a type among an error and its causes.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with its causes. Of the verifier's words, which can fill pages, the verdict: the last that is no
/// statistics. All of them are in the log at `-vv`.
fn full_text(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(ProgramError::LoadError { io_error, verifier_log }) = find(error) {
        let log = verifier_log.to_string();
        let is_statistics = |line: &&str| {
            ["processed ", "verification time", "stack depth", "max_states"]
                .iter()
                .any(|word| line.starts_with(word))
        };
        let verdict =
            log.lines().rev().find(|line| !line.is_empty() && !is_statistics(line)).unwrap_or("no words");
        return format!("{io_error}; the verifier says: {verdict} (all of it: -vv)");
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
