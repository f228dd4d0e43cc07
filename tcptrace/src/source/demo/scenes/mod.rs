//! What the programs do: each scene says of a connection that begins how it will go.

mod cache;
mod fan_out;
mod half_open;
mod held;
mod leak;
mod pool;
mod refused;
mod upstream;
mod web;

use std::net::{IpAddr, Ipv4Addr};

use super::{
    cast::Who,
    life::{Ending, How, Opening, Side},
    plan::Plan,
    random::Random,
};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// Where an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this host.
    Here(Who),
    /// Anywhere.
    Far,
    /// Anywhere, and its address is of the sixth version.
    FarV6,
    /// In the same building.
    Near,
    /// There.
    At(IpAddr),
}

/// How a connection will go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) client: Place,
    pub(super) server: Place,
    /// The service's.
    pub(super) port: u16,
    pub(super) opening: Opening,
    pub(super) ending: Ending,
    /// In ESTABLISHED.
    pub(super) stay_ns: u64,
    /// Until the other end has closed or let go, too.
    pub(super) linger_ns: u64,
    /// Of a segment and its acknowledgement.
    pub(super) rtt_ns: u64,
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scene {
    Web,
    Upstream,
    Cache,
    Pool,
    Leak,
    FanOut,
    Refused,
    HalfOpen,
    Held,
}

impl Scene {
    pub(super) const ALL: [Self; 9] = [
        Self::Web,
        Self::Upstream,
        Self::Cache,
        Self::Pool,
        Self::Leak,
        Self::FanOut,
        Self::Refused,
        Self::HalfOpen,
        Self::Held,
    ];

    /// Its next connection.
    pub(super) fn script(self, random: &mut Random, plan: &Plan) -> Script {
        match self {
            Self::Web => web::script(random, plan),
            Self::Upstream => upstream::script(random),
            Self::Cache => cache::script(random),
            Self::Pool => pool::script(random, plan),
            Self::Leak => leak::script(random),
            Self::FanOut => fan_out::script(random),
            Self::Refused => refused::script(random),
            Self::HalfOpen => half_open::script(random),
            Self::Held => held::script(random),
        }
    }

    /// How often one begins whatever the load is; `None` where the load decides.
    pub(super) const fn pause_ns(self) -> Option<u64> {
        match self {
            Self::Web | Self::Upstream | Self::Cache | Self::Pool => None,
            Self::Leak => Some(4 * S),
            Self::FanOut => Some(2 * S),
            Self::Refused => Some(5 * S),
            Self::HalfOpen => Some(3 * S),
            Self::Held => Some(30 * S),
        }
    }
}

/// Opened with a handshake, and closed by both.
fn plain(client: Place, server: Place, port: u16, by: Side) -> Script {
    Script {
        client,
        server,
        port,
        opening: Opening::Answered,
        ending: Ending { by, how: How::Fin },
        stay_ns: 0,
        linger_ns: 100 * US,
        rtt_ns: 300 * US,
    }
}

fn v4(octets: [u8; 4]) -> Place {
    Place::At(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// One of 254 hosts.
fn host(random: &mut Random) -> u8 {
    u8::try_from(1 + random.below(254)).unwrap_or(1)
}
