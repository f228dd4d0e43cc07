//! Loading the kernel half and attaching one of its programs.

use std::{fs, os::fd::AsFd as _, path::Path};

use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{Program, ProgramError, TracePoint},
};
use tcptrace_common::reset_reason;

use super::{
    AcceptChoice, Accepts, Hook, HookChoice, Lifecycle, LifecycleChoice, Settings, Way,
    accepts::AcceptLadder,
    error::{BtfProblem, OpenError},
    filter, format,
    lifecycle::{self, Ladder},
    misses::Misses,
    offsets::{Offset, USER_REGISTERS},
    programs::{Link, Typed, program},
    release, tracefs,
    types::{self, Types},
};

use crate::model::Filter;

/// The committed object, `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/tcptrace.bpf.o");

const CATEGORY: &str = "sock";
const TRACEPOINT: &str = "inet_sock_set_state";
const STATE: Typed = Typed::tracepoint("state_btf", TRACEPOINT);
const BACKUP: Typed = Typed::tracepoint("state_btf_backup", TRACEPOINT);
const THIRD: Typed = Typed::tracepoint("state_btf_third", TRACEPOINT);
const RESETS: Typed = Typed::tracepoint("send_reset_btf", "tcp_send_reset");
const FORKS: Typed = Typed::tracepoint("fork_btf", "sched_process_fork");
const DESTRUCTION: Typed = Typed::tracepoint("destroy_btf", "tcp_destroy_sock");
const CLASSIC_PROGRAM: &str = "state_classic";
/// Global for the place of the socket's address, program, tracepoint.
const RESETS_CLASSIC: [(&str, &str, &str); 2] = [
    ("FMT_SENT_SKADDR", "send_reset_classic", "tcp_send_reset"),
    ("FMT_RECEIVED_SKADDR", "receive_reset_classic", "tcp_receive_reset"),
];

/// `log::Level` as aya-log-ebpf numbers it: nothing, or up to debug.
const LOG_OFF: u8 = 0;
const LOG_DEBUG: u8 = 4;

/// What makes causes, ends and filters more exact where the kernel has it, each with the reason where it is not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extras {
    /// That we send a reset: `tcp:tcp_send_reset`.
    pub resets: Result<(), String>,
    /// That a closed socket is let go by the last descriptor: `tcp:tcp_destroy_sock`.
    pub destruction: Result<(), String>,
    /// That a process makes another one: `sched:sched_process_fork`. `None` where no filter asks for processes.
    pub forks: Option<Result<(), String>>,
}

/// The kernel half, loaded.
pub(super) struct Attached {
    pub(super) ebpf: Ebpf,
    pub(super) links: Vec<Link>,
    pub(super) hook: Hook,
    pub(super) lifecycle: Lifecycle,
    pub(super) accepts: Accepts,
    pub(super) extras: Extras,
    /// Whether whose sockets are asked for is decided in the kernel half.
    pub(super) decides_owners: bool,
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
    let mut ladder = Ladder::new(settings.lifecycle, &types, &mut globals);
    let mut accepts = AcceptLadder::new(settings.accept, &types, &mut globals);
    let for_resets = types.for_resets().map(|offsets| globals.offsets.extend(offsets));
    globals.reset_reasons = types.reset_reasons();
    let btf = Btf::from_sys_fs().map_err(|error| {
        let source = btf_rs::Error::Format(error.to_string());
        BtfProblem::Unreadable { path: types::VMLINUX, source }
    })?;
    globals.cookie = true;
    globals.user_registers = types.has_helper("task_pt_regs");
    globals.offsets.extend(USER_REGISTERS);
    globals.cgroup = settings.cgroup.is_some();
    if globals.cgroup
        && let Err(error) = load_states(settings, &globals, &btf)
    {
        // The verifier knows the helper here since Linux 5.16.
        tracing::info!("the cgroup is not decided in the kernel: {error}");
        globals.cgroup = false;
    }
    let mut ebpf = match load_states(settings, &globals, &btf) {
        // The verifier knows the helper here since Linux 5.12.
        Err(OpenError::Load { source, .. }) => {
            tracing::warn!("no socket cookies on this kernel: sockets are told apart by address");
            tracing::debug!("with bpf_get_socket_cookie: {source}");
            globals.cookie = false;
            load_states(settings, &globals, &btf)?
        }
        result => result?,
    };
    // Loading takes long, attaching does not: what happens between the two is seen by some of the programs only.
    ladder.load(&mut ebpf, &btf, globals.cookie);
    accepts.load(&mut ebpf, &btf, globals.cookie);
    let has_cookies =
        if globals.cookie { Ok(()) } else { Err("it needs socket cookies (Linux 5.12)".to_owned()) };
    let extras = Extras {
        resets: for_resets
            .map_err(|problem| problem.to_string())
            .and_then(|()| load_optional(&mut ebpf, RESETS, &btf)),
        forks: settings.filter.processes.as_ref().map(|_| load_optional(&mut ebpf, FORKS, &btf)),
        destruction: has_cookies.and_then(|()| load_optional(&mut ebpf, DESTRUCTION, &btf)),
    };

