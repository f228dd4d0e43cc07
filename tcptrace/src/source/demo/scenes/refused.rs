//! prometheus asks hosts where the exporter is down.

use super::{Opening, Place, Random, Script, Side, US, Who, plain, v4};

pub(super) fn script(random: &mut Random) -> Script {
    let last = u8::try_from(17 + random.below(3)).unwrap_or(17);
    Script {
        opening: Opening::Refused,
        linger_ns: random.spread(40 * US, 300 * US),
        rtt_ns: random.spread(150 * US, 600 * US),
        ..plain(Place::Here(Who::Prometheus), v4([10, 0, 0, last]), 9100, Side::Client)
    }
}
