//! nginx serves short requests of browsers.

use super::{Ending, How, MS, Opening, Place, Plan, Random, S, Script, Side, US, Who, plain};

pub(super) fn script(random: &mut Random, plan: &Plan) -> Script {
    let client = if random.is_one_of(250) { Place::FarV6 } else { Place::Far };
    let by = if random.is_one_of(plan.web_server_closes) { Side::Server } else { Side::Client };
    let ending = match (by, random.below(1000)) {
        (_, 0..25) => Ending { by: Side::Client, how: How::Reset },
        (_, 25..32) => Ending { by: Side::Server, how: How::Reset },
        (Side::Server, 32..60) => Ending { by, how: How::Forgotten },
        (Side::Server, 60..64) => Ending { by, how: How::Gone },
        _ => Ending { by, how: How::Fin },
    };
    // A port scan, once in a while.
    let opening = if random.is_one_of(3) { Opening::Denied } else { Opening::Answered };
    Script {
        opening,
        ending,
        stay_ns: random.spread(3 * MS, 12 * S),
        linger_ns: random.spread(60 * US, 40 * MS),
        rtt_ns: random.spread(4 * MS, 120 * MS),
        ..plain(client, Place::Here(Who::Nginx), 443, by)
    }
}
