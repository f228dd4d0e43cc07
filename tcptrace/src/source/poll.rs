//! Descriptors in the event loop. The only unsafe code in user space.
#![expect(unsafe_code, reason = "tokio cannot know that a descriptor stays the same; these types can")]

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// Types whose descriptor is open and the same for as long as the value lives.
///
/// # Safety
///
/// `as_raw_fd` must return the same open descriptor from the first call to the drop of the value.
pub unsafe trait StableFd: AsRawFd {}

// SAFETY: it owns the descriptor of its map and gives no access that could replace it.
unsafe impl StableFd for RingBuf<MapData> {}

// SAFETY: it owns a `RingBuf` and gives no access that could replace it.
unsafe impl<T> StableFd for EbpfLogger<T> {}

// SAFETY: it owns its descriptor, and `AsyncFd` gives it out only by reference to us.
unsafe impl StableFd for OwnedFd {}

/// Registers a descriptor with the event loop that runs us.
///
/// # Errors
///
/// The descriptor cannot be polled: a regular file, for one.
pub fn register<T: StableFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: `StableFd` promises just what is asked for.
    unsafe { AsyncFd::register_with_interest(inner, interest) }
        .map_err(|error| io::Error::other(error.to_string()))
}
