//! Many open sockets, for tcptrace to find at its start.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of the ends of a connection, those that one address of loopback is good for.
const EACH_ADDRESS: usize = 20_000;

pub(crate) fn run(count: usize, port: u16) -> Result<()> {
    let descriptors = u64::try_from(count)? + 100;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum })
        .context("cannot have so many descriptors")?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let mut held: Vec<TcpStream> = Vec::with_capacity(count);
    while held.len() < count {
        let host = u8::try_from(held.len() / EACH_ADDRESS)? + 1;
        held.push(TcpStream::connect((Ipv4Addr::new(127, 0, 0, host), port))?);
        held.push(listener.accept()?.0);
    }
    crate::hold()?;
    drop(held);
    Ok(())
}
