//! Whether this process may run live tests at all.

use std::fs;

/// Bit numbers of `include/uapi/linux/capability.h`, and what the tests need each for.
const NEEDED: &[(u32, &str, &str)] = &[
    (12, "CAP_NET_ADMIN", "links in a network namespace"),
    (21, "CAP_SYS_ADMIN", "network namespaces and tracefs"),
    (38, "CAP_PERFMON", "tracing programs"),
    (39, "CAP_BPF", "loading BPF programs"),
];

/// Says which capabilities are missing, or `None` when the tests can run.
pub(crate) fn missing() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(bit, ..)| effective & (1 << bit) == 0)
        .map(|(_, name, purpose)| format!("{name} ({purpose})"))
        .collect();
    (!missing.is_empty()).then(|| format!("Missing: {}", missing.join(", ")))
}
