//! Rows are what a plain count over the table gives.

use std::num::NonZeroU32;

use super::*;
use crate::{
    model::{Accepted, Comm, Endpoint, Event, Family, Limits, Sees, SocketKey, Table, Transition},
    output::{Moment, findings::LookoutOptions},
};

use TcpState::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

struct Host {
    table: Table,
    lookout: Lookout,
    now: u64,
}

fn task(pid: u32, tid: u32, comm: &str) -> Task {
    let id = |id| NonZeroU32::new(id).expect("is not 0");
    Task {
        pid: id(pid),
        tid: id(tid),
        comm: Comm::from(comm),
        started: None,
        cgroup: std::num::NonZeroU64::new(7),
    }
}

fn end(addr: [u8; 4], port: u16) -> Endpoint {
    Endpoint { addr: Some(addr.into()), port: NonZeroU16::new(port) }
}

const HERE: [u8; 4] = [10, 0, 0, 1];

impl Host {
    fn new() -> Self {
        let mut table = Table::new(KtimeNs(0), Limits::default());
        table.set_sees(Sees { destruction: true, ..Sees::default() });
        Self { table, lookout: Lookout::new(LookoutOptions::default()), now: 1_000_000_000 }
    }

    fn apply(&mut self, event: &Event) {
        let lookout = &mut self.lookout;
        self.table.apply(event, &mut |observed| {
            let ktime = observed.transition.ts;
            lookout.note(Moment { ktime, unix_ns: 0, elapsed_ns: ktime.0 }, observed, None);
        });
    }

    /// Goes from state to state, each a millisecond later than the last.
    fn go(
        &mut self,
        socket: u64,
        states: &[TcpState],
        task: Option<Task>,
        local: Endpoint,
        remote: Endpoint,
    ) {
        for pair in states.windows(2) {
            self.now += 1_000_000;
            let key = SocketKey::from_address(socket);
            let transition = Transition {
                local,
                remote,
                netns: NonZeroU32::new(1),
                error: Some(0),
                task: task.filter(|_| pair[0] == Close || pair[0] == Listen),
                ..Transition::bare(KtimeNs(self.now), key, Family::V4, (pair[0], pair[1]))
            };
            // The child of a listener is not made by a call of its owner.
            let transition = Transition { task: transition.task.filter(|_| pair[0] != Listen), ..transition };
            self.apply(&Event::Transition(transition));
        }
    }

    fn accept(&mut self, socket: u64, task: Task) {
        let event = Accepted { ts: KtimeNs(self.now), key: SocketKey::from_address(socket), task };
        self.apply(&Event::Accepted(event));
    }

    fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        // Twice, as what is kept from walk to walk must not be in the way.
        for _ in 0..2 {
            let survey = rows.begin(KtimeNs(self.now));
            let owner =
                |connection: &_| self.table.owner_number(connection).zip(self.table.owner_of(connection));
            for (_, connection) in self.table.live() {
                survey.add(false, connection, owner(connection));
            }
            for (_, held) in self.table.held() {
                survey.add(true, &held.connection, owner(&held.connection));
            }
            let cgroup = Arc::new(Cgroup::at(b"/system.slice/web.service"));
            rows.end(&self.lookout, &mut |_| Some(Arc::clone(&cgroup)));
        }
        rows
    }
}

