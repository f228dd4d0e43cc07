//! `tcptrace snapshot` against `ss`, for a set of sockets that holds still.

use std::{
    collections::BTreeMap,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use socket2::{SockFilter, SockRef};

use crate::{
    half_open::{SYN, filtered_listener},
    harness::program,
    machine,
    netns::{self, black_hole, unique_port},
    traffic::{close, read_end},
};

/// One look, in the namespace of the calling thread.
fn look(args: &[&str]) -> Result<Value> {
    let output = Command::new(program())
        .args(["snapshot", "-o", "json", "-N", "self"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("snapshot")?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// States as `ss -tan` counts them, in the kernel's spelling.
fn counted_by_ss() -> Result<BTreeMap<String, u64>> {
    let output = Command::new("ss").args(["-tanH"]).output().context("ss (iproute2)")?;
    let mut counts = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let word = line.split_whitespace().next().context("an empty line")?;
        let state = match word {
            "ESTAB" => "ESTABLISHED",
            "SYN-SENT" => "SYN_SENT",
            "SYN-RECV" => "SYN_RECV",
            "FIN-WAIT-1" => "FIN_WAIT1",
            "FIN-WAIT-2" => "FIN_WAIT2",
            "TIME-WAIT" => "TIME_WAIT",
            "CLOSE-WAIT" => "CLOSE_WAIT",
            "LAST-ACK" => "LAST_ACK",
            other => other,
        };
        *counts.entry(state.to_owned()).or_insert(0) += 1;
    }
    Ok(counts)
}

fn counts_of(snapshot: &Value) -> Result<BTreeMap<String, u64>> {
    let states = snapshot["all"]["states"].as_object().context("no states")?;
    let counts = states.iter().filter_map(|(state, count)| Some((state.clone(), count.as_u64()?)));
    Ok(counts.filter(|(_, count)| *count > 0).collect())
}

/// Lets nothing in any more: whatever the peer sends, the socket stays as it is.
pub(crate) fn deafen<S: AsFd>(socket: &S) -> Result<()> {
    SockRef::from(socket).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).context("SO_ATTACH_FILTER")
}

/// Sockets that hold still, and how many there are in each state.
#[derive(Default)]
struct Still {
    kept: Vec<OwnedFd>,
    counts: BTreeMap<String, u64>,
}

impl Still {
    fn count(&mut self, states: &[&str]) {
        for state in states {
            *self.counts.entry((*state).to_owned()).or_insert(0) += 1;
        }
    }

    /// Both ends.
    fn keep(&mut self, client: TcpStream, server: TcpStream, states: [&str; 2]) {
        self.kept.extend([client.into(), server.into()]);
        self.count(&states);
    }

    /// A connection in one of the ways to be closed, or open.
    fn connection(&mut self, listener: &TcpListener, kind: usize) -> Result<()> {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        match kind {
            0 => self.keep(client, server, ["ESTABLISHED", "ESTABLISHED"]),
            1 => {
                client.shutdown(Shutdown::Write)?;
                read_end(&mut server)?;
                self.keep(client, server, ["FIN_WAIT2", "CLOSE_WAIT"]);
            }
            2 => {
                close(client);
                read_end(&mut server)?;
                close(server);
                self.count(&["TIME_WAIT"]);
            }
            3 => {
                // The acknowledgement of its FIN does not get through.
                deafen(&client)?;
                client.shutdown(Shutdown::Write)?;
                read_end(&mut server)?;
                self.keep(client, server, ["FIN_WAIT1", "CLOSE_WAIT"]);
            }
            4 => {
                client.shutdown(Shutdown::Write)?;
                read_end(&mut server)?;
                deafen(&server)?;
                server.shutdown(Shutdown::Write)?;
                let mut client = client;
                read_end(&mut client)?;
                // The client's socket is a time-wait socket now, and its descriptor's is closed.
                self.keep(client, server, ["TIME_WAIT", "LAST_ACK"]);
            }
            _ => {
                // Each has sent its FIN before it knows of the other's. Then the client hears that of the server, which
                // acknowledges nothing.
                deafen(&client)?;
                deafen(&server)?;
                client.shutdown(Shutdown::Write)?;
                server.shutdown(Shutdown::Write)?;
                SockRef::from(&client).detach_filter()?;
                let mut client = client;
                read_end(&mut client)?;
                self.keep(client, server, ["CLOSING", "FIN_WAIT1"]);
            }
        }
        Ok(())
    }

    /// Calls that nobody answers, and calls of which the answer is not answered.
    fn half_open(&mut self, addr: SocketAddr) -> Result<()> {
        let hole = black_hole()?;
        for _ in 0..10 {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            let _ = socket.connect(&hole.into());
            self.kept.push(socket.into());
            self.count(&["SYN_SENT"]);
        }
        let listener = filtered_listener(addr, 100, SYN)?;
        self.count(&["LISTEN"]);
        for _ in 0..20 {
            self.kept.push(TcpStream::connect(addr)?.into());
            self.count(&["SYN_RECV", "ESTABLISHED"]);
        }
        self.kept.push(listener.into());
        Ok(())
    }
}

/// Ten thousand sockets, some in every state: as many as were made, and as `ss` lists.
pub(crate) fn same_as_ss() -> Result<()> {
    let connections = machine::load(6_000);
    machine::allow_descriptors(2 * connections as u64 + 500)?;
    netns::run(|_| {
        // On loopback a time-wait socket of a second's age gives way to a new one by default.
        netns::sysctl("ipv4/tcp_tw_reuse", "0")?;
        let (port, other) = (unique_port(), unique_port());
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let mut still = Still::default();
        still.count(&["LISTEN"]);
        for i in 0..connections {
            still.connection(&listener, i % 3)?;
        }
        for i in 0..30 {
            still.connection(&listener, 3 + i % 3)?;
        }
        let of_service: u64 = still.counts.values().sum();
        still.half_open(SocketAddr::from(([127, 0, 0, 1], other)))?;
        // The last acknowledgements are on their way.
        std::thread::sleep(machine::pause(Duration::from_millis(300)));
        let snapshot = look(&[])?;
        let ours = counts_of(&snapshot)?;
        ensure!(ours == still.counts, "{ours:?}, made {:?}", still.counts);
        ensure!(ours == counted_by_ss()?, "{ours:?}, by ss {:?}", counted_by_ss()?);
        ensure!(ours.len() == 10, "{ours:?}");
        let total: u64 = ours.values().sum();
        ensure!(machine::is_slow() || total >= 10_000, "{ours:?}");
        ensure!(
            summed_up_by_ss()? == (ours["ESTABLISHED"] + ours["CLOSE_WAIT"], ours["TIME_WAIT"]),
            "{ours:?}"
        );
        let by_port = look(&["--by", "port"])?;
        let groups = by_port["groups"].as_array().context("no groups")?;
        let of_port = groups.iter().find(|group| group["key"] == port.to_string().as_str());
        ensure!(of_port.is_some_and(|group| group["total"] == of_service), "{groups:#?}");
        let oldest = snapshot["all"]["oldest_time_wait_ns"].as_u64().context("no age")?;
        ensure!(oldest < 62_000_000_000, "{oldest}");
        Ok(())
    })
}

/// What `ss -s` says of this namespace, by the kernel's counters: `estab` (`CurrEstab`, RFC 4022: ESTABLISHED and CLOSE_WAIT)
/// and `timewait`. Its other numbers are of the whole host.
fn summed_up_by_ss() -> Result<(u64, u64)> {
    let output = Command::new("ss").arg("-s").output().context("ss (iproute2)")?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find(|line| line.starts_with("TCP:")).with_context(|| text.clone())?;
    let after = |word: &str| -> Result<u64> {
        let rest = line.split_once(word).with_context(|| line.to_owned())?.1;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().with_context(|| line.to_owned())
    };
    Ok((after("estab")?, after("timewait")?))
}

/// What waits: connections to be accepted, bytes to be read and to be sent.
pub(crate) fn queues() -> Result<()> {
    use std::io::Write as _;
    netns::run(|_| {
        let port = unique_port();
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
        listener.listen(7)?;
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(("127.0.0.1", port))?;
            client.write_all(b"hello")?;
            clients.push(client);
        }
        let snapshot = look(&["--by", "process"])?;
        let all = &snapshot["all"];
        ensure!(all["accept_queue"] == 3 && all["accept_queue_limit"] == 7, "{all:#?}");
        ensure!(all["unread_bytes"] == 15, "{all:#?}");
        // Nobody has accepted them: no process holds the server's three.
        ensure!(all["unheld"] == 3, "{all:#?}");
        let name = std::fs::read_to_string("/proc/self/comm")?;
        let groups = snapshot["groups"].as_array().context("no groups")?;
        let ours = groups.iter().find(|group| group["key"] == name.trim_end());
        ensure!(ours.is_some_and(|ours| ours["total"] == 4), "{groups:#?}");
        Ok(())
    })
}

/// Without privileges it shows what it may, says what is missing, and ends well.
pub(crate) fn without_root() -> Result<()> {
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ])
        .arg(program())
        .args(["snapshot"])
        .stdin(Stdio::null())
        .output()
        .context("setpriv")?;
    let (said, warned) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{}: {warned}", output.status);
    ensure!(said.contains("not seen: ") && said.contains("run it with sudo"), "{said}{warned}");
    ensure!(said.contains("ESTABLISHED") && said.contains("CLOSE "), "{said}");
    // Root that may not look at the descriptors of processes with more capabilities: who holds our listener is not known.
    netns::run(|_| {
        let _listener = TcpListener::bind(("127.0.0.1", unique_port()))?;
        let output = Command::new("setpriv")
            .args(["--inh-caps=-sys_ptrace", "--bounding-set=-sys_ptrace"])
            .arg(program())
            .args(["snapshot", "-o", "json", "-N", "self"])
            .stdin(Stdio::null())
            .output()
            .context("setpriv")?;
        let warned = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.success() && warned.contains("the descriptors of"),
            "{}: {warned}",
            output.status
        );
        let all = &serde_json::from_slice::<Value>(&output.stdout)?["all"];
        ensure!(all["total"] == 1 && all["holder_unknown"] == 1 && all["unheld"] == 0, "{all:#}");
        Ok(())
    })
}

