//! Privileges: what is missing is named, what is not needed any more is given up. And names that would like to have
//! more than they should.

use std::{
    net::SocketAddr,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    harness::{Tracer, program, scene},
    netns::unique_port,
    worker::Worker,
};

/// After attaching, no set of capabilities holds anything.
pub(crate) fn capabilities_are_dropped() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    // Where an unprivileged process may not read a map, this one stays, and is named.
    let stays = if tracer.stderr().contains("dropped but CAP_BPF") { 1 << 39 } else { 0 };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let value = tracer.status(set)?;
        let may_stay = if matches!(set, "CapPrm" | "CapEff") { stays } else { 0 };
        ensure!(u64::from_str_radix(&value, 16)? & !may_stay == 0, "{set} is {value}");
    }
    tracer.stop().map(drop)
}

/// Root without capabilities, and root with only one of the two.
pub(crate) fn missing_capabilities_are_named() -> Result<()> {
    for (bounding, missing, present) in [
        ("-all", &["CAP_BPF", "CAP_PERFMON"][..], &[][..]),
        ("-all,+bpf", &["CAP_PERFMON"], &["CAP_BPF ("]),
        ("-all,+perfmon", &["CAP_BPF"], &["CAP_PERFMON ("]),
    ] {
        let Output { status, stdout, stderr } = Command::new("setpriv")
            .args(["--inh-caps=-all", "--bounding-set", bounding])
            .arg(program())
            .args(["watch", "--duration", "1s"])
            .stdin(Stdio::null())
            .output()
            .context("setpriv")?;
        let stderr = String::from_utf8(stderr)?;
        ensure!(status.code() == Some(2), "{bounding}: {status}: {stderr}");
        ensure!(stdout.is_empty() && stderr.lines().count() == 1, "{bounding}: {stderr}");
        ensure!(missing.iter().all(|name| stderr.contains(&format!("{name} ("))), "{bounding}: {stderr}");
        ensure!(!present.iter().any(|name| stderr.contains(name)), "{bounding}: {stderr}");
        ensure!(stderr.contains("sudo"), "{bounding}: no remedy in {stderr}");
    }
    Ok(())
}

/// The two capabilities that are asked for are enough.
pub(crate) fn two_capabilities_are_enough() -> Result<()> {
    // Before Linux 5.11 maps count against the limit on locked memory, which these two cannot raise.
    let output = Command::new("sh")
        .arg("-c")
        .arg(
            "ulimit -l unlimited; exec setpriv --inh-caps=-all --bounding-set -all,+bpf,+perfmon \"$0\" \
             watch -o json --hook btf --duration 100ms",
        )
        .arg(program())
        .output()
        .context("sh")?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{stderr}");
    ensure!(stdout.lines().last().is_some_and(|line| line.contains("\"summary\"")), "{stdout}");
    Ok(())
}

/// Hides the kernel's types.
pub(crate) const NO_BTF: &str = "mount -t tmpfs none /sys/kernel/btf";

/// Takes tracefs away.
pub(crate) const NO_TRACEFS: &str =
    "umount --lazy /sys/kernel/tracing 2>/dev/null; umount --lazy /sys/kernel/debug 2>/dev/null";

/// `tcptrace watch ARGS` for a moment, in a mount namespace that `prepare` changed.
fn in_changed_mounts(prepare: &str, bounding: &str, args: &str) -> Result<Output> {
    run_in_changed_mounts(prepare, bounding, &format!("watch -v --duration 200ms {args}"), "")
}

/// `tcptrace COMMAND`, and then a script, in a mount namespace that `prepare` changed; it ends as tcptrace did.
pub(crate) fn run_in_changed_mounts(
    prepare: &str,
    bounding: &str,
    command: &str,
    then: &str,
) -> Result<Output> {
    let tcptrace = format!("setpriv --inh-caps=-all --bounding-set {bounding} \"$0\" {command}");
    Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg(format!("{prepare}; {tcptrace}; code=$?; {then}\nexit $code"))
        .arg(program())
        .stdin(Stdio::null())
        .output()
        .context("unshare")
}

/// Without BTF: the classic tracepoint, and what that costs is said. Forced to BTF: an error that says what to do.
pub(crate) fn no_btf_falls_back() -> Result<()> {
    let output = in_changed_mounts(NO_BTF, "+all", "-o json")?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success() && stdout.contains("\"hook\":\"classic\""), "{stdout}{stderr}");
    ensure!(stderr.contains("no BTF") && stderr.contains("cookie, netns, uid"), "{stderr}");

    let output = in_changed_mounts(NO_BTF, "+all", "--hook btf")?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2) && stderr.lines().count() == 1, "{stderr}");
    ensure!(
        ["no BTF", "/sys/kernel/btf/vmlinux", "--hook classic"].iter().all(|part| stderr.contains(part)),
        "{stderr}"
    );
    Ok(())
}

