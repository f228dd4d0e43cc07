//! The pure model: what the events mean. No clock, no file descriptor, no aya, no tokio: time arrives in the
//! event, and live, replayed and synthetic events take the same way.

pub mod connection;
pub mod counters;
pub mod dwell;
pub mod ending;
pub mod event;
pub mod filter;
pub mod filter_lists;
pub mod findings;
mod half_open;
pub mod heal;
pub mod held;
pub mod histogram;
mod known;
mod listeners;
pub mod observation;
mod ordered;
pub mod owner;
mod pending;
pub mod prefilter;
pub mod processes;
mod resample;
pub mod sample;
pub mod snapshot;
pub mod stack;
pub mod state;
pub mod table;
mod time_wait;
pub mod workload;

pub use self::{
    connection::{Connection, Origin, Role},
    counters::Counters,
    dwell::Dwell,
    ending::{ClosedBy, EndCause},
    event::{
        Accepted, Comm, Destroyed, Endpoint, Event, Family, Forked, KtimeNs, Lost, LostAt, ProcessStart,
        Request, ResetReason, ResetReceived, ResetSent, SocketKey, Task, ThreadId, TimeWait, TimerAction,
        Transition, Tuple,
    },
    filter::Filter,
    heal::{Drift, Look},
    held::Held,
    observation::Observation,
    owner::{Owner, OwnerIs},
    prefilter::Candidate,
    processes::Processes,
    sample::{Sampled, SampledKind},
    stack::{Frame, Stack, StackTop, Stacks},
    state::TcpState,
    table::{Limits, Sees, Table},
    workload::{Cgroup, Container, NetnsName, Runtime, Workload},
};
