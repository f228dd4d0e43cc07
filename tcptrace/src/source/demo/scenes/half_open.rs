//! Somebody sends SYNs to sshd and never answers.

use super::{MS, Opening, Place, Random, Script, Side, Who, plain};

pub(super) fn script(random: &mut Random) -> Script {
    Script {
        opening: if random.is_one_of(150) { Opening::Denied } else { Opening::HalfOpen },
        rtt_ns: random.spread(30 * MS, 200 * MS),
        ..plain(Place::Far, Place::Here(Who::Sshd), 22, Side::Client)
    }
}
