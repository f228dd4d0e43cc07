//! The machine that was measured on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::available_parallelism,
};

use super::peers::{self, Peer};
use crate::workspace::output;

/// What matters for the numbers, a line each.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let read = |file: &str| fs::read_to_string(file).map(|text| text.trim().to_owned()).ok();
    let cpu = read("/proc/cpuinfo").and_then(|text| field(&text, "model name"));
    let memory = read("/proc/meminfo").and_then(|text| field(&text, "MemTotal"));
    let mut lines = vec![
        ("cpu", cpu.unwrap_or_else(unknown)),
        ("cores", available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string())),
        ("memory", memory.unwrap_or_else(unknown)),
        ("kernel", read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown)),
        ("rustc", output(Command::new("rustc").arg("--version")).unwrap_or_else(|_| unknown())),
        ("load average before", read("/proc/loadavg").unwrap_or_else(unknown)),
    ];
    // Each of them makes connections slower, without any of the contenders.
    lines.push(("ftrace instances at the same tracepoint", ftrace_observers().to_string()));
    for peer in Peer::ALL {
        let version = peer.missing().or_else(|| peers::version(peer));
        lines.push((peer.name(), version.unwrap_or_else(unknown)));
    }
    lines
}

/// Who else records the tracepoint, as far as tracefs is mounted where it belongs.
fn ftrace_observers() -> usize {
    let tracing = Path::new("/sys/kernel/tracing");
    let instances = fs::read_dir(tracing.join("instances")).into_iter().flatten().flatten();
    let all = instances.map(|entry| entry.path()).chain([tracing.to_owned()]);
    let is_on = |dir: &PathBuf| {
        let enable = dir.join("events/sock/inet_sock_set_state/enable");
        fs::read_to_string(enable).is_ok_and(|text| text.starts_with('1'))
    };
    all.filter(is_on).count()
}

/// `NAME : VALUE` of a file in /proc.
fn field(text: &str, name: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim_start().strip_prefix(':')?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nMemTotal:       24647624 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(text, "MemTotal").as_deref(), Some("24647624 kB"));
        assert_eq!(field(text, "flags"), None);
    }
}
