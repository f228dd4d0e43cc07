//! The switch of the kernel's function tracer.
//!
//! Where `kernel.ftrace_enabled` is 0, the kernel takes programs for functions and never calls them
//! (`ftrace_startup_enable`), and no error says so. And where it is 0 while programs are taken off, the kernel leaves their
//! functions marked (`ftrace_shutdown` returns before it changes them). When it is 1 again and the last program at any function
//! is taken off, `ftrace_shutdown` finds the marks, takes itself for broken (`ftrace_kill`), and no program comes to a function
//! until the next boot. Programs that come to the same functions before that clear the marks. Seen on 6.1, 6.12 and 7.2.

use std::{fs::File, io, os::unix::fs::FileExt as _};

const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

/// The switch, opened once: reading it needs no privilege.
pub(super) struct Switch {
    file: File,
    was_off: bool,
}

impl Switch {
    /// `None` where there is none, as in kernels without CONFIG_FUNCTION_TRACER.
    pub(super) fn open() -> Option<Self> {
        let file = File::open(SWITCH).ok()?;
        Some(Self { was_off: is_off(&file).ok()?, file })
    }

    /// Whether it was off when it was read last.
    pub(super) const fn is_off(&self) -> bool {
        self.was_off
    }

    /// Whether it is off now: this is no time to take programs off.
    pub(super) fn is_off_now(&self) -> bool {
        is_off(&self.file).unwrap_or(self.was_off)
    }

    /// Why a program at a function would never run.
    pub(super) fn refusal() -> Option<String> {
        Self::open()?.is_off().then(|| {
            "kernel.ftrace_enabled is 0, so that the kernel calls no program at a function; to allow it: \
             sudo sysctl kernel.ftrace_enabled=1"
                .to_owned()
        })
    }

    /// Whether it was turned off since the last call.
    pub(super) fn was_turned_off(&mut self) -> bool {
        let is_off = is_off(&self.file).unwrap_or(self.was_off);
        !std::mem::replace(&mut self.was_off, is_off) && is_off
    }
}

fn is_off(file: &File) -> io::Result<bool> {
    let mut text = [0; 8];
    let length = file.read_at(&mut text, 0)?;
    Ok(text[..length].trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn turned_off_is_said_once() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(b"1\n")?;
        let mut switch = Switch { was_off: is_off(&file)?, file: file.try_clone()? };
        assert!(!switch.was_turned_off());
        file.write_all_at(b"0\n", 0)?;
        assert!(switch.was_turned_off());
        assert!(!switch.was_turned_off());
        file.write_all_at(b"1\n", 0)?;
        assert!(!switch.was_turned_off());
        file.write_all_at(b"0\n", 0)?;
        assert!(switch.was_turned_off());
        Ok(())
    }
}
