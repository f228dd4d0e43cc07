//! The command line, without privileges: help, usage errors, exit codes.

use std::{
    error::Error,
    process::{Command, Output, Stdio},
};

type Result = std::result::Result<(), Box<dyn Error>>;

fn tcptrace(args: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_tcptrace"))
        .args(args)
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_is_as_reviewed() -> Result {
    for (name, args) in [
        ("help", &["--help"][..]),
        ("watch", &["watch", "--help"]),
        ("watch_short", &["watch", "-h"]),
        ("hist_short", &["hist", "-h"]),
        ("snapshot", &["snapshot", "--help"]),
        ("leaks_short", &["leaks", "-h"]),
        ("explain", &["explain", "--help"]),
        ("doctor", &["doctor", "--help"]),
    ] {
        let output = tcptrace(args)?;
        assert_eq!(output.status.code(), Some(0), "{name}");
        assert!(output.stderr.is_empty(), "{name}");
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text(&output.stdout));
        });
    }
    Ok(())
}

#[test]
fn a_bad_value_is_one_line_with_flag_value_and_what_is_accepted() -> Result {
    for (args, flag, value, accepted) in [
        (&["watch", "--lport", "80-x"][..], "--lport", "80-x", "80,443,8000-8100"),
        (&["watch", "-L", "70000"], "--lport", "70000", "from 1 to 65535"),
        (&["watch", "--state", "close-weight"], "--state", "close-weight", "CLOSE_WAIT"),
        (&["watch", "--raddr", "10.0.0.0/40"], "--raddr", "10.0.0.0/40", "10.0.0.0/8"),
        (&["watch", "-p", "init"], "--pid", "init", "numbers from 1"),
        (
            &["watch", "--comm", "a-name-that-is-too-long"],
            "--comm",
            "a-name-that-is-too-long",
            "1 to 15 bytes",
        ),
        (&["watch", "--duration", "soon"], "--duration", "soon", "90s"),
        (&["watch", "--ring-size", "5000"], "--ring-size", "5000", "powers of two"),
        (&["watch", "--max-connections", "0"], "--max-connections", "0", "from 1"),
        (&["watch", "-o", "xml"], "--output", "xml", "json"),
        (&["watch", "--theme", "red"], "--theme", "red", "mono"),
        (&["watch", "--demo", "--demo-rate", "0"], "--demo-rate", "0", "from 1"),
        (&["watch", "--demo", "--demo-connections", "many"], "--demo-connections", "many", "from 1"),
        (&["watch", "-o", "tui"], "-o", "tui", "a terminal"),
        (&["watch", "-o", "tui", "--", "true"], "-o", "tui", "-o text"),
        (&["hist", "0"], "INTERVAL", "0", "longer than nothing"),
        (&["hist", "1", "0"], "COUNT", "0", "1.."),
        (&["hist", "--by", "colour"], "--by", "colour", "cgroup"),
        (&["hist", "--max-entries", "0"], "--max-entries", "0", "from 1"),
        (&["snapshot", "--by", "colour"], "--by", "colour", "cgroup"),
        (&["watch", "--color", "red"], "--color", "red", "never"),
        (&["explain", "close-weight"], "STATE|RULE|all", "close-weight", "CLOSE_WAIT"),
        (&["explain", "close-weight"], "STATE|RULE|all", "close-weight", "close-wait-leak"),
        (&["explain", "\u{1b}[31m"], "STATE|RULE|all", "\\x1b[31m", "LISTEN"),
        (&["explain", "--lang", "de"], "--lang", "de", "zh"),
        (&["leaks", "--rule", "close-wait"], "--rule", "close-wait", "close-wait-leak"),
        (
            &["leaks", "--set", "close-wait-leak.count"],
            "--set",
            "close-wait-leak.count",
            "close-wait-leak.count=20",
        ),
        (&["leaks", "--set", "reset-storm.percent=101"], "--set", "reset-storm.percent", "from 0 to 100"),
        (
            &["leaks", "--fail-on", "close_wait.count>"],
            "--fail-on",
            "close_wait.count>",
            "a number is expected",
        ),
        (&["leaks", "--fail-on", "\u{1b}[31m"], "--fail-on", "\\x1b[31m", "STATE.count"),
        (&["leaks", "--for", "0"], "--for", "0", "longer than nothing"),
        (&["doctor", "-o", "csv"], "--output", "csv", "json"),
        (&["doctor", "--lifecycle", "kprobe"], "--lifecycle", "kprobe", "fentry"),
        (&["watch", "--lport", "\u{1b}[31m"], "--lport", "\\x1b[31m", "80,443,8000-8100"),
        // From right to left, which would turn the rest of the line round.
        (&["watch", "--lport", "\u{202e}1-2"], "--lport", "\\u{202e}1-2", "80,443,8000-8100"),
        // Not known to be wrong before the host is looked at.
        (&["watch", "--netns", "\u{1b}[31m"], "--netns", "\\x1b[31m", "/run/netns"),
        (&["watch", "--netns", "a\nb"], "--netns", "a\\x0ab", "/run/netns"),
    ] {
        let output = tcptrace(args)?;
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
        for part in [flag, value, accepted] {
            assert!(message.contains(part), "{args:?}: {part:?} is missing in {message}");
        }
        assert!(!message.contains('\u{1b}'), "{args:?}: {message:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    Ok(())
}

#[test]
fn other_usage_errors_are_one_line_too() -> Result {
    for args in [
        &["watsch"][..],
        &["watch", "--lports", "80"],
        &["watch", "-4", "-6"],
        &["watch", "--lport"],
        &["watch", "80"],
    ] {
        let output = tcptrace(args)?;
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
        assert!(message.starts_with("tcptrace: "), "{args:?}: {message}");
    }
    Ok(())
}

#[test]
fn explain_knows_states_rules_and_languages() -> Result {
    for (args, locale, expected) in [
        (&["explain", "close-wait"][..], "C", "CLOSE_WAIT\n\nWhat it is\n"),
        (&["explain", "TCP_CLOSE_WAIT"], "zh_CN.UTF-8", "CLOSE_WAIT\n\n含义\n"),
        (&["explain", "close-wait", "--lang", "en"], "zh_CN.UTF-8", "CLOSE_WAIT\n\nWhat it is\n"),
        (&["explain", "CLOSE_WAIT_LEAK"], "C", "close-wait-leak\n\nWhat it is\n"),
        (&["explain", "close-wait-leak", "--lang", "zh"], "C", "close-wait-leak\n\n含义\n"),
        (&["explain", "all"], "C", "LISTEN\n\nWhat it is\n"),
        (&["explain"], "C", "The TCP states"),
        (&["explain"], "zh_TW", "TCP 的状态"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tcptrace"))
            .args(args)
            .env("LC_ALL", locale)
            .stdin(Stdio::null())
            .output()?;
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(expected), "{args:?}: {}", text(&output.stdout));
    }
    let all = text(&tcptrace(&["explain", "all", "--lang", "en"])?.stdout);
    assert!(all.contains("\nLAST_ACK\n") && all.contains("\nidle-established\n"), "{all}");
    Ok(())
}

/// A command that runs without any capability.
fn unprivileged(args: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_tcptrace");
    let mut command = if rustix::process::geteuid().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", binary]);
        setpriv
    } else {
        Command::new(binary)
    };
    command.args(args).stdin(Stdio::null());
    command
}

#[test]
fn the_demo_needs_no_privileges_and_is_whole() -> Result {
    let output = unprivileged(&["watch", "--demo", "-o", "json", "--duration", "1s"]).output()?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let objects: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let of = |kind: &str| objects.iter().filter(|object| object["type"] == kind).collect::<Vec<_>>();
    let transitions = of("transition");
    assert!(transitions.len() > 30, "{}", transitions.len());
    assert!(transitions.iter().any(|transition| transition["comm"] == "nginx"), "an owner is known");
    let [summary] = of("summary")[..] else { return Err("there is one summary".into()) };
    assert_eq!(objects.last(), Some(summary));
    for (field, expected) in [
        ("lost", 0.into()),
        ("gaps", 0.into()),
        ("illegal", 0.into()),
        ("backwards", 0.into()),
        ("hook", "demo".into()),
        ("events", transitions.len().into()),
    ] {
        let expected: serde_json::Value = expected;
        assert_eq!(summary[field], expected, "{field}");
    }
    assert!(summary["live"].as_u64() > Some(1_500), "{summary}");
    Ok(())
}

#[test]
fn the_demo_is_not_for_what_is_about_this_host() -> Result {
    for args in [
        &["--audit"][..],
        &["--hook", "btf"],
        &["--lifecycle", "timer"],
        &["--accept", "off"],
        &["--stacks"],
        &["--netns", "self"],
        &["--cgroup", "/"],
        &["--", "true"],
    ] {
        let output = tcptrace(&[&["watch", "--demo"], args].concat())?;
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
        assert!(message.contains("--demo"), "{args:?}: {message}");
    }
    let output = tcptrace(&["watch", "--demo-rate", "100"])?;
    assert_eq!(output.status.code(), Some(2), "it is the demo's");
    Ok(())
}

#[test]
fn no_command_shows_the_help_and_is_a_usage_error() -> Result {
    let output = tcptrace(&[])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: tcptrace"), "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn the_version_is_the_workspaces() -> Result {
    let output = tcptrace(&["--version"])?;
    assert_eq!(text(&output.stdout), format!("tcptrace {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}
