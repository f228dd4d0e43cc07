//! The ledger does not notice for minutes that a feed of prices was reset.

use super::{Ending, How, MS, Place, Random, S, Script, Side, Who, plain, v4};

pub(super) fn script(random: &mut Random) -> Script {
    Script {
        ending: Ending { by: Side::Server, how: How::Reset },
        stay_ns: random.spread(5 * S, 40 * S),
        linger_ns: random.spread(120 * S, 400 * S),
        rtt_ns: random.spread(3 * MS, 9 * MS),
        ..plain(Place::Here(Who::Ledger), v4([192, 0, 2, 77]), 7400, Side::Server)
    }
}
