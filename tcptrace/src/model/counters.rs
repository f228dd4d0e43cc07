//! What the table counts.

/// What the table has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transitions told.
    pub transitions: u64,
    /// Full sockets swapped for time-wait ones, which the kernel reports as `-> CLOSE` and which is no transition.
    pub swaps: u64,
    /// Lives begun. Always `closed + evicted + let_go + live`.
    pub opened: u64,
    /// Of these, connections that were open when tracing began.
    pub seeded: u64,
    /// Lives ended, those whose end was missed included.
    pub closed: u64,
    /// Live connections given up because the table was full.
    pub evicted: u64,
    /// Live connections that were asked for, and what may become of them is not.
    pub let_go: u64,
    /// Transitions whose old state was not the one the connection was in: events are missing.
    pub gaps: u64,
    /// Transitions that no kernel is known to make.
    pub illegal: u64,
    /// Transitions that lie before the last one of their socket.
    pub backwards: u64,
    /// Connections that were put right after a loss.
    pub corrected: u64,
    /// Transitions that only the second observer saw.
    pub recovered: u64,
    /// Listeners' children that were made and of which nothing more was seen: the kernel makes two where two processors
    /// take in segments of one half-open connection, and throws one away.
    pub unborn: u64,
    /// Records that were made but did not arrive.
    pub lost: u64,
    /// Closed sockets that were forgotten while they were held, because the table was full.
    pub held_forgotten: u64,
}
