//! The orders service forgets to close what the payment service has closed.

use super::{Ending, How, MS, Place, Random, S, Script, Side, Who, plain, v4};

pub(super) fn script(random: &mut Random) -> Script {
    let last = if random.is_one_of(500) { 44 } else { 45 };
    Script {
        ending: Ending { by: Side::Server, how: How::Leaked },
        stay_ns: random.spread(S, 15 * S),
        rtt_ns: random.spread(8 * MS, 30 * MS),
        ..plain(Place::Here(Who::Orders), v4([192, 0, 2, last]), 443, Side::Server)
    }
}
