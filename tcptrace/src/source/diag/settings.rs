//! Settings of a network namespace that tell what is too many (`/proc/sys/net/ipv4`).

use crate::{model::findings::host::Settings, source::sysctl};

/// Those of the namespace that the calling thread is in.
pub(super) fn of_this_thread() -> Settings {
    let text = |name: &str| sysctl::read(&format!("net.ipv4.{name}"));
    let number = |name| text(name)?.parse().ok();
    let local_ports = text("ip_local_port_range").and_then(|range| pair(&range, ' '));
    let reserved = text("ip_local_reserved_ports").unwrap_or_default();
    Settings {
        local_ports,
        reserved_ports: local_ports.map_or(0, |range| count_within(&reserved, range)),
        max_time_wait: number("tcp_max_tw_buckets"),
        reuses_time_wait: number("tcp_tw_reuse"),
        fin_timeout_s: number("tcp_fin_timeout"),
        keepalive_time_s: number("tcp_keepalive_time"),
        keepalive_interval_s: number("tcp_keepalive_intvl"),
        keepalive_probes: number("tcp_keepalive_probes"),
    }
}

fn pair(text: &str, between: char) -> Option<(u16, u16)> {
    let (first, last) = text.split_once(between)?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Of a list such as `8080,9148-9150`, how many are in a range. The kernel keeps it sorted and without repetition
/// (`proc_do_large_bitmap`).
fn count_within(list: &str, (first, last): (u16, u16)) -> u64 {
    let ranges = list.split(',').filter_map(|item| {
        let (from, to) = pair(item, '-').or_else(|| item.parse().ok().map(|port| (port, port)))?;
        let (from, to) = (from.max(first), to.min(last));
        Some(u64::from(to).checked_sub(from.into())? + 1)
    });
    ranges.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_counted_within_the_range() {
        for (list, count) in
            [("", 0), ("8080", 0), ("40000", 1), ("39990-40009,40100,65000-65535", 11), ("x,-,5-", 0)]
        {
            assert_eq!(count_within(list, (40_000, 40_199)), count, "{list}");
        }
    }

    #[test]
    fn this_namespace_has_settings() {
        let settings = of_this_thread();
        let (first, last) = settings.local_ports.expect("every kernel has it");
        assert!(first <= last && settings.fin_timeout_s.is_some(), "{settings:?}");
    }
}
