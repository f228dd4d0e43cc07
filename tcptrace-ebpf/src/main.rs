//! The kernel half of tcptrace: one file per hook family, one that reads kernel memory, one that emits.
//!
//! Built by `cargo xtask ebpf` for `bpfel-unknown-none`; for every other target it is an empty program, so that
//! `cargo build --workspace` stays possible.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(clippy::inline_always, reason = "a call costs, and a typed pointer is lost in a subprogram"),
    expect(
        clippy::cast_possible_truncation,
        reason = "states, ports and errnos fit; a check would be a branch"
    ),
    expect(clippy::needless_pass_by_value, reason = "the program macros pass the context by value")
)]

#[cfg(target_arch = "bpf")]
mod accept;
#[cfg(target_arch = "bpf")]
mod destroy_btf;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod fentry;
#[cfg(target_arch = "bpf")]
mod filter;
#[cfg(target_arch = "bpf")]
mod filter_owner;
#[cfg(target_arch = "bpf")]
mod minis;
#[cfg(target_arch = "bpf")]
mod resets_btf;
#[cfg(target_arch = "bpf")]
mod resets_classic;
#[cfg(target_arch = "bpf")]
mod settings;
#[cfg(target_arch = "bpf")]
mod sock;
#[cfg(target_arch = "bpf")]
mod stack;
#[cfg(target_arch = "bpf")]
mod state_btf;
#[cfg(target_arch = "bpf")]
mod state_classic;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod timers;

/// What the kernel is told. Helpers such as `bpf_probe_read_kernel` are open to GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic; the verifier would refuse an endless loop that can be reached.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
