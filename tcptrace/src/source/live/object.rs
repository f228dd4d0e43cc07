//! Loading the kernel half and attaching one of its programs.

use std::{fs, os::fd::AsFd as _, path::Path};

use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{BtfTracePoint, Program, TracePoint, tp_btf::BtfTracePointLink, trace_point::TracePointLink},
};

use super::{
    Hook, HookChoice, Lifecycle, LifecycleChoice, Settings,
    error::{BtfProblem, OpenError},
    format, kallsyms,
    misses::Misses,
    offsets::{self, Offset, Types},
    tracefs,
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
}

/// What keeps a program attached.
pub(super) enum Link {
    Btf(#[expect(dead_code, reason = "held for its drop")] BtfTracePointLink),
    Classic(#[expect(dead_code, reason = "held for its drop")] TracePointLink),
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
    let mut globals = Globals { offsets: types.offsets()?, ..Globals::default() };
    let mut lifecycle = match settings.lifecycle {
        LifecycleChoice::Off => Lifecycle::Off { reason: "asked for".to_owned() },
        LifecycleChoice::Auto | LifecycleChoice::Timer => match timer_globals(&types, &mut globals) {
            Ok(()) => Lifecycle::Timer,
            Err(reason) => Lifecycle::Off { reason },
        },
    };
    let btf = Btf::from_sys_fs().map_err(|error| {
        let source = btf_rs::Error::Format(error.to_string());
        BtfProblem::Unreadable { path: offsets::VMLINUX, source }
    })?;
    globals.cookie = true;
    let mut attached = match attach_state(settings, &globals, &btf) {
        // The verifier knows the helper here since Linux 5.12.
        Err(OpenError::Load { source, .. }) => {
            tracing::warn!("no socket cookies on this kernel: sockets are told apart by address");
            tracing::debug!("with bpf_get_socket_cookie: {source}");
            globals.cookie = false;
            lifecycle = Lifecycle::Off { reason: "it needs socket cookies (Linux 5.12)".to_owned() };
            attach_state(settings, &globals, &btf)?
        }
        result => result?,
    };
    if lifecycle == Lifecycle::Timer
        && let Err(error) = attach_timers(&mut attached, &btf, settings.ring_size)
    {
        lifecycle = Lifecycle::Off { reason: error.to_string() };
    }
    if let (LifecycleChoice::Timer, Lifecycle::Off { reason }) = (settings.lifecycle, &lifecycle) {
        return Err(OpenError::Lifecycle { reason: reason.clone() });
    }
    attached.lifecycle = lifecycle;
    Ok(attached)
}

/// What the timer programs want to know; the reason when it cannot be known.
fn timer_globals(types: &Types, globals: &mut Globals) -> Result<(), String> {
    globals.offsets.extend(types.timer_offsets().map_err(|problem| problem.to_string())?);
    globals.tw_timer_handler = kallsyms::address_of("tw_timer_handler")?;
    Ok(())
}

fn attach_state(settings: &Settings, globals: &Globals, btf: &Btf) -> Result<Attached, OpenError> {
    let mut ebpf = load(settings, globals)?;
    let mut links = Vec::new();
    // In this order: the backup reports what the first one has not taken before it.
    for name in [BTF_PROGRAM, BTF_BACKUP] {
        links.push(attach_typed(&mut ebpf, name, TRACEPOINT, btf, settings.ring_size)?);
    }
    // Detached in the opposite order, so that the backup never works alone.
    links.reverse();
    let hook = Hook::Btf { cookie: globals.cookie };
    Ok(Attached { ebpf, links, hook, lifecycle: Lifecycle::Off { reason: String::new() } })
}

fn attach_timers(attached: &mut Attached, btf: &Btf, ring_size: u32) -> Result<(), OpenError> {
    for (name, tracepoint) in [
        ("timer_start", "timer_start"),
        ("timer_cancel", "timer_cancel"),
        ("timer_expire", "timer_expire_entry"),
    ] {
        attached.links.push(attach_typed(&mut attached.ebpf, name, tracepoint, btf, ring_size)?);
    }
    Ok(())
}

fn attach_typed(
    ebpf: &mut Ebpf,
    name: &'static str,
    tracepoint: &str,
    btf: &Btf,
    ring_size: u32,
) -> Result<Link, OpenError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program
        .load(tracepoint, btf)
        .map_err(|error| OpenError::from_aya("load a BTF-typed tracepoint program", ring_size, error))?;
    let link = program
        .attach()
        .and_then(|id| program.take_link(id))
        .map_err(|error| OpenError::from_aya("attach to a tracepoint", ring_size, error))?;
    Ok(Link::Btf(link))
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
    let lifecycle = Lifecycle::Off { reason: "it needs BTF".to_owned() };
    Ok(Attached { ebpf, links: vec![Link::Classic(link)], hook: Hook::Classic, lifecycle })
}

/// Load-time constants of the kernel half.
#[derive(Default)]
struct Globals {
    offsets: Vec<Offset>,
    cookie: bool,
    tw_timer_handler: u64,
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
    if globals.tw_timer_handler != 0 {
        loader.override_global("TW_TIMER_HANDLER", &globals.tw_timer_handler, true);
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
    let fd = match ebpf.program(program_name(hook))? {
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
