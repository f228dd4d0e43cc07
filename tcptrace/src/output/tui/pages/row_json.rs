//! A connection as an object for programs, with the fields of a `transition`.

use serde_json::{Map, Value, json};

use crate::{
    model::{Observation, TcpState},
    output::{
        Beside, Moment,
        escape::Medium,
        json::TransitionFields,
        tui::world::{Kind, Row, World},
    },
};

/// Fields of a transition that a state does not have.
const OF_TRANSITIONS: [&str; 8] =
    ["type", "schema_version", "ts", "ts_ns", "old_state", "new_state", "reset_reason", "stack"];

/// The row at a moment: the fields of a `transition` that are not about a change, and `state`, `kind` (`open`, `held`,
/// `closed`), `duration_ns` and `duration_is`, which are about that state.
pub(super) fn fields(row: &Row, at: Moment, world: &dyn World) -> Map<String, Value> {
    let observed = Observation::of_state(row.key, &row.connection, row.owner);
    let names = world.names(row);
    let beside = Beside { names: &names, stack: None, is_new_stack: false };
    let written = serde_json::to_value(TransitionFields::new(at, &observed, beside, Medium::Json));
    let Ok(Value::Object(mut fields)) = written else { return Map::new() };
    for name in OF_TRANSITIONS {
        fields.remove(name);
    }
    let (ns, is_at_least) = row.age(at.ktime);
    let is_to_a_jiffy = row.closed.is_none() && row.connection.is_entered_to_a_jiffy();
    let quality = match (is_at_least, is_to_a_jiffy) {
        (true, _) => "at_least",
        (false, true) => "jiffy",
        (false, false) => "exact",
    };
    fields.insert("state".to_owned(), json!(row.state().name()));
    fields.insert("kind".to_owned(), json!(kind(row.kind)));
    fields.insert("duration_ns".to_owned(), json!(ns));
    fields.insert("duration_is".to_owned(), json!(ns.filter(|_| !row.is_doubtful).map(|_| quality)));
    if row.state() != TcpState::Close {
        fields.insert("end_cause".to_owned(), Value::Null);
    }
    fields
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "open",
        Kind::Held => "held",
        Kind::Closed => "closed",
    }
}