    // In this order: each of them reports what those before it have not taken.
    let observers = observers();
    let links: Result<Vec<_>, _> = observers.iter().map(|observer| observer.attach(&mut ebpf)).collect();
    let mut links = links?;
    // Detached in the opposite order, so that a backup never works alone.
    links.reverse();
    // Before anything else: a child must be known before it does anything.
    if matches!(extras.forks, Some(Ok(()))) {
        links.push(FORKS.attach(&mut ebpf)?);
    }
    for (loaded, program) in [(&extras.resets, RESETS), (&extras.destruction, DESTRUCTION)] {
        if loaded.is_ok() {
            links.push(program.attach(&mut ebpf)?);
        }
    }
    // A child that is seen without its request is known to be one; a request whose child is not seen seems to fail.
    let (lifecycle, more) = ladder.attach(&mut ebpf, &btf)?;
    links.extend(more);
    let (accepts, more) = accepts.attach(&mut ebpf, settings.ring_size)?;
    links.extend(more);
    let hook = Hook::Btf { cookie: globals.cookie };
    let decides_owners = globals.cookie && globals.cgroup == settings.cgroup.is_some();
    Ok(Attached { ebpf, links, hook, lifecycle, accepts, extras, decides_owners })
}

fn load_states(settings: &Settings, globals: &Globals, btf: &Btf) -> Result<Ebpf, OpenError> {
    let mut ebpf = load(settings, globals)?;
    observers().iter().try_for_each(|observer| observer.load(&mut ebpf, btf))?;
    Ok(ebpf)
}

/// The programs at the state tracepoint. Since Linux 7.0 tasks are preempted in them, so that two can be busy at once.
fn observers() -> &'static [Typed] {
    static ALL: [Typed; 3] = [STATE, BACKUP, THIRD];
    if release::is_at_least(7, 0) { &ALL } else { &ALL[..2] }
}

/// Loads what makes causes and ends more exact where the kernel has it.
fn load_optional(ebpf: &mut Ebpf, wanted: Typed, btf: &Btf) -> Result<(), String> {
    wanted.load(ebpf, btf).map_err(|error| {
        tracing::info!("{} is not seen: {error}", wanted.target);
        error.of_this_kind()
    })
}

fn attach_classic(settings: &Settings) -> Result<Attached, OpenError> {
    let tracefs = tracefs::find_or_mount()?;
    let path = tracefs.join("events").join(CATEGORY).join(TRACEPOINT).join("format");
    let text =
        fs::read_to_string(&path).map_err(|source| OpenError::Format { path: path.clone(), source })?;
    let offsets = format::offsets(&text).map_err(|problem| OpenError::Layout { path, problem })?;
    let mut globals = Globals { offsets, ..Globals::default() };
    let reset_offsets: Vec<_> = RESETS_CLASSIC
        .iter()
        .filter_map(|(global, _, tracepoint)| {
            let format = tracefs.join("events/tcp").join(tracepoint).join("format");
            Some((*global, format::offset_of_socket(&fs::read_to_string(format).ok()?)?))
        })
        .collect();
    globals.offsets.extend_from_slice(&reset_offsets);
    let mut ebpf = load(settings, &globals)?;
    let link = attach_tracepoint(&mut ebpf, CLASSIC_PROGRAM, CATEGORY, TRACEPOINT, settings.ring_size)?;
    let mut links = vec![link];
    let mut resets = || -> Result<Vec<Link>, OpenError> {
        let attach = |(_, name, tracepoint): &(&str, &'static str, &str)| {
            attach_tracepoint(&mut ebpf, name, "tcp", tracepoint, settings.ring_size)
        };
        RESETS_CLASSIC.iter().map(attach).collect()
    };
    // Both or none: one alone would make the other's resets look like something else.
    let resets = if reset_offsets.len() == RESETS_CLASSIC.len() {
        resets()
            .map(|more| links.extend(more))
            .inspect_err(|error| tracing::info!("resets are not seen: {error}"))
            .map_err(|error| error.of_this_kind())
    } else {
        Err("this kernel's tracepoints tcp:tcp_send_reset and tcp:tcp_receive_reset are not understood"
            .to_owned())
    };
    let needs_btf = |way| (way, "it needs BTF".to_owned());
    let lifecycle =
        Lifecycle { way: Way::Off, reasons: [Way::Fentry, Way::Timer, Way::Sample].map(needs_btf).into() };
    let forced = !matches!(settings.lifecycle, LifecycleChoice::Auto | LifecycleChoice::Off);
    if forced {
        return Err(OpenError::Lifecycle { lifecycle });
    }
    let accepts = match settings.accept {
        AcceptChoice::Auto | AcceptChoice::Off => Accepts::OFF,
        _ => return Err(OpenError::Accept { accepts: Accepts::OFF }),
    };
    Ok(Attached {
        ebpf,
        links,
        hook: Hook::Classic,
        lifecycle,
        accepts,
        extras: Extras {
            resets,
            destruction: Err("it needs BTF".to_owned()),
            forks: settings.filter.processes.as_ref().map(|_| Err("it needs BTF".to_owned())),
        },
        decides_owners: false,
    })
}

