//! A process of its own with a name of its own, for the tests that ask who owns a socket: this test program,
//! started again. It takes orders on its standard input, a line each, and answers each with a line.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::traffic::PATIENCE;

const VARIABLE: &str = "TCPTRACE_LIVE_WORKER";

/// The worker's own `main`, where this process is one.
pub(crate) fn run_if_asked() -> Option<Result<()>> {
    let name = std::env::var(VARIABLE).ok()?;
    Some(obey(&name))
}

fn obey(name: &str) -> Result<()> {
    fs::write("/proc/self/comm", name).context("cannot set the name")?;
    let mut listener = None;
    let mut stream: Option<TcpStream> = None;
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
            "listen-mptcp" => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))?;
                socket.bind(&addr.parse::<SocketAddr>()?.into())?;
                socket.listen(1)?;
                listener = Some(socket.into());
            }
            "accept" => stream = Some(listener.as_ref().context("no listener")?.accept()?.0),
            "connect" => stream = Some(TcpStream::connect_timeout(&addr.parse()?, PATIENCE)?),
            "wait" => {
                let stream = stream.as_mut().context("no stream")?;
                stream.set_read_timeout(Some(PATIENCE))?;
                ensure!(stream.read(&mut [0; 16])? == 0, "data instead of the end");
            }
            "close" => drop(stream.take()),
            "stop" => drop(listener.take()),
            _ => bail!("unknown order {order}"),
        }
        println!("{verb}");
    }
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
        ensure!(name.len() <= 15, "the kernel would cut the name {name}");
        let mut child = Command::new(std::env::current_exe()?)
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
        writeln!(self.orders, "{order}").with_context(|| order.to_owned())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let verb = order.split(' ').next().unwrap_or_default();
        ensure!(answer.trim_end() == verb, "{order}: the worker said {answer:?}");
        Ok(())
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
