//! What the kernel half of tcptrace is measured against, at the same tracepoint: a program that does nothing, which is
//! what a call and its measurement cost, and one that puts a record of the same size into a ring buffer of the same kind
//! with nothing in it but the time, which is what no tracer that reports events can do without.
//!
//! Built by `cargo xtask bench` for `bpfel-unknown-none`; for every other target it is an empty program.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs;

/// What the kernel is told.
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