pub(super) fn attach_tracepoint(
    ebpf: &mut Ebpf,
    name: &'static str,
    category: &str,
    tracepoint: &str,
    ring_size: u32,
) -> Result<Link, OpenError> {
    let program: &mut TracePoint = program(ebpf, name)?;
    // One program may be attached to several.
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => return Err(OpenError::from_aya("load a tracepoint program", ring_size, error)),
    }
    let link = program.attach(category, tracepoint).and_then(|id| program.take_link(id));
    link.map(Link::Classic).map_err(|error| OpenError::from_aya("attach to a tracepoint", ring_size, error))
}

/// Load-time constants of the kernel half.
#[derive(Default)]
pub(super) struct Globals {
    pub(super) offsets: Vec<Offset>,
    pub(super) addresses: Vec<(&'static str, u64)>,
    /// `bpf_task_pt_regs` may be called.
    user_registers: bool,
    /// Whether `inet_csk_accept` has two arguments, not four.
    pub(super) accept_has_two_arguments: bool,
    cookie: bool,
    /// Whether the filter's cgroup is decided in the kernel half.
    cgroup: bool,
    reset_reasons: Option<[u8; reset_reason::TABLE]>,
}

fn load(settings: &Settings, globals: &Globals) -> Result<Ebpf, OpenError> {
    let (mptcp, have_cookie) = (u8::from(settings.mptcp), u8::from(globals.cookie));
    let (stacks, have_registers) = (u8::from(settings.stacks), u8::from(globals.user_registers));
    let has_two_arguments = u8::from(globals.accept_has_two_arguments);
    let log_level = if settings.kernel_log { LOG_DEBUG } else { LOG_OFF };
    let cgroup = settings.cgroup.filter(|_| globals.cgroup);
    let filter = filter::Constants::of(&settings.filter, cgroup);
    let mut loader = EbpfLoader::new();
    filter.set(&mut loader);
    // The object has no relocations against kernel types: offsets come as globals.
    loader
        .btf(None)
        .map_max_entries("EVENTS", settings.ring_size)
        .override_global("MPTCP", &mptcp, true)
        .override_global("HAVE_COOKIE", &have_cookie, true)
        .override_global("STACKS", &stacks, true)
        .override_global("HAVE_REGISTERS", &have_registers, true)
        // The helper that it needs is older than cookies in tracing programs.
        .override_global("HAVE_TASK", &have_cookie, true)
        .override_global("ACCEPT_HAS_TWO_ARGUMENTS", &has_two_arguments, true)
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
    let load_error = |error| OpenError::from_aya("load the BPF object", settings.ring_size, error);
    let mut ebpf = loader.load(OBJECT).map_err(load_error)?;
    filter::fill(&mut ebpf, &settings.filter)?;
    Ok(ebpf)
}

/// The object with a filter and nothing else that it could do.
pub(super) fn load_filter(filter: &Filter) -> Result<Ebpf, OpenError> {
    let constants = filter::Constants::of(filter, None);
    let mut loader = EbpfLoader::new();
    constants.set(loader.btf(None));
    let mut ebpf =
        loader.load(OBJECT).map_err(|error| OpenError::from_aya("load the BPF object", 0, error))?;
    filter::fill(&mut ebpf, filter)?;
    Ok(ebpf)
}

/// The counter of skipped runs of the program behind `hook`.
pub(super) fn misses(ebpf: &Ebpf, hook: Hook) -> Option<Misses> {
    misses_of(ebpf, program_name(hook))
}

/// The counters of skipped runs of the programs that follow time-wait and request sockets.
pub(super) fn lifecycle_misses(ebpf: &Ebpf, way: Way) -> Vec<Misses> {
    lifecycle::names_of(way).into_iter().filter_map(|name| misses_of(ebpf, name)).collect()
}

fn misses_of(ebpf: &Ebpf, name: &str) -> Option<Misses> {
    let fd = match ebpf.program(name)? {
        Program::BtfTracePoint(program) => program.fd(),
        Program::TracePoint(program) => program.fd(),
        Program::FEntry(program) => program.fd(),
        Program::FExit(program) => program.fd(),
        _ => return None,
    };
    Misses::of(fd.ok()?.as_fd())
}

const fn program_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Btf { .. } => STATE.program,
        Hook::Classic => CLASSIC_PROGRAM,
    }
}

/// Whether a path exists and has something in it.
pub(super) fn is_populated(path: &Path) -> bool {
    path.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}
