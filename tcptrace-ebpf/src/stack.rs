//! The user stack of a call (`--stacks`): what the kernel finds of it by frame pointers, and the memory for whoever knows
//! better. Most of the C libraries that make the calls have no frame pointers.

use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::{
    Global,
    bindings::BPF_F_USER_STACK,
    cty::c_void,
    helpers::generated::{bpf_get_current_task_btf, bpf_get_stack, bpf_probe_read_user, bpf_task_pt_regs},
};
use tcptrace_common::{LOST_STACKS, MAX_STACK, RawStack, RawStackHead, STACK_BYTES, STACK_PIECE};

use crate::{
    emit,
    sock::{load_typed, offsets},
    task::Task,
};

/// 1: report the user stacks of calls.
#[unsafe(no_mangle)]
static STACKS: Global<u8> = Global::new(0);

/// 1: `bpf_task_pt_regs` may be called (Linux >= 5.15), and the offsets of `pt_regs` are set.
#[unsafe(no_mangle)]
static HAVE_REGISTERS: Global<u8> = Global::new(0);

offsets! {
    /// `pt_regs`: the instruction pointer
    REGISTER_IP,
    /// `pt_regs`: the stack pointer
    REGISTER_SP,
    /// `pt_regs`: the frame pointer
    REGISTER_FP,
    /// `pt_regs`: the link register, or any other where there is none
    REGISTER_LR,
}

/// `bpf_get_stack` of user space's frames.
const USER_STACK: u64 = BPF_F_USER_STACK as u64;

/// Whether stacks are asked for.
#[inline(always)]
pub(crate) fn is_wanted() -> bool {
    STACKS.load() != 0
}

/// Puts the user stack of the current task into the ring, or counts it as lost.
#[inline(always)]
pub(crate) fn report(ctx: *mut c_void, cookie: u64, task: &Task) {
    let Some(mut slot) = emit::reserve_large::<MaybeUninit<RawStack>>(LOST_STACKS) else { return };
    let raw = slot.as_mut_ptr().cast::<RawStack>();
    let frames = raw.wrapping_byte_add(offset_of!(RawStack, frames)).cast();
    // SAFETY: the slot has room for the frames. What the helper does not need of it it fills with zeros, also where it
    // fails (`bpf_get_stack`, kernel/bpf/stackmap.c).
    let bytes = unsafe { bpf_get_stack(ctx, frames, size_of::<[u64; MAX_STACK]>() as u32, USER_STACK) };
    // A thread of the kernel has none.
    let (registers, copied) = if HAVE_REGISTERS.load() != 0 && bytes > 0 {
        let registers = registers();
        (registers, copy(registers[1], raw.wrapping_byte_add(offset_of!(RawStack, memory)).cast()))
    } else {
        ([0; 4], 0)
    };
    let head = RawStackHead {
        ts_ns: emit::now_ns(),
        cookie,
        pid_tgid: task.pid_tgid,
        start_ns: task.start_ns,
        bytes,
        copied,
        registers,
    };
    // SAFETY: the slot has room for it. What is not written of the memory holds what was in the ring before: records of
    // ours.
    unsafe { raw.cast::<RawStackHead>().write(head) };
    slot.submit(0);
}

/// Of user space, when it made the system call.
#[inline(always)]
fn registers() -> [u64; 4] {
    // SAFETY: the helper takes no argument and cannot fail.
    let task = unsafe { bpf_get_current_task_btf() };
    // SAFETY: the verifier knows the task as such, and what is returned as a `struct pt_regs *`, which is never NULL.
    let registers = unsafe { bpf_task_pt_regs(task) } as *const u8;
    [&REGISTER_IP, &REGISTER_SP, &REGISTER_FP, &REGISTER_LR]
        // SAFETY: as above.
        .map(|offset| unsafe { load_typed::<u64>(registers, offset) })
}

/// Copies the memory from `from` on until it is full or some cannot be read: the stack may be short. Returns how many
/// bytes there are.
#[inline(always)]
fn copy(from: u64, to: *mut u8) -> u64 {
    let mut copied = 0_usize;
    while copied < STACK_BYTES {
        let (piece, source) = (to.wrapping_add(copied), from + copied as u64);
        // SAFETY: there is room for another piece; the helper reads user space as far as it may be read.
        let failed =
            unsafe { bpf_probe_read_user(piece.cast(), STACK_PIECE as u32, source as *const c_void) };
        if failed != 0 {
            break;
        }
        copied += STACK_PIECE;
    }
    copied as u64
}
