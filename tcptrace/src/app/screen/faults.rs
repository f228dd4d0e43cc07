//! Faults that tests ask for with TCPTRACE_FAULT and F12. Not in what is released.

use std::{env, thread, time::Duration};

use crossterm::event::{Event, KeyCode};

/// Does what was asked for, at F12.
pub(super) fn provoke(event: &Event) {
    if !event.as_key_press_event().is_some_and(|key| key.code == KeyCode::F(12)) {
        return;
    }
    match env::var("TCPTRACE_FAULT").as_deref() {
        Ok("panic") => panic!("a test wanted this"),
        Ok("panic elsewhere") => drop(thread::spawn(|| panic!("a test wanted this elsewhere")).join()),
        Ok("stuck") => {
            eprint!("STUCK");
            thread::sleep(Duration::from_mins(1));
        }
        Ok("warn") => tracing::warn!("a test wanted this warning"),
        _ => {}
    }
}
