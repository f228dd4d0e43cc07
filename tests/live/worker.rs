//! A process of its own with a name of its own, for the tests that ask who owns a socket: this test program,
//! started again. It takes orders on its standard input, a line each, and answers each with a line.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{
    leaks::crowd::Crowd,
    servers::{self, Hands},
    traffic::PATIENCE,
};

pub(crate) const VARIABLE: &str = "TCPTRACE_LIVE_WORKER";

/// The worker's own `main`, where this process is one.
pub(crate) fn run_if_asked() -> Option<Result<()>> {
    let name = std::env::var(VARIABLE).ok()?;
    Some(servers::run_child(&name).unwrap_or_else(|| obey(&name)))
}

fn obey(name: &str) -> Result<()> {
    fs::write("/proc/self/comm", name).context("cannot set the name")?;
    let mut listener = None;
    let mut stream: Option<TcpStream> = None;
    let mut children = Vec::new();
    let mut crowd = Crowd::default();
    for order in io::stdin().lock().lines() {
        let order = order?;
        let (verb, addr) = order.split_once(' ').unwrap_or((&order, ""));
        match verb {
            "listen" => {
                let socket = TcpListener::bind(addr.parse::<SocketAddr>()?)?;
                // Holds for `accept` too.
                SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
                listener = Some(socket);
            }
            "serve" => {
                let listener = listener.as_ref().context("no listener")?;
                SockRef::from(listener).set_read_timeout(None)?;
                children.extend(servers::start(addr, listener)?);
            }
            "connect-often" => {
                let (addr, count) = addr.split_once('/').context("ADDR/COUNT")?;
                print!("{verb}");
                for (port, Hands { accepted, closes }) in servers::connect_to(addr.parse()?, count.parse()?)?
                {
                    print!(" {port}:{accepted}:{closes}");
                }
                println!();
                continue;
            }
            "listen-mptcp" => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))?;
                socket.bind(&addr.parse::<SocketAddr>()?.into())?;
                socket.listen(1)?;
                listener = Some(socket.into());
            }
            "connect-mptcp" => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))?;
                socket.connect(&addr.parse::<SocketAddr>()?.into())?;
                stream = Some(socket.into());
            }
            "accept" => stream = Some(listener.as_ref().context("no listener")?.accept()?.0),
            "connect" => stream = Some(TcpStream::connect_timeout(&addr.parse()?, PATIENCE)?),
            "wait" => {
                let stream = stream.as_mut().context("no stream")?;
                stream.set_read_timeout(Some(PATIENCE))?;
                ensure!(stream.read(&mut [0; 16])? == 0, "data instead of the end");
            }
            "close" => drop(stream.take()),
            "stop" => {
                for child in &mut children {
                    child.kill()?;
                    child.wait()?;
                }
                drop(listener.take());
            }
            _ => crowd.obey(verb, addr)?,
        }
        println!("{verb}");
    }
    children.iter_mut().try_for_each(Child::kill)?;
    Ok(())
}

/// A worker process. Killed when dropped.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one in the network namespace of the calling thread.
    pub(crate) fn start(name: &str) -> Result<Self> {
        Self::start_as(name, None)
    }

    /// The same, as another user.
    pub(crate) fn start_as(name: &str, uid: Option<u32>) -> Result<Self> {
        ensure!(name.len() <= 15, "the kernel would cut the name {name}");
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(uid) = uid {
            command.uid(uid);
        }
        let mut child = command
            .env(VARIABLE, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a worker")?;
        let orders = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, answers })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order and waits until it is carried out. (The worker's own calls all have a time limit.)
    pub(crate) fn order(&mut self, order: &str) -> Result<()> {
        let answer = self.ask(order)?;
        ensure!(!answer.contains(' '), "{order}: the worker said {answer:?}");
        Ok(())
    }

    /// The same; the answer begins with the order's verb.
    pub(crate) fn ask(&mut self, order: &str) -> Result<String> {
        writeln!(self.orders, "{order}").with_context(|| order.to_owned())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let verb = order.split(' ').next();
        ensure!(answer.trim_end().split(' ').next() == verb, "{order}: the worker said {answer:?}");
        Ok(answer.trim_end().to_owned())
    }

    /// SIGKILL: the kernel closes what it had.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
