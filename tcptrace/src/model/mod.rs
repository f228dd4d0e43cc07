//! The pure model: what the events mean. No clock, no file descriptor, no aya, no tokio: time arrives in the
//! event, and live, replayed and synthetic events take the same way.

pub mod connection;
pub mod dwell;
pub mod ending;
pub mod event;
pub mod filter;
pub mod filter_lists;
pub mod heal;
pub mod sample;
pub mod state;
pub mod table;
mod time_wait;

pub use self::{
    connection::{Connection, Origin, Role},
    dwell::Dwell,
    ending::{ClosedBy, EndCause},
    event::{
        Comm, Endpoint, Event, Family, KtimeNs, Lost, LostAt, SocketKey, Task, ThreadId, TimeWait,
        TimerAction, Transition,
    },
    filter::Filter,
    heal::Look,
    sample::Sampled,
    state::TcpState,
    table::{Counters, Limits, Observation, Table},
};
