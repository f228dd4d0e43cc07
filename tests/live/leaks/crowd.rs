//! A process with many sockets that does with them as it is told: the programs that misbehave, and those at their other
//! ends.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use socket2::{Domain, Socket};

use crate::{
    half_open::{SYN, filtered_listener},
    snapshot::deafen,
    traffic::{PATIENCE, connect_refused, socket},
};

/// What the process holds.
#[derive(Default)]
pub(crate) struct Crowd {
    listener: Option<Socket>,
    sockets: Vec<Socket>,
    files: Vec<File>,
}

impl Crowd {
    /// Does what the order says, with all its sockets where none is named.
    pub(crate) fn obey(&mut self, verb: &str, rest: &str) -> Result<()> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (verb, words.as_slice()) {
            ("descriptors", [most]) => {
                let maximum = getrlimit(Resource::Nofile).maximum;
                setrlimit(Resource::Nofile, Rlimit { current: Some(most.parse()?), maximum })?;
            }
            ("files", [count]) => {
                for _ in 0..count.parse()? {
                    self.files.push(File::open("/dev/null")?);
                }
            }
            ("backlog", [addr, backlog]) => {
                let listener = socket(Domain::IPV4)?;
                listener.set_reuse_address(true)?;
                listener.bind(&addr.parse::<SocketAddr>()?.into())?;
                listener.listen(backlog.parse()?)?;
                listener.set_read_timeout(Some(PATIENCE))?;
                self.listener = Some(listener);
            }
            ("backlog-without-acks", [addr, backlog]) => {
                self.listener = Some(filtered_listener(addr.parse()?, backlog.parse()?, SYN)?);
            }
            ("stop-listening", []) => drop(self.listener.take()),
            ("open", [addr, count]) => self.open(addr.parse()?, None, count.parse()?)?,
            ("open-from", [addr, port]) => self.open(addr.parse()?, Some(port.parse()?), 1)?,
            ("call", [addr, count]) => {
                let addr = addr.parse()?;
                (0..count.parse()?).try_for_each(|_| self.call(addr, None))?;
            }
            ("call-from", [addr, port]) => self.call(addr.parse()?, Some(port.parse()?))?,
            ("call-many", [first, count]) => {
                let first: SocketAddr = first.parse()?;
                for host in 0..count.parse()? {
                    self.call(following(first, host)?, None)?;
                }
            }
            ("take", [count]) => self.accepts_and_forgets(count.parse()?)?,
            ("take-elsewhere", [count]) => self.accepts_elsewhere(count.parse()?)?,
            ("shutdown", []) => self.sockets.iter().try_for_each(|of| of.shutdown(Shutdown::Write))?,
            ("let-go", []) => self.sockets.clear(),
            ("reset", []) => {
                self.sockets.iter().try_for_each(|of| of.set_linger(Some(Duration::ZERO)))?;
                self.sockets.clear();
            }
            ("deafen", []) => self.sockets.iter().try_for_each(deafen)?,
            ("hear", []) => self.sockets.iter().try_for_each(Socket::detach_filter)?,
            ("keepalive", []) => self.sockets.iter().try_for_each(|of| of.set_keepalive(true))?,
            ("say", []) => self.sockets.iter().try_for_each(|mut of| of.write_all(b"x"))?,
            ("read", []) => self.sockets.iter().try_for_each(|mut of| of.read_exact(&mut [0]))?,
            ("ends", []) => {
                for mut of in &self.sockets {
                    ensure!(of.read(&mut [0]).context("read")? == 0, "data instead of the end");
                }
            }
            ("answer", [milliseconds]) => self.answer(Duration::from_millis(milliseconds.parse()?))?,
            ("churn", [addr, count]) => {
                for _ in 0..count.parse()? {
                    self.open(addr.parse()?, None, 1)?;
                    self.sockets.clear();
                }
            }
            ("refused", [addr, count]) => {
                for _ in 0..count.parse()? {
                    connect_refused(&socket(Domain::IPV4)?, addr.parse()?)?;
                }
            }
            _ => bail!("unknown order {verb} {rest}"),
        }
        Ok(())
    }

    fn open(&mut self, to: SocketAddr, from: Option<u16>, count: usize) -> Result<()> {
        for _ in 0..count {
            let client = bound(from)?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.set_write_timeout(Some(PATIENCE))?;
            client.connect(&to.into()).with_context(|| format!("connect to {to}"))?;
            self.sockets.push(client);
        }
        Ok(())
    }

    /// Does not wait for the answer.
    fn call(&mut self, to: SocketAddr, from: Option<u16>) -> Result<()> {
        let client = bound(from)?;
        client.set_nonblocking(true)?;
        match client.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error).with_context(|| format!("connect to {to}"));
            }
            _ => self.sockets.push(client),
        }
        Ok(())
    }

    fn listener(&self) -> Result<&Socket> {
        self.listener.as_ref().context("no listener")
    }

    /// Stacks name it.
    #[inline(never)]
    fn accepts_and_forgets(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (accepted, _) = self.listener()?.accept().context("accept")?;
            self.sockets.push(accepted);
        }
        Ok(())
    }

    /// The same at another place of the program.
    #[inline(never)]
    fn accepts_elsewhere(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (accepted, _) = self.listener()?.accept().context("accept, elsewhere")?;
            self.sockets.push(accepted);
        }
        Ok(())
    }

    /// From now on accepts at once, and closes so long after the client has.
    fn answer(&self, hold: Duration) -> Result<()> {
        let listener = self.listener()?.try_clone()?;
        listener.set_read_timeout(None)?;
        thread::spawn(move || -> Result<()> {
            loop {
                let (accepted, _) = listener.accept()?;
                accepted.set_read_timeout(Some(PATIENCE))?;
                let serve = move || {
                    let _ = (&accepted).read(&mut [0]);
                    thread::sleep(hold);
                };
                if hold.is_zero() {
                    serve();
                } else {
                    thread::spawn(serve);
                }
            }
        });
        Ok(())
    }
}

/// A socket at this port, which may have been used just before.
fn bound(port: Option<u16>) -> Result<Socket> {
    let socket = socket(Domain::IPV4)?;
    if let Some(port) = port {
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    }
    Ok(socket)
}

/// The same port of the host that is so many addresses further.
fn following(first: SocketAddr, hosts: u32) -> Result<SocketAddr> {
    let IpAddr::V4(ip) = first.ip() else { bail!("{first} is not IPv4") };
    Ok((Ipv4Addr::from_bits(ip.to_bits() + hosts), first.port()).into())
}
