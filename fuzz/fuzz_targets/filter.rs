//! The words of selection flags: what is read, printed and read again is the same, and an error says what was wrong.
#![no_main]

use std::{fmt::Debug, net::IpAddr, num::NonZeroU16, str::FromStr, time::Duration};

use libfuzzer_sys::{Corpus, fuzz_target};
use tcptrace::{
    fuzzing,
    model::{
        TcpState,
        filter_lists::{CommList, ListError, PidList, StateSet},
        findings::condition::{Condition, Numbers},
    },
};
use tcptrace_fuzz::words;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match str::from_utf8(bytes) {
        // No word of a command line has a NUL in it.
        Ok(text) if !text.contains('\0') => check(text),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

fn check(text: &str) {
    if let Some(list) = read_back(text, words::ports) {
        for range in list.ranges() {
            assert!(!range.is_empty() && *range.start() > 0);
            assert!(list.may_contain(NonZeroU16::new(*range.start())));
            assert!(list.may_contain(NonZeroU16::new(*range.end())));
        }
    }
    if let Some(list) = read_back(text, words::networks) {
        for network in list.networks() {
            // v4-mapped addresses are held as v4.
            for addr in [network.network(), network.broadcast()].map(|addr| addr.to_canonical()) {
                let is_inside = list.may_contain(Some(addr));
                assert!(is_inside || is_wider_than_v4(network.prefix_len(), addr), "{addr} in {network}");
            }
        }
    }
    read_back::<PidList>(text, words::pids);
    read_back::<CommList>(text, words::comms);
    if let Some(set) = read_back::<StateSet>(text, |set| words::states(*set)) {
        assert!(TcpState::ALL.iter().all(|state| !set.contains(*state) || set.is_within_reach(*state)));
    }
    check_values(text);
    match text.parse::<Condition>() {
        Ok(condition) => drop(condition.holds(&[], &Nothing)),
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("expected") || said.contains("too many"), "{said}");
        }
    }
}

/// There are no sockets.
struct Nothing;

impl Numbers for Nothing {
    fn count(&self, _: TcpState) -> u64 {
        0
    }

    fn age_ns(&self, _: TcpState) -> Option<u64> {
        None
    }

    fn slope(&self, _: TcpState) -> Option<f64> {
        None
    }
}

/// A network of v6 addresses that has the v4-mapped ones in it and others too.
fn is_wider_than_v4(prefix: u8, addr: IpAddr) -> bool {
    addr.is_ipv4() && prefix < 96
}

/// What the text says, if it says anything, after it was held against what its own words say.
fn read_back<T>(text: &str, print: impl Fn(&T) -> String) -> Option<T>
where
    T: FromStr<Err = ListError> + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(read) => {
            let printed = print(&read);
            assert_eq!(printed.parse::<T>().as_ref(), Ok(&read), "{printed}");
            Some(read)
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("accepted are"), "{said}");
            None
        }
    }
}

fn check_values(text: &str) {
    match fuzzing::duration(text) {
        Ok(span) if span < Duration::from_secs(1 << 32) => {
            let printed = format!("{}s {}ns", span.as_secs(), span.subsec_nanos());
            assert_eq!(fuzzing::duration(&printed), Ok(span), "{printed}");
        }
        Ok(_) => {}
        Err(said) => assert!(said.contains("accepted are"), "{said}"),
    }
    match fuzzing::ring_size(text) {
        Ok(size) => {
            assert!(size.is_power_of_two() && (4096..=1 << 30).contains(&size));
            assert_eq!(fuzzing::ring_size(&size.to_string()), Ok(size));
        }
        Err(said) => assert!(said.contains("accepted are"), "{said}"),
    }
    if let Ok(number) = fuzzing::connections(text) {
        assert_eq!(fuzzing::connections(&number.to_string()), Ok(number));
    }
}
