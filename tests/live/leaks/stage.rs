//! Many scenes at once, each in a network namespace of its own: they are prepared, begin together, and last until all is
//! over.

use std::{
    cell::RefCell,
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use jiff::Timestamp;

use super::expected::Expected;
use crate::{
    machine::patience,
    netns::{self, unique_port},
    worker::Worker,
};

/// What happens in a scene; tells what is to be found. `None` is nothing.
pub(super) type Play = fn(&Stage) -> Result<Option<Expected>>;

/// A scene that provokes a rule, or nearly does.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) rule: &'static str,
    /// Of the program that it is about.
    pub(super) name: &'static str,
    pub(super) play: Play,
    /// Whether it can be seen when it began before.
    pub(super) lasts: bool,
}

/// What became of a scene.
pub(super) struct Played {
    pub(super) scene: &'static Scene,
    pub(super) netns: u64,
    /// All its processes.
    pub(super) pids: Vec<u32>,
    pub(super) expected: Option<Expected>,
}

/// When something happened: the bounds by the clock of the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begun: Timestamp,
    pub(super) ended: Timestamp,
}

/// Does it, and says when.
pub(super) fn during(body: impl FnOnce() -> Result<()>) -> Result<Span> {
    let begun = Timestamp::now();
    body()?;
    Ok(Span { begun, ended: Timestamp::now() })
}

/// A scene that did not begin because another one failed.
const CALLED_OFF: &str = "called off";

/// Where a scene is played: its network namespace, and its way to be in step with the others.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pids: RefCell<Vec<u32>>,
    says: Sender<()>,
    cue: Receiver<()>,
}

impl Stage {
    /// A process of the scene.
    pub(super) fn process(&self, name: &str) -> Result<Worker> {
        let worker = Worker::start(name)?;
        self.pids.borrow_mut().push(worker.pid());
        Ok(worker)
    }

    /// The program that it is about as a server, a client, and where it listens.
    pub(super) fn server(&self) -> Result<(Worker, Worker, SocketAddr)> {
        let to = address();
        let (mut server, client) = (self.process(self.name)?, self.process("peer")?);
        server.order(&format!("backlog {to} 256"))?;
        Ok((server, client, to))
    }

    /// The program that it is about as a client, a server, and where that listens.
    pub(super) fn client(&self) -> Result<(Worker, Worker, SocketAddr)> {
        let to = address();
        let (client, mut server) = (self.process(self.name)?, self.process("peer")?);
        server.order(&format!("backlog {to} 256"))?;
        Ok((client, server, to))
    }

    /// Everything is prepared: waits for the others.
    pub(super) fn begin(&self) -> Result<()> {
        self.says.send(()).context(CALLED_OFF)?;
        self.cue.recv().context(CALLED_OFF)
    }

    /// Everything is made: waits until all is over.
    pub(super) fn end(&self) {
        let _ = self.says.send(());
        let _ = self.cue.recv();
    }

    /// Waits so long, or until all is over; says whether it is.
    pub(super) fn is_over(&self, wait: Duration) -> bool {
        self.cue.recv_timeout(wait) != Err(RecvTimeoutError::Timeout)
    }

    /// Waits until so many sockets of the namespace are in the state: it is as it should be for a rule to find it.
    pub(super) fn holds(&self, state: &str, count: usize) -> Result<()> {
        let (found, table) = self.settles(state, count, patience(Duration::from_secs(3)))?;
        if found != count {
            // What the kernel has counted may tell where the others are.
            let counted: Vec<String> = counters()?
                .into_iter()
                .filter(|(_, value)| *value > 0)
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            bail!("{found} in {state} instead of {count}; {}\n{table}", counted.join(", "));
        }
        Ok(())
    }