/// A hundred thousand sockets, more than half of them in TIME_WAIT: how long it takes is printed.
pub(crate) fn a_hundred_thousand() -> Result<()> {
    let (held, unaccepted, waiting) = (machine::load(6_000), machine::load(6_000), machine::load(76_000));
    machine::allow_descriptors((2 * held + unaccepted) as u64 + 500)?;
    netns::run(|_| {
        netns::sysctl("ipv4/tcp_max_tw_buckets", "200000")?;
        netns::sysctl("ipv4/tcp_tw_reuse", "0")?;
        netns::sysctl("core/somaxconn", "65535")?;
        let port = unique_port();
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        listener.bind(&SocketAddr::from(([0, 0, 0, 0], port)).into())?;
        listener.listen(65_535)?;
        let listener = TcpListener::from(listener);
        let connect = |i: usize| -> Result<TcpStream> {
            Ok(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1 + u8::try_from(i % 8)?], port)))?)
        };
        for i in 0..waiting {
            let client = connect(i)?;
            let (mut server, _) = listener.accept()?;
            close(client);
            read_end(&mut server)?;
            close(server);
        }
        let mut kept = Vec::with_capacity(2 * held + unaccepted);
        for i in 0..held {
            kept.push(connect(i)?);
            kept.push(listener.accept()?.0);
        }
        for i in 0..unaccepted {
            kept.push(connect(i)?);
        }
        let begun = Instant::now();
        let snapshot = look(&["--by", "port"])?;
        let took = begun.elapsed();
        let all = &snapshot["all"];
        eprintln!("{} sockets in {took:?}, {} s of them the look", all["total"], snapshot["took_s"]);
        ensure!(all["states"]["ESTABLISHED"] == 2 * (held + unaccepted), "{all:#}");
        ensure!(all["states"]["TIME_WAIT"] == waiting, "{all:#}");
        ensure!(all["accept_queue"] == unaccepted, "{all:#}");
        for stream in &mut kept {
            SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    })
}
