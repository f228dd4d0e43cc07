//! From what the kernel's tables show to the facts that findings are made of.

use crate::{
    model::{
        Tuple,
        findings::host::{Counters, Details, Host},
    },
    source::diag::{DiagReply, DiagSocket, TcpExt, TimerKind},
};

const MS: u64 = 1_000_000;

/// All of them.
pub(super) fn host(reply: &DiagReply) -> Host {
    Host {
        read: (!reply.namespaces.is_empty()).then_some(reply.ended),
        unread: reply.errors.iter().map(|error| error.error.to_string()).collect(),
        sockets: reply.sockets.iter().filter_map(|socket| Some((socket.key()?, details(socket)))).collect(),
        requests: reply.sockets.iter().filter(|socket| socket.is_request()).filter_map(request).collect(),
        settings: reply.settings.iter().copied().collect(),
        counters: reply.counters.iter().map(|(netns, of)| (*netns, counters(of))).collect(),
        processes: reply.holders.descriptors.clone(),
        hidden_processes: reply.hidden_processes.max(reply.holders.hidden_processes),
    }
}

fn request(socket: &DiagSocket) -> Option<(Tuple, Details)> {
    Some((Tuple::new(Some(socket.at.netns), socket.local, socket.remote)?, details(socket)))
}

fn details(socket: &DiagSocket) -> Details {
    let times = socket.times;
    Details {
        state: socket.state,
        not_before: socket.at.not_before,
        at: socket.at.not_after,
        local_port: socket.local.port,
        ack_idle_ns: times.map(|times| u64::from(times.last_ack_recv_ms) * MS),
        data_idle_ns: times.map(|times| u64::from(times.last_data_sent_ms.min(times.last_data_recv_ms)) * MS),
        has_keepalive: socket.timer.is_some_and(|timer| timer.kind == TimerKind::KeepAlive),
        retransmissions: socket.retrans,
        rqueue: socket.rqueue,
        wqueue: socket.wqueue,
        has_file: socket.inode.is_some(),
    }
}

/// What the kernel does not count is never more than before.
fn counters(of: &TcpExt) -> Counters {
    Counters {
        time_wait_overflows: of.time_wait_overflows.unwrap_or(0),
        listen_overflows: of.listen_overflows.unwrap_or(0),
        syncookies: of.syncookies_sent.unwrap_or(0),
    }
}