    /// Waits until so many are in the state, or for so long; how many are, and the table.
    #[expect(clippy::unused_self, reason = "the thread's namespace is the stage's")]
    pub(super) fn settles(&self, state: &str, count: usize, wait: Duration) -> Result<(usize, String)> {
        let code = code_of(state)?;
        let deadline = Instant::now() + wait;
        loop {
            let table = fs::read_to_string("/proc/thread-self/net/tcp")?;
            let is_there = |line: &&str| line.split_whitespace().nth(3) == Some(code);
            let found = table.lines().skip(1).filter(is_there).count();
            if found == count || Instant::now() >= deadline {
                return Ok((found, table));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A counter of the namespace, of `/proc/net/netstat`.
    #[expect(clippy::unused_self, reason = "the thread's namespace is the stage's")]
    pub(super) fn counter(&self, name: &str) -> Result<u64> {
        let found = counters()?.into_iter().find(|(of, _)| of == name);
        Ok(found.with_context(|| name.to_owned())?.1)
    }
}

/// Those of the thread's namespace.
fn counters() -> Result<Vec<(String, u64)>> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = lines.next().zip(lines.next()).context("no TcpExt")?;
    let both = names.split_whitespace().zip(values.split_whitespace());
    both.map(|(name, value)| Ok((name.to_owned(), value.parse()?))).collect()
}

/// A service of a scene.
pub(crate) fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, unique_port()).into()
}

/// So many connections.
pub(super) fn connect(client: &mut Worker, server: &mut Worker, to: SocketAddr, count: usize) -> Result<()> {
    client.order(&format!("open {to} {count}"))?;
    server.order(&format!("take {count}"))
}

/// As `/proc/net/tcp` has it.
fn code_of(state: &str) -> Result<&'static str> {
    Ok(match state {
        "ESTABLISHED" => "01",
        "SYN_SENT" => "02",
        "SYN_RECV" => "03",
        "FIN_WAIT1" => "04",
        "FIN_WAIT2" => "05",
        "TIME_WAIT" => "06",
        "CLOSE_WAIT" => "08",
        "LAST_ACK" => "09",
        "CLOSING" => "0B",
        other => bail!("no code of {other}"),
    })
}

/// All scenes of a performance.
#[derive(Default)]
pub(super) struct Cast {
    each: Vec<(&'static str, Receiver<()>, Sender<()>)>,
}

impl Cast {
    fn wait(&self, what: &str) -> Result<()> {
        let deadline = Instant::now() + patience(Duration::from_secs(20));
        for (name, said, _) in &self.each {
            let left = deadline.saturating_duration_since(Instant::now());
            said.recv_timeout(left).with_context(|| format!("{name} is not {what}"))?;
        }
        Ok(())
    }

    /// All begin.
    pub(super) fn begin(&self) -> Result<()> {
        self.each.iter().try_for_each(|(name, _, cue)| cue.send(()).with_context(|| (*name).to_owned()))
    }

    /// Waits until all have made what they have to make.
    pub(super) fn wait_made(&self) -> Result<()> {
        self.wait("made")
    }
}

/// Prepares the scenes and gives them into the hands of `body`. When it returns, all is over.
pub(super) fn perform<T>(
    scenes: &[&'static Scene],
    body: impl FnOnce(&Cast) -> Result<T>,
) -> Result<(T, Vec<Played>)> {
    thread::scope(|scope| {
        let mut cast = Cast::default();
        let mut threads = Vec::new();
        for scene in scenes {
            let ((says, said), (cues, cue)) = (channel(), channel());
            cast.each.push((scene.name, said, cues));
            threads.push(scope.spawn(move || {
                netns::run(move |netns| {
                    let pids = RefCell::default();
                    let stage = Stage { name: scene.name, pids, says, cue };
                    let expected = (scene.play)(&stage)?;
                    Ok(Played { scene, netns: netns.inode, pids: stage.pids.into_inner(), expected })
                })
                .with_context(|| scene.name)
            }));
        }
        let result = cast.wait("ready").and_then(|()| body(&cast));
        drop(cast);
        let mut played = Vec::new();
        let mut errors = Vec::new();
        for thread in threads {
            match thread.join().map_err(|_| anyhow!("a scene panicked")).flatten() {
                Ok(scene) => played.push(scene),
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
        errors.retain(|error| !error.contains(CALLED_OFF));
        ensure!(errors.is_empty(), "{}", errors.join("\n"));
        Ok((result?, played))
    })
}
