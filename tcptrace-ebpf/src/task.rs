//! The task on the CPU. It reads kernel memory as `sock.rs` does.

use core::arch::asm;

use aya_ebpf::{
    Global, TASK_COMM_LEN,
    cty::c_void,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{
            bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf,
        },
    },
};

use crate::sock::{SK_PROTOCOL, SKC_COOKIE, load_typed, offsets, read_at};

offsets! {
    /// `task_struct.pid`, s32: the thread
    TASK_PID,
    /// `task_struct.tgid`, s32: the process
    TASK_TGID,
    /// `task_struct.flags`, u32
    TASK_FLAGS,
    /// `task_struct.group_leader`, pointer
    TASK_GROUP_LEADER,
    /// `task_struct.start_boottime`, u64
    TASK_START_BOOTTIME,
    /// `task_struct.files`, pointer
    TASK_FILES,
    /// `files_struct.fdt`, pointer
    FILES_FDT,
    /// `fdtable.fd`, pointer
    FDTABLE_FD,
    /// `file.private_data`, pointer
    FILE_PRIVATE_DATA,
    /// `socket.sk`, pointer
    SOCKET_SK,
}

/// 1: `bpf_get_current_task_btf` may be called, and the offsets of `task_struct` are set (Linux >= 5.11, with BTF).
#[unsafe(no_mangle)]
static HAVE_TASK: Global<u8> = Global::new(0);

/// Who is on the CPU: the owner of a socket only where the caller knows that.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) pid_tgid: u64,
    pub(crate) comm: [u64; 2],
    /// When its process started, 0 when that cannot be known.
    pub(crate) start_ns: u64,
    pub(crate) cgroup: u64,
}

impl Task {
    /// Nobody of interest.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        let zero: u64;
        // Of zeros that it knows as such, the compiler makes a call of memset, which goes byte by byte: on the way of six
        // transitions in ten, and as long as all the rest of the program.
        // SAFETY: sets a register, nothing else.
        unsafe { asm!("{zero} = 0", zero = out(reg) zero, options(pure, nomem, nostack, preserves_flags)) };
        Self { pid_tgid: zero, comm: [zero; 2], start_ns: zero, cgroup: zero }
    }

    #[inline(always)]
    pub(crate) fn current() -> Self {
        Self {
            pid_tgid: bpf_get_current_pid_tgid(),
            comm: comm(),
            start_ns: if HAVE_TASK.load() == 0 { 0 } else { process_start() },
            // SAFETY: the helper takes no argument and cannot fail.
            cgroup: unsafe { bpf_get_current_cgroup_id() },
        }
    }
}

/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Whether a thread of the kernel is on the CPU; false when that cannot be known.
#[inline(always)]
pub(crate) fn is_kernel_thread() -> bool {
    if HAVE_TASK.load() == 0 {
        return false;
    }
    // SAFETY: the helper takes no argument; it returns a task pointer that the verifier knows as such.
    let task = unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const();
    // SAFETY: a `struct task_struct *` that the verifier knows as such.
    let flags: u32 = unsafe { load_typed(task, &TASK_FLAGS) };
    flags & KERNEL_THREAD != 0
}

/// A task that is not the current one.
pub(crate) struct OtherTask {
    pub(crate) tgid: u32,
    pid: u32,
    /// When it started; when it is a process's first thread, the process.
    pub(crate) start_ns: u64,
}

impl OtherTask {
    /// Whether it is another thread of a process that there was before.
    #[inline(always)]
    pub(crate) fn is_thread(&self) -> bool {
        self.pid != self.tgid
    }
}

/// What there is to know of a task.
///
/// # Safety
///
/// `task` must be a `struct task_struct *` argument of the running BTF-typed program, unchanged.
#[inline(always)]
pub(crate) unsafe fn of_task(task: *const c_void) -> OtherTask {
    let task = task.cast();
    // SAFETY: see above.
    let tgid = unsafe { load_typed(task, &TASK_TGID) };
    // SAFETY: see above.
    let pid = unsafe { load_typed(task, &TASK_PID) };
    // SAFETY: see above.
    let start_ns = unsafe { load_typed(task, &TASK_START_BOOTTIME) };
    OtherTask { tgid, pid, start_ns }
}

/// `CLOCK_BOOTTIME` in nanoseconds, of the process and not of the thread.
#[inline(always)]
fn process_start() -> u64 {
    // SAFETY: the helper takes no argument; it returns a task pointer that the verifier knows as such.
    let task = unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const();
    // SAFETY: a `struct task_struct *` that the verifier knows as such.
    let leader: *const u8 = unsafe { load_typed(task, &TASK_GROUP_LEADER) };
    // SAFETY: as above; a thread's group leader is never NULL.
    unsafe { load_typed(leader, &TASK_START_BOOTTIME) }
}

/// The name of the current task, NUL-padded: it is compared as a whole.
#[inline(always)]
fn comm() -> [u64; 2] {
    // Not every kernel fills what is left behind the name (`bpf_get_current_comm`, kernel/bpf/helpers.c: Linux 6.1 copies
    // with `strscpy`, without `_pad`).
    let mut comm = [0_u64; 2];
    // SAFETY: the buffer has the 16 bytes that are announced.
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), TASK_COMM_LEN as u32) };
    comm
}

/// A socket that the current task has got a descriptor of.
pub(crate) struct OpenSocket {
    pub(crate) sk: u64,
    /// 0 when nobody has asked for it.
    pub(crate) cookie: u64,
    pub(crate) protocol: u16,
}

impl OpenSocket {
    /// Through the current task's file table. The file is known to be a socket's: `accept` has just returned its
    /// descriptor. Where another thread has closed it meanwhile, what is read is the file that has taken its place, or
    /// nothing that could be read.
    #[inline(always)]
    pub(crate) fn behind(descriptor: u32) -> Option<Self> {
        // SAFETY: the helper takes no argument and cannot fail.
        let task = unsafe { bpf_get_current_task() };
        let files = member(task, &TASK_FILES)?;
        let table = member(files, &FILES_FDT)?;
        let descriptors = member(table, &FDTABLE_FD)?;
        let file = read_at::<u64>(descriptors.wrapping_add(u64::from(descriptor) * 8))?;
        let socket = member(file, &FILE_PRIVATE_DATA)?;
        let sk = member(socket, &SOCKET_SK)?;
        Some(Self {
            sk,
            cookie: member(sk, &SKC_COOKIE)?,
            protocol: read_at(sk.wrapping_add(u64::from(SK_PROTOCOL.load())))?,
        })
    }
}

#[inline(always)]
fn member(of: u64, offset: &Global<u32>) -> Option<u64> {
    read_at(of.wrapping_add(u64::from(offset.load())))
}
