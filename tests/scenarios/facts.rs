//! What the host says besides events, in words:
//!
//! ```text
//! host socket SOCKET STATE [acked=SECONDS] [idle=SECONDS] [keepalive=yes] [file=no] [retrans=N] [rqueue=N] [wqueue=N] [lport=N] [at=TIME]
//! host ports FIRST LAST            ip_local_port_range
//! host reuse NUMBER                tcp_tw_reuse
//! host counts NAME=N...            time_wait_overflows, listen_overflows, syncookies
//! host descriptors PID/COMM OPEN SOCKETS LIMIT
//! ```
//!
//! There is only network namespace 1. What is said of a socket or a process replaces what was said before.

use tcptrace::model::{
    KtimeNs,
    findings::host::{Counters, Descriptors, Details, Host},
};

use crate::{
    Result,
    script::{key, moment, process},
};

/// Takes one line in.
pub(crate) fn read(words: &[&str], host: &mut Host) -> Result<()> {
    let netns = std::num::NonZeroU32::MIN;
    match words {
        ["socket", socket, state, options @ ..] => {
            let mut details = Details {
                state: state.parse()?,
                not_before: KtimeNs(0),
                at: KtimeNs(0),
                local_port: None,
                ack_idle_ns: None,
                data_idle_ns: None,
                has_keepalive: false,
                retransmissions: 0,
                rqueue: 0,
                wqueue: 0,
                has_file: true,
            };
            for option in options {
                match option.split_once('=').ok_or("an option is NAME=VALUE")? {
                    ("acked", seconds) => details.ack_idle_ns = Some(moment(seconds)?.0),
                    ("idle", seconds) => details.data_idle_ns = Some(moment(seconds)?.0),
                    ("at", time) => (details.not_before, details.at) = (moment(time)?, moment(time)?),
                    ("keepalive", yes) => details.has_keepalive = yes == "yes",
                    ("file", yes) => details.has_file = yes == "yes",
                    ("retrans", number) => details.retransmissions = number.parse()?,
                    ("rqueue", number) => details.rqueue = number.parse()?,
                    ("wqueue", number) => details.wqueue = number.parse()?,
                    ("lport", port) => details.local_port = Some(port.parse()?),
                    (other, _) => return Err(format!("unknown option {other}").into()),
                }
            }
            host.sockets.insert(key(socket)?, details);
        }
        ["ports", first, last] => {
            let local_ports = Some((first.parse()?, last.parse()?));
            host.settings.entry(netns).or_default().local_ports = local_ports;
        }
        ["reuse", number] => {
            host.settings.entry(netns).or_default().reuses_time_wait = Some(number.parse()?);
        }
        ["counts", options @ ..] => {
            let mut counters = Counters::default();
            for option in options {
                let (name, number) = option.split_once('=').ok_or("an option is NAME=VALUE")?;
                let counter = match name {
                    "time_wait_overflows" => &mut counters.time_wait_overflows,
                    "listen_overflows" => &mut counters.listen_overflows,
                    "syncookies" => &mut counters.syncookies,
                    other => return Err(format!("unknown counter {other}").into()),
                };
                *counter = number.parse()?;
            }
            host.counters.insert(netns, counters);
        }
        ["descriptors", task, open, sockets, limit] => {
            let (pid, comm) = task.split_once('/').ok_or("a task is PID/COMM")?;
            let task = process(pid, comm)?;
            host.processes.retain(|process| process.task.pid != task.pid);
            let limit = Some(limit.parse()?);
            host.processes.push(Descriptors { task, open: open.parse()?, sockets: sockets.parse()?, limit });
        }
        _ => return Err("is not understood".into()),
    }
    Ok(())
}
