//! A crawler has a list of hosts most of which are no more.

use super::{MS, Opening, Place, Random, S, Script, Side, Who, host, plain, v4};

pub(super) fn script(random: &mut Random) -> Script {
    let subnet = u8::try_from(random.below(16)).unwrap_or(0);
    Script {
        opening: if random.is_one_of(80) { Opening::Answered } else { Opening::Silent },
        stay_ns: random.spread(20 * MS, 2 * S),
        rtt_ns: random.spread(20 * MS, 180 * MS),
        ..plain(Place::Here(Who::Crawler), v4([198, 19, 240 + subnet, host(random)]), 80, Side::Client)
    }
}
