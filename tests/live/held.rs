//! Closed but held: sockets in CLOSE whose descriptor is still open.

use std::{
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use socket2::SockRef;

use crate::{
    capture::table,
    harness::Tracer,
    netns::{self, unique_port},
    traffic::{HOLD, Pair, close, read_end},
};

/// One client is reset and never closes; one is reset and closes; one closes by itself; one goes on as a time-wait socket
/// while its descriptor is held.
pub(crate) fn after_a_reset() -> Result<()> {
    let tracer = Tracer::start(&["--lifecycle", "auto"])?;
    let (capture, inode, (held, swapped, age)) = {
        let mut tracer = Some(tracer);
        netns::run(|netns| {
            let Pair { listener, client: held, server, server_addr, .. } = Pair::v4(unique_port())?;
            let reset = |server: TcpStream| -> Result<()> {
                SockRef::from(&server).set_linger(Some(Duration::ZERO))?;
                close(server);
                Ok(())
            };
            reset(server)?;
            let begun = Instant::now();
            let closes = TcpStream::connect(server_addr)?;
            reset(listener.accept()?.0)?;
            thread::sleep(HOLD);
            close(closes);
            let orderly = TcpStream::connect(server_addr)?;
            let (mut server, _) = listener.accept()?;
            close(orderly);
            read_end(&mut server)?;
            close(server);
            let mut swapped = TcpStream::connect(server_addr)?;
            let (mut server, _) = listener.accept()?;
            swapped.shutdown(Shutdown::Write)?;
            read_end(&mut server)?;
            close(server);
            read_end(&mut swapped)?;
            thread::sleep(HOLD);
            let ports = (held.local_addr()?.port(), swapped.local_addr()?.port());
            // Everything is still open here.
            let age = begun.elapsed();
            let capture = tracer.take().map(Tracer::stop).transpose()?;
            let age = age..=begun.elapsed() + Duration::from_millis(10);
            drop((held, swapped, listener));
            Ok((capture, netns.inode, (ports.0, ports.1, age)))
        })?
    };
    let Some(capture) = capture else { anyhow::bail!("was started") };
    let total = capture.summary.get("held")?;
    let capture = capture.only(|row| row.netns == Some(inode));
    ensure!(total >= 2, "{total} held: {:?}", capture.summary);
    let mut ports: Vec<_> = capture.held.iter().filter_map(|row| row.lport).collect();
    ports.sort_unstable();
    let mut expected = vec![held, swapped];
    expected.sort_unstable();
    ensure!(ports == expected, "{ports:?} instead of {expected:?}:\n{}", table(&capture.held));
    for row in capture.held.iter().filter(|row| row.lport == Some(held)) {
        ensure!(
            row.pid == Some(std::process::id()) && row.end_cause.as_deref() == Some("reset_remote"),
            "{row}"
        );
        let seen = Duration::from_nanos(row.duration_ns.unwrap_or(0));
        ensure!(age.contains(&seen), "{seen:?}, not in {age:?}: {row}");
    }
    Ok(())
}
