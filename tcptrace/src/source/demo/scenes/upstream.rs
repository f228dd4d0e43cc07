//! nginx keeps connections to the API for some requests.

use super::{MS, Place, Random, S, Script, Side, US, Who, plain};

pub(super) fn script(random: &mut Random) -> Script {
    let by = if random.is_one_of(700) { Side::Client } else { Side::Server };
    Script {
        stay_ns: random.spread(500 * MS, 60 * S),
        linger_ns: random.spread(30 * US, 3 * MS),
        rtt_ns: random.spread(40 * US, 150 * US),
        ..plain(Place::Here(Who::Nginx), Place::Here(Who::Api), 8080, by)
    }
}
