//! How the line output behaves while it runs and when it ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    capture::Capture,
    expect::Moment,
    harness::Tracer,
    netns,
    traffic::{Pair, close, read_end},
};

/// One connection, closed by the client first.
fn one_connection() -> Result<u16> {
    netns::run(|_| {
        let mut pair = Pair::v4(netns::unique_port())?;
        close(pair.client);
        read_end(&mut pair.server)?;
        close(pair.server);
        close(pair.listener);
        netns::settle()?;
        Ok(pair.server_addr.port())
    })
}

/// Lines are flushed as they are made when piped: the last row of a connection is there long before the end.
pub(crate) fn rows_arrive_while_it_runs() -> Result<()> {
    let tracer = Tracer::start_piped(&[])?;
    let port = one_connection()?;
    let deadline = Instant::now() + Duration::from_secs(5);
    // 2 of the listener, 5 of each side, less the first of the client, which does not know its own port.
    let expected = 12;
    loop {
        let seen = fs::read_to_string(tracer.stdout())?;
        let rows = seen.lines().filter(|line| line.contains(&port.to_string())).count();
        if rows >= expected {
            break;
        }
        ensure!(Instant::now() < deadline, "{rows} rows of {expected} after 5 s, tcptrace still running");
        thread::sleep(Duration::from_millis(20));
    }
    let mut tracer = tracer;
    let status = tracer.interrupt()?;
    ensure!(status.code() == Some(0), "ended with {status}: {}", tracer.stderr());
    Ok(())
}

/// `--duration` ends it by itself, with everything that was said until then.
pub(crate) fn duration_ends_it() -> Result<()> {
    let mut tracer = Tracer::start(&["--duration", "2s"])?;
    let (port, ran) = Moment::of(one_connection);
    let port = port?;
    let status = tracer.wait_end(Duration::from_secs(20))?;
    ensure!(status.code() == Some(0), "ended with {status}: {}", tracer.stderr());
    let capture = Capture::read(fs::File::open(tracer.stdout())?)?;
    // On a machine so slow that the connection took longer than the trace, there is nothing to compare.
    ensure!(ran.took() < Duration::from_secs(2), "the connection took {:?}", ran.took());
    let rows = capture.select(|row| row.lport == Some(port) || row.rport == Some(port));
    ensure!(rows.len() == 12, "{} rows instead of 12", rows.len());
    Ok(())
}

/// `tcptrace watch | head -1`: not an error.
pub(crate) fn closed_pipe_ends_it_quietly() -> Result<()> {
    let mut tracer = Tracer::start_with_open_pipe(&[])?;
    let pipe = tracer.take_pipe().context("no pipe")?;
    one_connection()?;
    let mut first = String::new();
    let mut pipe = BufReader::new(pipe);
    pipe.read_line(&mut first)?;
    ensure!(first.contains("\"transition\""), "the first line is {first}");
    drop(pipe);
    // It learns of the closed pipe when it writes next.
    one_connection()?;
    let status = tracer.wait_end(Duration::from_secs(10))?;
    ensure!(status.code() == Some(0), "ended with {status}: {}", tracer.stderr());
    Ok(())
}
