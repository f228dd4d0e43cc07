//! The values of selection flags: lists and ranges, each with its one parser.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
    ops::RangeInclusive,
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

use super::{
    event::Comm,
    state::{TcpState, UnknownState},
};

/// A word of a list that cannot be read, and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// A port or a range of ports.
    #[error("`{0}` is no port; accepted are ports from 1 to 65535 and ranges, such as 80,443,8000-8100")]
    Port(String),
    /// A process id.
    #[error("`{0}` is no process id; accepted are numbers from 1, such as 4242 or 4242,4243")]
    Pid(String),
    /// An address or a network.
    #[error("`{0}` is no address or network; accepted are such as 10.0.0.0/8,192.0.2.7,2001:db8::/32")]
    Network(String),
    /// A process name.
    #[error("`{0}` is no process name; accepted are 1 to 15 bytes, as in /proc/PID/comm")]
    Comm(String),
    /// A TCP state.
    #[error(transparent)]
    State(#[from] UnknownState),
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// Ports and ranges of ports: `80,443,8000-8100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortList(Vec<RangeInclusive<u16>>);

impl PortList {
    /// All ranges.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }

    /// Whether the port is in the list. A port that is not known yet cannot be decided: it is.
    pub fn may_contain(&self, port: Option<NonZeroU16>) -> bool {
        port.is_none_or(|port| self.0.iter().any(|range| range.contains(&port.get())))
    }
}

impl FromStr for PortList {
    type Err = ListError;

    fn from_str(list: &str) -> Result<Self, ListError> {
        let range = |item: &str| {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let port = |word: &str| word.trim().parse::<NonZeroU16>().ok();
            let range = port(first)?.get()..=port(last)?.get();
            (!range.is_empty()).then_some(range)
        };
        items(list)
            .map(|item| range(item).ok_or_else(|| ListError::Port(item.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Process ids: `4242,4243`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidList(Vec<NonZeroU32>);

impl PidList {
    /// All of them.
    pub fn pids(&self) -> &[NonZeroU32] {
        &self.0
    }

    /// Whether the process is in the list.
    pub fn contains(&self, pid: NonZeroU32) -> bool {
        self.0.contains(&pid)
    }
}

impl FromStr for PidList {
    type Err = ListError;

    fn from_str(list: &str) -> Result<Self, ListError> {
        items(list)
            .map(|item| item.parse().map_err(|_| ListError::Pid(item.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Networks: `10.0.0.0/8,192.0.2.7`. A v4 network holds v4-mapped addresses too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkList(Vec<IpNet>);

impl NetworkList {
    /// All networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// Whether the address is in one of the networks. One that is not known yet cannot be decided: it is.
    pub fn may_contain(&self, addr: Option<IpAddr>) -> bool {
        addr.is_none_or(|addr| self.0.iter().any(|network| network.contains(&addr)))
    }
}

impl FromStr for NetworkList {
    type Err = ListError;

    fn from_str(list: &str) -> Result<Self, ListError> {
        let network = |item: &str| {
            item.parse::<IpNet>()
                .ok()
                .map(as_addresses_are_held)
                .or_else(|| Some(IpNet::from(item.parse::<IpAddr>().ok()?.to_canonical())))
        };
        items(list)
            .map(|item| network(item).ok_or_else(|| ListError::Network(item.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A network of nothing but v4-mapped addresses is one of v4 addresses, which is what they are held as.
fn as_addresses_are_held(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(addr, len)| Ipv4Net::new(addr, len).ok()).map_or(network, IpNet::V4)
}

/// Names of processes: `nginx,curl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommList(Vec<Comm>);

impl CommList {
    /// All of them.
    pub fn comms(&self) -> &[Comm] {
        &self.0
    }

    /// Whether the name is in the list.
    pub fn contains(&self, comm: Comm) -> bool {
        self.0.iter().any(|wanted| wanted.bytes() == comm.bytes())
    }
}

impl FromStr for CommList {
    type Err = ListError;

    fn from_str(list: &str) -> Result<Self, ListError> {
        items(list)
            .map(|item| match item.len() {
                1..=15 => Ok(Comm::from(item)),
                _ => Err(ListError::Comm(item.to_owned())),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A set of TCP states: `CLOSE_WAIT,time-wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSet {
    states: u16,
    /// The states from which one of them can be reached, or that are one of them.
    before: u16,
}

impl StateSet {
    fn new(states: u16) -> Self {
        let mut before = states;
        loop {
            let leads_there = |old: &TcpState| {
                // In CLOSE nothing follows but a new life.
                *old != TcpState::Close
                    && TcpState::ALL.iter().any(|new| before & bit(*new) != 0 && old.leads_to(*new))
            };
            let more = TcpState::ALL.into_iter().filter(leads_there).fold(before, |set, old| set | bit(old));
            if more == before {
                return Self { states, before };
            }
            before = more;
        }
    }

    /// Whether the state is in the set.
    pub const fn contains(self, state: TcpState) -> bool {
        self.states & bit(state) != 0
    }

    /// Whether a socket in this state is in the set, or can get there before a new life begins.
    pub const fn is_within_reach(self, state: TcpState) -> bool {
        self.before & bit(state) != 0
    }
}

const fn bit(state: TcpState) -> u16 {
    1 << state.raw()
}

impl FromStr for StateSet {
    type Err = ListError;

    fn from_str(list: &str) -> Result<Self, ListError> {
        let mut states = 0;
        for item in items(list) {
            states |= bit(item.parse::<TcpState>()?);
        }
        Ok(Self::new(states))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_lists_and_ranges() {
        let list: PortList = "80, 443,8000-8100".parse().expect("is a list");
        for (port, is_in) in [(80, true), (443, true), (8000, true), (8100, true), (81, false), (8101, false)]
        {
            assert_eq!(list.may_contain(NonZeroU16::new(port)), is_in, "{port}");
        }
        assert!(list.may_contain(None), "a port still unknown cannot be decided");
        for bad in ["", "0", "65536", "http", "100-1", "80,", "1-2-3", "-5", "0-10"] {
            assert!(bad.parse::<PortList>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_hold_addresses_of_both_families() {
        let list: NetworkList =
            "10.0.0.0/8,192.0.2.7,2001:db8::/32,::ffff:198.51.100.1".parse().expect("is a list");
        for (addr, is_in) in [
            ("10.9.8.7", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("::1", false),
            ("198.51.100.1", true),
        ] {
            assert_eq!(list.may_contain(addr.parse().ok()), is_in, "{addr}");
        }
        let mapped: NetworkList = "::ffff:10.0.0.0/104,::ffff:0:0/96".parse().expect("is a list");
        assert_eq!(mapped, "10.0.0.0/8,0.0.0.0/0".parse().expect("is a list"), "as such addresses are held");
        let wider: NetworkList = "::/0,::ffff:0:0/95".parse().expect("is a list");
        assert!(wider.networks().iter().all(|network| network.addr().is_ipv6()), "there is more in them");
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0"] {
            assert!(bad.parse::<NetworkList>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_have_the_length_that_the_kernel_keeps() {
        let list: CommList = "nginx,tokio-runtime-w".parse().expect("is a list");
        assert!(list.contains(Comm::from("nginx")));
        assert!(list.contains(Comm::from("tokio-runtime-w")));
        assert!(!list.contains(Comm::from("ngin")));
        assert!("a-name-of-sixteen".parse::<CommList>().is_err());
        assert!("".parse::<CommList>().is_err());
    }

    #[test]
    fn pids_and_states_refuse_what_they_do_not_know() {
        assert!("1,2".parse::<PidList>().is_ok());
        for bad in ["0", "-1", "x", "1,,2"] {
            assert!(bad.parse::<PidList>().is_err(), "{bad}");
        }
        let set: StateSet = "close-wait,ESTAB".parse().expect("is a set");
        assert!(set.contains(TcpState::CloseWait) && set.contains(TcpState::Established));
        assert!(!set.contains(TcpState::Close));
        assert!("close-wait,open".parse::<StateSet>().is_err());
    }
}
