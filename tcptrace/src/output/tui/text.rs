//! Numbers and names as the pages write them.

use std::{borrow::Cow, net::IpAddr, num::NonZeroU16};

use super::{glyphs::Glyphs, world::Row};
use crate::{
    model::{Endpoint, Family, Owner, OwnerIs},
    output::{Moment, escape, hist::units},
};

/// What is not known.
pub const UNKNOWN: &str = "-";

/// A number with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A change: `+12`, `-3`, `=`.
pub fn change(change: Option<i64>) -> String {
    match change {
        None => UNKNOWN.to_owned(),
        Some(0) => "=".to_owned(),
        Some(change) if change > 0 => format!("+{}", count(change.unsigned_abs())),
        Some(change) => format!("-{}", count(change.unsigned_abs())),
    }
}

/// A time of which only a lower bound may be known.
pub fn age((ns, is_at_least): (Option<u64>, bool), glyphs: &Glyphs) -> String {
    match ns {
        None => UNKNOWN.to_owned(),
        Some(ns) if is_at_least => format!("{}{}", glyphs.at_least, units::time(ns)),
        Some(ns) => units::time(ns),
    }
}

/// A share of a processor: `0.42 %`.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// The time of day in UTC, to the second: `12:34:56`.
pub fn clock(at: Moment) -> String {
    let seconds = at.unix_ns.div_euclid(1_000_000_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `10.1.2.3:443`, `[2001:db8::1]:443`, `*:443`
pub fn endpoint(end: Endpoint, family: Family) -> String {
    let port = end.port.map_or_else(|| UNKNOWN.to_owned(), |port| port.to_string());
    match end.addr {
        None => format!("{UNKNOWN}:{port}"),
        Some(addr) if addr.is_unspecified() => match family {
            Family::V4 => format!("0.0.0.0:{port}"),
            Family::V6 => format!("[::]:{port}"),
        },
        Some(IpAddr::V4(addr)) => format!("{addr}:{port}"),
        Some(IpAddr::V6(addr)) => format!("[{addr}]:{port}"),
    }
}

/// A port, or that it is not known.
pub fn port(port: Option<NonZeroU16>) -> String {
    port.map_or_else(|| UNKNOWN.to_owned(), |port| port.to_string())
}

/// The owner's name; in parentheses the owner of the listener that nobody has accepted from yet.
pub fn owner(owner: Option<&Owner>) -> Cow<'static, str> {
    match owner {
        None => UNKNOWN.into(),
        Some(owner) => {
            let comm = escape::comm(&owner.task.comm);
            match owner.is {
                OwnerIs::Listener => format!("({comm})").into(),
                _ => comm.into_owned().into(),
            }
        }
    }
}

/// The owner's process id, or that it is not known.
pub fn pid(owner: Option<&Owner>) -> String {
    owner.map_or_else(|| UNKNOWN.to_owned(), |owner| owner.task.pid.to_string())
}

/// Who closed first: `local`, `remote`, or that it is not known.
pub fn closed_by(row: &Row) -> &'static str {
    row.connection.closed_by.map_or(UNKNOWN, crate::model::ClosedBy::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(change(None), "-");
        assert_eq!(change(Some(0)), "=");
        assert_eq!(change(Some(1_200)), "+1,200");
        assert_eq!(change(Some(i64::MIN)), "-9,223,372,036,854,775,808");
        assert_eq!(percent(Some(0.0042)), "0.4 %");
    }

    #[test]
    fn time_of_day() {
        let at = |unix_ns| Moment { ktime: crate::model::KtimeNs(0), unix_ns, elapsed_ns: 0 };
        assert_eq!(clock(at(1_795_219_200_123_456_789)), "00:00:00");
        assert_eq!(clock(at(86_399_999_999_999)), "23:59:59");
        assert_eq!(clock(at(-1)), "23:59:59");
    }
}
