//! What pages have in common as JSON.

use serde_json::{Map, Value, json};

use super::{
    page::{Context, PageId},
    world::{STATES, World, place},
};
use crate::{
    model::TcpState,
    output::{Moment, Rfc3339, hist::report::Endings},
};

/// Which page, and of when: `page`, `at` (RFC 3339) and `counted_at`, the moment of the counts.
pub fn head(page: PageId, context: &Context<'_>) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("page".to_owned(), page.name().into());
    head.insert("at".to_owned(), at(context.world.now()).into());
    head.insert("counted_at".to_owned(), counted_at(context.world).map(at).into());
    head
}

/// RFC 3339 in UTC.
pub fn at(moment: Moment) -> String {
    Rfc3339::new(moment.unix_ns).as_str().to_owned()
}

/// The moment of the last walk over all connections.
fn counted_at(world: &dyn World) -> Option<Moment> {
    let now = world.now();
    let ago = now.ktime.since(world.walked()?)?;
    Some(Moment { unix_ns: now.unix_ns - i128::from(ago), ..now })
}

/// Something of each state, by its name; CLOSE is left out.
pub fn by_state(of: impl Fn(usize) -> Value) -> Value {
    let states = TcpState::IN_LIFE.into_iter().filter(|state| *state != TcpState::Close);
    states.map(|state| (state.name().to_owned(), of(place(state)))).collect::<Map<_, _>>().into()
}

/// How many there are in each state.
pub fn counts(counts: &[u64; STATES]) -> Value {
    by_state(|at| json!(counts.get(at)))
}

/// How connections ended, in the order of [`Ending::ALL`](crate::model::histogram::Ending::ALL).
pub fn endings(
    [orderly, reset_local, reset_remote, refused, timeout, overflow, unknown]: [u64; 7],
) -> Endings {
    Endings { orderly, reset_local, reset_remote, refused, timeout, overflow, unknown }
}
