//! Stopping, as a shell expects of Ctrl-Z, and going on.

use std::io;

use rustix::process::{Signal, getpid, getsid, kill_current_process_group, kill_process};

use super::lease::Lease;

/// Asks for what the terminal would do at Ctrl-Z: everybody who runs with us is to stop, us too. False: there is no shell to come
/// back to, and nobody who would let us go on.
pub(super) fn ask() -> io::Result<bool> {
    if getsid(None)? == getpid() {
        return Ok(false);
    }
    kill_current_process_group(Signal::TSTP)?;
    Ok(true)
}

/// Gives the terminal back and stops. Returns when we go on.
pub(super) fn stop(lease: &Lease) -> io::Result<()> {
    lease.give_back();
    // The one that can be caught was caught.
    Ok(kill_process(getpid(), Signal::STOP)?)
}