#[test]
fn ports_and_processes_are_counted() {
    let mut host = Host::new();
    let (web, worker, client) = (task(10, 10, "web"), task(10, 11, "web-worker"), task(20, 20, "curl"));
    host.go(1, &[Close, Listen], Some(web), end([0; 4], 80), end([0; 4], 0));
    for (socket, peer) in [(2, 1), (3, 2), (4, 2)] {
        host.go(socket, &[Listen, SynRecv, Established], None, end(HERE, 80), end([192, 0, 2, peer], 40_000));
    }
    host.accept(2, worker);
    host.accept(3, web);
    host.go(3, &[Established, CloseWait], None, end(HERE, 80), end([192, 0, 2, 2], 40_000));
    host.now += 5_000_000;
    host.go(5, &[Close, SynSent], Some(client), end(HERE, 50_000), end([198, 51, 100, 1], 443));
    host.go(
        6,
        &[Close, SynSent, Established, Close],
        Some(client),
        end(HERE, 50_001),
        end([198, 51, 100, 1], 8080),
    );
    // What is open before its role is known.
    host.go(7, &[Established, CloseWait], None, end(HERE, 50_002), end([198, 51, 100, 9], 9));
    let rows = host.rows();

    let port =
        |number: u16| rows.ports.iter().find(|row| row.port == NonZeroU16::new(number)).expect("has a row");
    assert_eq!(rows.ports.first().and_then(|row| row.port), NonZeroU16::new(80), "it has the most");
    let of_state = |row: &PortRow, state: TcpState| row.counts[place(state)];
    assert_eq!(
        (of_state(port(80), Listen), of_state(port(80), Established), of_state(port(80), CloseWait)),
        (1, 2, 1)
    );
    assert_eq!(port(80).owner, Some((Comm::from("web"), 0)), "threads are of one process");
    assert_eq!(port(80).stays[place(Established)].map(|(p50, _)| p50), Some(3_000_000));
    assert_eq!((of_state(port(443), SynSent), port(443).held), (1, 0));
    assert_eq!((port(8080).counts.iter().sum::<u64>(), port(8080).held), (0, 1));
    assert_eq!(port(8080).endings[Ending::ResetByUs as usize], 1);
    assert_eq!(port(8080).transitions, 3);
    let without = rows.ports.last().expect("there are rows");
    assert_eq!((without.port, of_state(without, CloseWait)), (None, 1));

    let process =
        |pid: u32| rows.processes.iter().find(|row| row.pid == NonZeroU32::new(pid)).expect("has a row");
    let web = process(10);
    assert_eq!((web.comm, web.not_accepted, web.held), (Some(Comm::from("web")), 1, 0));
    assert_eq!(web.peers, (2, Some([192, 0, 2, 2].into())), "a listener has none");
    assert_eq!(web.oldest_close_wait, Some((10_000_000, false)));
    assert_eq!(web.ports, [NonZeroU16::new(80).expect("is not 0")]);
    assert_eq!(web.cgroup.as_ref().map(|cgroup| cgroup.path.as_str()), Some("/system.slice/web.service"));
    assert_eq!((process(20).held, process(20).counts[place(SynSent)]), (1, 1));
    assert_eq!(process(20).ports.len(), 2, "what it holds has a port, too");
    let without = rows.processes.last().expect("there are rows");
    assert_eq!((without.pid, without.counts[place(CloseWait)]), (None, 1));
    assert_eq!(without.oldest_close_wait.map(|(_, is_bound)| is_bound), Some(false));
    assert_eq!((rows.left_out, rows.walked), ((0, 0), Some(KtimeNs(host.now))));
}

#[test]
fn what_there_is_no_room_for_is_in_the_row_without_a_name() {
    let mut host = Host::new();
    let ports = u16::try_from(MOST_PORTS).expect("is small") + 10;
    for port in 1..=ports {
        let process = Some(task(1_000_000 + u32::from(port), 1_000_000 + u32::from(port), "client"));
        host.go(port.into(), &[Close, SynSent], process, end(HERE, 1), end(HERE, port));
    }
    // That one has two.
    host.go(99_999, &[Close, SynSent], Some(task(1, 1, "client")), end(HERE, 2), end(HERE, ports));
    let rows = host.rows();
    assert_eq!((rows.ports.len(), rows.left_out), (MOST_PORTS + 1, (10, 0)));
    assert_eq!(rows.ports[0].port.map(NonZeroU16::get), Some(ports));
    assert_eq!(rows.ports[0].owner.map(|(_, others)| others), Some(1));
    let rest = rows.ports.last().expect("there are rows");
    assert_eq!((rest.port, rest.counts[place(SynSent)], rest.transitions, rest.owner), (None, 10, 10, None));
    let all = rows.ports.iter().map(|row| row.counts[place(SynSent)]).sum::<u64>();
    assert_eq!(all, u64::from(ports) + 1);
}

#[test]
fn a_time_that_is_not_known_makes_the_oldest_a_bound() {
    let mut host = Host::new();
    let web = task(10, 10, "web");
    host.go(1, &[Close, Listen], Some(web), end([0; 4], 80), end([0; 4], 0));
    host.go(2, &[Listen, SynRecv, Established, CloseWait], None, end(HERE, 80), end(HERE, 9));
    let row = |host: &Host| host.rows().processes.into_iter().find(|row| row.pid.is_some());
    assert_eq!(row(&host).and_then(|row| row.oldest_close_wait), Some((0, false)));
    let sampled = crate::model::Sampled {
        key: SocketKey::from_address(3),
        family: Family::V4,
        local: end(HERE, 80),
        remote: end(HERE, 10),
        state: CloseWait,
        kind: crate::model::SampledKind::Full,
        netns: NonZeroU32::MIN,
        uid: None,
        entered: None,
    };
    host.table.seed(&[sampled]);
    host.table.note_holders(&[(sampled.key, web)]);
    let oldest = row(&host).and_then(|row| row.oldest_close_wait);
    assert_eq!(oldest, Some((host.now, true)), "tracing began at 0");
}
