//! Loading the kernel half and attaching one of its programs.

use std::{fs, os::fd::AsFd as _, path::Path};

use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{
        BtfTracePoint, FEntry, FExit, Program, ProgramError, TracePoint, fentry::FEntryLink, fexit::FExitLink,
        tp_btf::BtfTracePointLink, trace_point::TracePointLink,
    },
};
use tcptrace_common::reset_reason;

use super::{
    Hook, HookChoice, Lifecycle, LifecycleChoice, Settings, Way,
    error::{BtfProblem, OpenError},
    format,
    lifecycle::{Prepared, TIMER_PROGRAMS},
    misses::Misses,
    offsets::Offset,
    tracefs,
    types::{self, Types},
};

/// The committed object, `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/tcptrace.bpf.o");

const CATEGORY: &str = "sock";
const TRACEPOINT: &str = "inet_sock_set_state";
const BTF_PROGRAM: &str = "state_btf";
const BTF_BACKUP: &str = "state_btf_backup";
const CLASSIC_PROGRAM: &str = "state_classic";

/// `log::Level` as aya-log-ebpf numbers it: nothing, or up to debug.
const LOG_OFF: u8 = 0;
const LOG_DEBUG: u8 = 4;

/// The kernel half, loaded.
pub(super) struct Attached {
    pub(super) ebpf: Ebpf,
    /// Dropping it detaches; the program and its counters stay until `ebpf` goes.
    pub(super) links: Vec<Link>,
    pub(super) hook: Hook,
    pub(super) lifecycle: Lifecycle,
    /// Whether `tcp:tcp_send_reset` is seen.
    pub(super) sees_resets: bool,
    /// Whether `tcp:tcp_destroy_sock` is seen.
    pub(super) sees_destruction: bool,
}

