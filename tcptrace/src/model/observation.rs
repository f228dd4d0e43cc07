//! What the table tells.

use super::{
    connection::Connection,
    dwell::Dwell,
    event::{ResetReason, SocketKey, Transition},
    owner::Owner,
    state::TcpState,
    time_wait::synthetic,
};

/// What one transition told.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The transition itself.
    pub transition: Transition,
    /// Its connection, after the transition.
    pub connection: Connection,
    /// The state that the table had the socket in until now, whatever the kernel says of it; `None` when it had it in none.
    pub before: Option<TcpState>,
    /// Time spent in the old state, `None` when unknown.
    pub dwell: Option<Dwell>,
    /// Who owns the socket.
    pub owner: Option<Owner>,
    /// Why we reset it, where we did and the kernel says so.
    pub reset_reason: Option<ResetReason>,
}

impl Observation {
    /// A connection as it is, as a transition from its state to its state.
    pub fn of_state(key: SocketKey, connection: &Connection, owner: Option<Owner>) -> Self {
        let transition = synthetic(connection, key, connection.since_ns(), connection.state);
        let transition = Transition { old: connection.state, ..transition };
        Self {
            transition,
            connection: *connection,
            before: Some(connection.state),
            dwell: None,
            owner,
            reset_reason: None,
        }
    }
}
