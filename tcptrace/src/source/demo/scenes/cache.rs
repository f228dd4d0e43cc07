//! Programs of other hosts that ask redis one thing.

use super::{Place, Random, Script, Side, US, Who, plain};

pub(super) fn script(random: &mut Random) -> Script {
    Script {
        stay_ns: random.spread(200 * US, 60_000 * US),
        linger_ns: random.spread(20 * US, 400 * US),
        rtt_ns: random.spread(150 * US, 700 * US),
        ..plain(Place::Near, Place::Here(Who::Redis), 6379, Side::Client)
    }
}