/// What keeps a program attached.
pub(super) enum Link {
    Btf(#[expect(dead_code, reason = "held for its drop")] BtfTracePointLink),
    Classic(#[expect(dead_code, reason = "held for its drop")] TracePointLink),
    Entry(#[expect(dead_code, reason = "held for its drop")] FEntryLink),
    Exit(#[expect(dead_code, reason = "held for its drop")] FExitLink),
}

/// Attaches the best hook that this kernel gives, or the one that is asked for.
pub(super) fn attach(settings: &Settings) -> Result<Attached, OpenError> {
    match settings.hook {
        HookChoice::Classic => attach_classic(settings),
        HookChoice::Btf => attach_btf(settings),
        HookChoice::Auto => attach_btf(settings).or_else(|error| match error {
            OpenError::Btf(_) => {
                tracing::warn!(
                    "{error}: using the classic tracepoint; cookie, netns, uid and end causes stay unknown"
                );
                attach_classic(settings)
            }
            other => Err(other),
        }),
    }
}

fn attach_btf(settings: &Settings) -> Result<Attached, OpenError> {
    let types = Types::of_the_kernel()?;
    let mut globals = Globals { offsets: types.for_states()?, ..Globals::default() };
    let ladder = Prepared::new(settings.lifecycle, &types, &mut globals);
    let has_resets = types.for_resets().map(|offsets| globals.offsets.extend(offsets)).is_ok();
    globals.reset_reasons = types.reset_reasons();
    let btf = Btf::from_sys_fs().map_err(|error| {
        let source = btf_rs::Error::Format(error.to_string());
        BtfProblem::Unreadable { path: types::VMLINUX, source }
    })?;
    globals.cookie = true;
    let (mut ebpf, mut links) = match attach_state(settings, &globals, &btf) {
        // The verifier knows the helper here since Linux 5.12.
        Err(OpenError::Load { source, .. }) => {
            tracing::warn!("no socket cookies on this kernel: sockets are told apart by address");
            tracing::debug!("with bpf_get_socket_cookie: {source}");
            globals.cookie = false;
            attach_state(settings, &globals, &btf)?
        }
        result => result?,
    };
    let (lifecycle, more) = ladder.attach(&mut ebpf, &btf, globals.cookie)?;
    links.extend(more);
    let sees_resets = has_resets && optional(&mut ebpf, "send_reset_btf", "tcp_send_reset", &btf, &mut links);
    let sees_destruction =
        globals.cookie && optional(&mut ebpf, "destroy_btf", "tcp_destroy_sock", &btf, &mut links);
    let hook = Hook::Btf { cookie: globals.cookie };
    Ok(Attached { ebpf, links, hook, lifecycle, sees_resets, sees_destruction })
}

fn attach_state(settings: &Settings, globals: &Globals, btf: &Btf) -> Result<(Ebpf, Vec<Link>), OpenError> {
    let mut ebpf = load(settings, globals)?;
    let mut links = Vec::new();
    // In this order: the backup reports what the first one has not taken before it.
    for name in [BTF_PROGRAM, BTF_BACKUP] {
        links.push(attach_typed(&mut ebpf, name, TRACEPOINT, btf)?);
    }
    // Detached in the opposite order, so that the backup never works alone.
    links.reverse();
    Ok((ebpf, links))
}

/// Attaches what makes causes and ends more exact where the kernel has it. Returns whether it does.
fn optional(
    ebpf: &mut Ebpf,
    name: &'static str,
    tracepoint: &str,
    btf: &Btf,
    links: &mut Vec<Link>,
) -> bool {
    match attach_typed(ebpf, name, tracepoint, btf) {
        Ok(link) => {
            links.push(link);
            true
        }
        Err(error) => {
            tracing::info!("tcp:{tracepoint} is not seen: {error}");
            false
        }
    }
}

pub(super) fn attach_typed(
    ebpf: &mut Ebpf,
    name: &'static str,
    tracepoint: &str,
    btf: &Btf,
) -> Result<Link, OpenError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.load(tracepoint, btf).map_err(|error| refused("load a BTF-typed tracepoint program", error))?;
    let link = program.attach().and_then(|id| program.take_link(id));
    link.map(Link::Btf).map_err(|error| refused("attach to a tracepoint", error))
}

pub(super) fn attach_entry(
    ebpf: &mut Ebpf,
    name: &'static str,
    function: &str,
    btf: &Btf,
) -> Result<Link, OpenError> {
    let program: &mut FEntry = program(ebpf, name)?;
    program.load(function, btf).map_err(|error| refused("load an fentry program", error))?;
    let link = program.attach().and_then(|id| program.take_link(id));
    link.map(Link::Entry).map_err(|error| refused("attach an fentry program", error))
}

pub(super) fn attach_exit(
    ebpf: &mut Ebpf,
    name: &'static str,
    function: &str,
    btf: &Btf,
) -> Result<Link, OpenError> {
    let program: &mut FExit = program(ebpf, name)?;
    program.load(function, btf).map_err(|error| refused("load an fexit program", error))?;
    let link = program.attach().and_then(|id| program.take_link(id));
    link.map(Link::Exit).map_err(|error| refused("attach an fexit program", error))
}

/// From a program that the kernel does not take; the maps are made by then.
fn refused(what: &'static str, error: ProgramError) -> OpenError {
    OpenError::from_aya(what, 0, error)
}

fn attach_classic(settings: &Settings) -> Result<Attached, OpenError> {
    let tracefs = tracefs::find_or_mount()?;
    let path = tracefs.join("events").join(CATEGORY).join(TRACEPOINT).join("format");
    let text =
        fs::read_to_string(&path).map_err(|source| OpenError::Format { path: path.clone(), source })?;
    let offsets = format::offsets(&text).map_err(|problem| OpenError::Layout { path, problem })?;
    let mut ebpf = load(settings, &Globals { offsets, ..Globals::default() })?;
    let program: &mut TracePoint = program(&mut ebpf, CLASSIC_PROGRAM)?;
    program
        .load()
        .map_err(|error| OpenError::from_aya("load the tracepoint program", settings.ring_size, error))?;
    let link =
        program.attach(CATEGORY, TRACEPOINT).and_then(|id| program.take_link(id)).map_err(|error| {
            OpenError::from_aya("attach to sock:inet_sock_set_state", settings.ring_size, error)
        })?;
    let needs_btf = |way| (way, "it needs BTF".to_owned());
    let lifecycle =
        Lifecycle { way: Way::Off, reasons: [Way::Fentry, Way::Timer, Way::Sample].map(needs_btf).into() };
    let forced = !matches!(settings.lifecycle, LifecycleChoice::Auto | LifecycleChoice::Off);
    if forced {
        return Err(OpenError::Lifecycle { lifecycle });
    }
    Ok(Attached {
        ebpf,
        links: vec![Link::Classic(link)],
        hook: Hook::Classic,
        lifecycle,
        sees_resets: false,
        sees_destruction: false,
    })
}

/// Load-time constants of the kernel half.
#[derive(Default)]
pub(super) struct Globals {
    pub(super) offsets: Vec<Offset>,
    pub(super) addresses: Vec<(&'static str, u64)>,
    cookie: bool,
    reset_reasons: Option<[u8; reset_reason::TABLE]>,
}

fn load(settings: &Settings, globals: &Globals) -> Result<Ebpf, OpenError> {
    let (mptcp, have_cookie) = (u8::from(settings.mptcp), u8::from(globals.cookie));
    let log_level = if settings.kernel_log { LOG_DEBUG } else { LOG_OFF };
    let mut loader = EbpfLoader::new();
    // The object has no relocations against kernel types: offsets come as globals.
    loader
        .btf(None)
        .map_max_entries("EVENTS", settings.ring_size)
        .override_global("MPTCP", &mptcp, true)
        .override_global("HAVE_COOKIE", &have_cookie, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    for (name, address) in &globals.addresses {
        loader.override_global(name, address, true);
    }
    let have_reasons = u8::from(globals.reset_reasons.is_some());
    loader.override_global("HAVE_RESET_REASON", &have_reasons, true);
    if let Some(reasons) = &globals.reset_reasons {
        loader.override_global("RESET_REASONS", reasons, true);
    }
    for (name, offset) in &globals.offsets {
        loader.override_global(name, offset, true);
    }
    loader.load(OBJECT).map_err(|error| OpenError::from_aya("load the BPF object", settings.ring_size, error))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, OpenError>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(OpenError::Object(name))
}

/// The counter of skipped runs of the program behind `hook`.
pub(super) fn misses(ebpf: &Ebpf, hook: Hook) -> Option<Misses> {
    misses_of(ebpf, program_name(hook))
}

/// The counters of skipped runs of the programs that follow timers, where these are in use.
pub(super) fn timer_misses(ebpf: &Ebpf) -> Vec<Misses> {
    TIMER_PROGRAMS.iter().filter_map(|(name, _)| misses_of(ebpf, name)).collect()
}

fn misses_of(ebpf: &Ebpf, name: &str) -> Option<Misses> {
    let fd = match ebpf.program(name)? {
        Program::BtfTracePoint(program) => program.fd(),
        Program::TracePoint(program) => program.fd(),
        _ => return None,
    };
    Misses::of(fd.ok()?.as_fd())
}

const fn program_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Btf { .. } => BTF_PROGRAM,
        Hook::Classic => CLASSIC_PROGRAM,
    }
}

/// Whether a path exists and has something in it.
pub(super) fn is_populated(path: &Path) -> bool {
    path.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}
