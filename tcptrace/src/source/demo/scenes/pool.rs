//! Connections that are kept for long and idle most of the time: pools of database and cache clients, web sockets, shells.

use super::{MS, Place, Plan, Random, Script, Side, US, Who, plain};

pub(super) fn script(random: &mut Random, plan: &Plan) -> Script {
    let (client, server, port) = match random.below(100) {
        0..40 => (Place::Far, Who::Nginx, 443),
        40..50 => (Place::FarV6, Who::Nginx, 443),
        50..65 => (Place::Here(Who::Api), Who::Postgres, 5432),
        65..80 => (Place::Near, Who::Postgres, 5432),
        80..99 => (Place::Near, Who::Redis, 6379),
        _ => (Place::Near, Who::Sshd, 22),
    };
    Script {
        stay_ns: random.pause(plan.pool_stay_ns),
        linger_ns: random.spread(50 * US, 2 * MS),
        rtt_ns: random.spread(100 * US, 800 * US),
        ..plain(client, Place::Here(server), port, Side::Client)
    }
}
