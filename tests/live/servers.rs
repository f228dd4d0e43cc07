//! Servers of the kinds that there are, run by worker processes: each connection is told the process that accepted it and
//! the one that will close it, and is closed when the client has closed it.

use std::{
    collections::HashMap,
    fs, io,
    io::{Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    ptr,
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context as _, Result, bail};
use io_uring::{IoUring, opcode, types};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};

use crate::{traffic::PATIENCE, worker};

/// The descriptor that a child goes on with.
const INHERITED: &str = "TCPTRACE_LIVE_INHERITED";

/// Who has to do with a connection: the process that accepted it and the one that closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hands {
    pub(crate) accepted: u32,
    pub(crate) closes: u32,
}

/// Tells the client, waits for its end, and closes.
fn serve(mut stream: TcpStream, accepted: u32) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let words = [accepted, std::process::id()].map(u32::to_le_bytes);
    stream.write_all(words.as_flattened())?;
    stream.read(&mut [0]).map(drop)
}

/// Accepts and serves for ever.
fn accept_and_serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        serve(stream, std::process::id())?;
    }
}

/// The same by io_uring.
fn accept_in_a_ring(listener: &OwnedFd) -> io::Result<()> {
    let mut ring = IoUring::new(2)?;
    loop {
        let accept = opcode::Accept::new(types::Fd(listener.as_raw_fd()), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the listener is open for as long as the kernel works on this, and no address is asked for.
        unsafe { ring.submission().push(&accept.build()) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let done = ring.completion().next().ok_or(io::ErrorKind::UnexpectedEof)?.result();
        if done < 0 {
            return Err(io::Error::from_raw_os_error(-done));
        }
        // SAFETY: the kernel has just opened it for us.
        let stream = unsafe { OwnedFd::from_raw_fd(done) };
        serve(stream.into(), std::process::id())?;
    }
}

fn set_name(name: &str) -> io::Result<()> {
    fs::write("/proc/thread-self/comm", name)
}

/// Starts serving, in threads that go on until the process ends. Returns processes that must live as long.
pub(crate) fn start(kind: &str, listener: &TcpListener) -> Result<Vec<Child>> {
    let own = listener.try_clone()?;
    match kind {
        // Many threads accept.
        "threads" => {
            for _ in 0..4 {
                let listener = listener.try_clone()?;
                thread::spawn(move || set_name("accepts").and_then(|()| accept_and_serve(&listener)));
            }
        }
        // One thread accepts, others serve.
        "pool" => {
            let (queue, waiting) = channel();
            thread::spawn(move || -> Result<()> {
                set_name("accepts")?;
                loop {
                    queue.send(own.accept()?.0)?;
                }
            });
            let waiting = std::sync::Arc::new(std::sync::Mutex::new(waiting));
            for _ in 0..3 {
                let waiting = std::sync::Arc::clone(&waiting);
                thread::spawn(move || pool(&waiting));
            }
        }
        // The parent listens, its children accept.
        "prefork" => {
            return (0..3).map(|_| child("prefork-child", listener.as_fd().as_raw_fd(), listener)).collect();
        }
        // The same, without a system call for each accept.
        "uring" => {
            return (0..2).map(|_| child("uring-child", listener.as_fd().as_raw_fd(), listener)).collect();
        }
        // The parent accepts and a child for each connection serves it.
        "fork" => {
            thread::spawn(move || -> Result<()> {
                loop {
                    let (stream, _) = own.accept()?;
                    let mut child = child("fork-child", stream.as_fd().as_raw_fd(), &stream)?;
                    drop(stream);
                    // The child waits for this: the last one to close a socket is the one that ends the connection.
                    drop(child.stdin.take());
                    child.wait()?;
                }
            });
        }
        // One process accepts and passes the descriptor to another, which serves.
        "pass" => {
            let (ours, theirs) = UnixStream::pair()?;
            let handler = child("pass-child", theirs.as_fd().as_raw_fd(), &theirs)?;
            thread::spawn(move || -> Result<()> {
                loop {
                    pass(&ours, own.accept()?.0)?;
                }
            });
            return Ok(vec![handler]);
        }
        other => bail!("no server of kind {other}"),
    }
    Ok(Vec::new())
}

fn pool(waiting: &std::sync::Mutex<Receiver<TcpStream>>) -> Result<()> {
    set_name("serves")?;
    loop {
        let stream = match waiting.lock() {
            Ok(waiting) => waiting.recv()?,
            Err(_) => bail!("another thread panicked"),
        };
        serve(stream, std::process::id())?;
    }
}

/// This program again, as a child that goes on with a descriptor.
fn child(name: &str, descriptor: i32, of: &impl std::os::fd::AsFd) -> Result<Child> {
    fcntl_setfd(of, FdFlags::empty())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.env(worker::VARIABLE, name).env(INHERITED, descriptor.to_string());
    let child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot start a child")?;
    fcntl_setfd(of, FdFlags::CLOEXEC)?;
    Ok(child)
}

/// What a child does, where this process is one.
pub(crate) fn run_child(name: &str) -> Option<Result<()>> {
    let inherited = std::env::var(INHERITED).ok()?;
    Some(inherited.parse().context("no descriptor").and_then(|number: i32| {
        set_name(name)?;
        // SAFETY: the parent has left this descriptor open for us, and nothing else here knows its number.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned());
        match name {
            "prefork-child" => accept_and_serve(&fd.into())?,
            "uring-child" => accept_in_a_ring(&fd)?,
            "fork-child" => {
                io::stdin().read_to_end(&mut Vec::new())?;
                serve(fd.into(), parent)?;
            }
            _ => loop {
                serve(receive(&fd)?.into(), parent)?;
            },
        }
        Ok(())
    }))
}

fn pass(to: &UnixStream, stream: TcpStream) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let descriptors = [stream.as_fd()];
    message.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(to, &[io::IoSlice::new(b"x")], &mut message, SendFlags::empty())?;
    drop(stream);
    // The receiver waits for this: the last one to close a socket is the one that ends the connection.
    let mut to = to;
    to.write_all(b"y")?;
    Ok(())
}

fn receive(from: &OwnedFd) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    recvmsg(from, &mut [io::IoSliceMut::new(&mut [0])], &mut message, RecvFlags::CMSG_CLOEXEC)?;
    let received = message.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    rustix::io::read(from, &mut [0])?;
    received.context("no descriptor came")
}

/// Connects so many times, one after the other. Returns whose hands each connection was in, by the client's port.
pub(crate) fn connect_to(addr: SocketAddr, count: usize) -> Result<HashMap<u16, Hands>> {
    let mut hands = HashMap::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut words = [[0; 4]; 2];
        stream.read_exact(words.as_flattened_mut())?;
        let [accepted, closes] = words.map(u32::from_le_bytes);
        hands.insert(stream.local_addr()?.port(), Hands { accepted, closes });
    }
    Ok(hands)
}