/// tracefs that is not mounted is mounted; where that is not allowed, the command that does it is named.
pub(crate) fn no_tracefs_is_mounted_or_said() -> Result<()> {
    let output = in_changed_mounts(NO_TRACEFS, "+all", "--hook classic")?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && stderr.contains("mounted tracefs at /sys/kernel/tracing"), "{stderr}");

    let output = in_changed_mounts(NO_TRACEFS, "-all,+bpf,+perfmon", "--hook classic")?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2) && stderr.lines().count() == 1, "{stderr}");
    ensure!(stderr.contains("sudo mount -t tracefs tracefs /sys/kernel/tracing"), "{stderr}");
    Ok(())
}

/// A process calls itself what a terminal would obey, in every format.
pub(crate) fn hostile_names_are_harmless() -> Result<()> {
    const NAME: &str = "\u{1b}[31m,\"\t\u{202e}x";
    for (format, escaped) in [
        ("text", "\\x1b[31m,\"\\x09\\u{202e}x"),
        ("csv", "\"\\x1b[31m,\"\"\\x09\\u{202e}x\""),
        ("json", "\\u001b[31m,\\\"\\t\\u202ex"),
    ] {
        let port = unique_port();
        let tracer = Tracer::start(&["-o", format, "--port", &port.to_string()])?;
        crate::netns::run(|_| {
            let mut worker = Worker::start(NAME)?;
            worker.order(&format!("listen {}", SocketAddr::from(([127, 0, 0, 1], port))))?;
            worker.order("stop")
        })?;
        let output = std::io::read_to_string(tracer.stop_raw()?)?;
        ensure!(output.contains(escaped), "{format}: no {escaped} in\n{}", output.escape_debug());
        let control = output.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        ensure!(control.is_none(), "{format}: {control:?} in\n{}", output.escape_debug());
    }
    Ok(())
}

/// The kernel half speaks at `-vv`, and only then.
pub(crate) fn kernel_log_at_vv() -> Result<()> {
    let port = unique_port();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    for (flags, speaks) in [(&["-v"][..], true), (&[], false)] {
        let tracer = Tracer::start(flags)?;
        crate::netns::run(|_| {
            let mut worker = Worker::start("live-mptcp")?;
            worker.order(&format!("listen-mptcp {addr}"))?;
            worker.order("stop")
        })?;
        tracer.wait_idle(std::time::Duration::from_secs(10))?;
        let stderr = tracer.stderr();
        ensure!(stderr.contains("protocol 262 is not asked for") == speaks, "{flags:?}:\n{stderr}");
        tracer.stop()?;
    }
    Ok(())
}

/// What reads the ring goes before others, unless somebody has chosen how nice it is; what it starts does not.
pub(crate) fn goes_before_others() -> Result<()> {
    let script = "nice; cut -d ' ' -f 19 /proc/$PPID/stat";
    for (nice, of_command, of_tracer) in [("0", "0", "-10"), ("5", "5", "5")] {
        let output = Command::new("nice")
            .args(["-n", nice])
            .arg(program())
            .args(["watch", "-o", "json", "--", "sh", "-c", script])
            .stdin(Stdio::null())
            .output()
            .context("nice")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}: {said}", output.status);
        // Old kernels have warnings between them.
        let lines: Vec<&str> = said.lines().filter(|line| line.parse::<i32>().is_ok()).take(2).collect();
        ensure!(lines == [of_command, of_tracer], "nice -n {nice}: {said}");
    }
    Ok(())
}

/// MPTCP-level sockets are shown on demand, beside their TCP subflows.
pub(crate) fn mptcp_on_demand() -> Result<()> {
    let addr = SocketAddr::from(([127, 0, 0, 1], unique_port()));
    for (flags, protocols) in [(&["--mptcp"][..], &["mptcp", "tcp"][..]), (&[], &["tcp"])] {
        let (capture, ()) = scene(flags, |_| {
            let mut worker = Worker::start("live-mptcp")?;
            worker.order(&format!("listen-mptcp {addr}"))?;
            worker.order("stop")
        })?;
        let mut seen: Vec<&str> = capture.rows.iter().map(|row| row.protocol.as_str()).collect();
        seen.sort_unstable();
        seen.dedup();
        ensure!(seen == protocols, "{flags:?}: {seen:?}");
    }
    Ok(())
}
