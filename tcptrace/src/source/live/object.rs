//! Loading the kernel half and attaching one of its programs.

use std::{fs, path::Path};

use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{BtfTracePoint, Program, TracePoint},
};

use super::{
    Hook, HookChoice, Settings,
    error::{BtfProblem, OpenError},
    format, offsets, tracefs,
};

/// The committed object, `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/tcptrace.bpf.o");

const CATEGORY: &str = "sock";
const TRACEPOINT: &str = "inet_sock_set_state";

/// `log::Level` as aya-log-ebpf numbers it: nothing, or up to debug.
const LOG_OFF: u8 = 0;
const LOG_DEBUG: u8 = 4;

/// Attaches the best hook that this kernel gives, or the one that is asked for.
pub(super) fn attach(settings: &Settings) -> Result<(Ebpf, Hook), OpenError> {
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

fn attach_btf(settings: &Settings) -> Result<(Ebpf, Hook), OpenError> {
    let offsets = offsets::resolve()?;
    let btf = Btf::from_sys_fs().map_err(|error| {
        let source = btf_rs::Error::Format(error.to_string());
        BtfProblem::Unreadable { path: offsets::VMLINUX, source }
    })?;
    let load = |cookie: bool| {
        let mut ebpf = load(settings, &offsets, cookie)?;
        let program: &mut BtfTracePoint = program(&mut ebpf, "state_btf")?;
        program.load(TRACEPOINT, &btf).map_err(|error| {
            OpenError::from_aya("load the BTF-typed tracepoint program", settings.ring_size, error)
        })?;
        program.attach().map_err(|error| {
            OpenError::from_aya("attach to inet_sock_set_state", settings.ring_size, error)
        })?;
        Ok::<_, OpenError>(ebpf)
    };
    match load(true) {
        Ok(ebpf) => Ok((ebpf, Hook::Btf { cookie: true })),
        // The verifier knows the helper here since Linux 5.12.
        Err(OpenError::Load { source, .. }) => {
            tracing::warn!("no socket cookies on this kernel: sockets are told apart by address");
            tracing::debug!("with bpf_get_socket_cookie: {source}");
            Ok((load(false)?, Hook::Btf { cookie: false }))
        }
        Err(other) => Err(other),
    }
}

fn attach_classic(settings: &Settings) -> Result<(Ebpf, Hook), OpenError> {
    let tracefs = tracefs::find_or_mount()?;
    let path = tracefs.join("events").join(CATEGORY).join(TRACEPOINT).join("format");
    let text =
        fs::read_to_string(&path).map_err(|source| OpenError::Format { path: path.clone(), source })?;
    let offsets = format::offsets(&text).map_err(|problem| OpenError::Layout { path, problem })?;
    let mut ebpf = load(settings, &offsets, false)?;
    let program: &mut TracePoint = program(&mut ebpf, "state_classic")?;
    program
        .load()
        .map_err(|error| OpenError::from_aya("load the tracepoint program", settings.ring_size, error))?;
    program.attach(CATEGORY, TRACEPOINT).map_err(|error| {
        OpenError::from_aya("attach to sock:inet_sock_set_state", settings.ring_size, error)
    })?;
    Ok((ebpf, Hook::Classic))
}

fn load(settings: &Settings, offsets: &[(&'static str, u32)], cookie: bool) -> Result<Ebpf, OpenError> {
    let (mptcp, have_cookie) = (u8::from(settings.mptcp), u8::from(cookie));
    let log_level = if settings.kernel_log { LOG_DEBUG } else { LOG_OFF };
    let mut loader = EbpfLoader::new();
    // The object has no relocations against kernel types: offsets come as globals.
    loader
        .btf(None)
        .map_max_entries("EVENTS", settings.ring_size)
        .override_global("MPTCP", &mptcp, true)
        .override_global("HAVE_COOKIE", &have_cookie, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    for (name, offset) in offsets {
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

/// Whether a path exists and has something in it.
pub(super) fn is_populated(path: &Path) -> bool {
    path.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}
