//! What is said.

use std::{collections::BTreeSet, error::Error, io, path::Path};

use caps::Capability;

use super::{
    super::{
        checks, compare, report,
        trials::{Obstacle, Refusal, Trials, Working},
    },
    ALL, deeds, owner, rows, told, truth,
};
use crate::{
    model::{
        Comm, EndCause,
        TcpState::{LastAck, TimeWait},
    },
    output::doctor::{DoctorReport, SelfTest, write_json, write_text},
    source::live::{AcceptWay, Accepts, Extras, Hook, HookChoice, Host, Lifecycle, Privilege, Tracefs, Way},
};

fn privileges(has: &[Capability]) -> Vec<Privilege> {
    [
        (Capability::CAP_BPF, "to load BPF programs and make their maps", true),
        (Capability::CAP_PERFMON, "to attach to kernel tracepoints and read kernel memory", true),
        (
            Capability::CAP_SYSLOG,
            "to know the timers of time-wait and half-open sockets by /proc/kallsyms",
            false,
        ),
    ]
    .map(|(capability, purpose, is_needed)| Privilege {
        capability,
        purpose,
        is_needed,
        is_there: has.contains(&capability),
    })
    .into()
}

fn good_host() -> Host {
    Host {
        release: "6.12.48-amd64".to_owned(),
        is_new_enough: true,
        btf: Ok(21),
        tracefs: Tracefs::At("/sys/kernel/tracing".into()),
        lockdown: Ok("none".to_owned()),
        calls_functions: Some(true),
        addresses: Ok(()),
        privileges: Ok(privileges(&[Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYSLOG])),
    }
}

fn good_trials() -> Trials {
    let extras = Extras { resets: Ok(()), destruction: Ok(()), forks: None };
    let refused = "the kernel refused to load an fentry program (EPERM) after it had taken others: it is hardened or locked \
                   down against these, or a policy forbids it";
    Trials {
        ring_size: 33_554_432,
        asked: Ok(Working {
            hook: Hook::Btf { cookie: true },
            lifecycle: Lifecycle { way: Way::Timer, reasons: vec![(Way::Fentry, refused.to_owned())] },
            accepts: Accepts { way: AcceptWay::Fexit, reasons: Vec::new() },
            extras: extras.clone(),
            counts_skipped_runs: true,
        }),
        extras: Some(extras),
        hooks: [(HookChoice::Btf, Some(Ok(()))), (HookChoice::Classic, Some(Ok(())))],
        has_cookies: Some(true),
        lifecycles: [
            (Way::Fentry, Some(Err(refused.to_owned()))),
            (Way::Timer, Some(Ok(()))),
            (Way::Sample, Some(Ok(()))),
        ],
        accepts: [(AcceptWay::Fexit, Some(Ok(()))), (AcceptWay::Syscall, Some(Ok(())))],
        forks: Some(Ok(())),
    }
}

fn said(report: &DoctorReport) -> Result<String, Box<dyn Error>> {
    let mut out = Vec::new();
    write_text(&mut out, report, false)?;
    Ok(String::from_utf8(out)?)
}

/// The version would be new in each release.
fn snapshot(name: &str, text: &str) {
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

fn of_good_host() -> DoctorReport {
    let fields = compare::all(&deeds(), &truth(), ALL, &rows(&told()));
    let (host, trials) = (good_host(), good_trials());
    report(&host, &trials, checks::of(&host, &trials), SelfTest::new(0.42, None, fields))
}

#[test]
fn a_good_host() -> Result<(), Box<dyn Error>> {
    let report = of_good_host();
    assert!(report.works, "{:?}", report.problems);
    snapshot("good_host", &said(&report)?);
    let mut json = Vec::new();
    write_json(&mut json, 1_795_219_200_000_000_000, &report)?;
    snapshot("good_host_json", &String::from_utf8(json)?);
    let mut colored = Vec::new();
    write_text(&mut colored, &report, true)?;
    let colored = String::from_utf8(colored)?;
    assert!(colored.contains("\u{1b}["), "{colored}");
    Ok(())
}

#[test]
fn a_wrong_field_is_shown_and_watch_does_not_work() -> Result<(), Box<dyn Error>> {
    let mut rows = rows(&told());
    for row in rows.iter_mut().filter(|row| row.observed.transition.new == TimeWait) {
        owner(row).comm = Comm::from("\u{1b}[2J");
    }
    rows.retain(|row| row.observed.transition.new != LastAck);
    let fields = compare::all(&deeds(), &truth(), ALL, &rows);
    let late = Some("gave up after 3 s: not everything had come".to_owned());
    let (host, trials) = (good_host(), good_trials());
    let report = report(&host, &trials, checks::of(&host, &trials), SelfTest::new(3.2, late, fields));
    assert!(!report.works);
    let said = said(&report)?;
    let begin = said.find("self-test").ok_or("no self-test")?;
    snapshot("wrong_fields", &said[begin..]);
    Ok(())
}

/// Nothing is tried, and what is needed is said.
#[test]
fn an_unprivileged_process() -> Result<(), Box<dyn Error>> {
    let host = Host {
        tracefs: Tracefs::Closed("/sys/kernel/tracing".into()),
        lockdown: Err(io::Error::from_raw_os_error(2)),
        addresses: Err("/proc/kallsyms hides addresses (kernel.kptr_restrict, CAP_SYSLOG)".to_owned()),
        privileges: Ok(privileges(&[])),
        ..good_host()
    };
    let text = "tracing needs CAP_BPF (to load BPF programs and make their maps) and CAP_PERFMON (to attach to kernel \
                tracepoints and read kernel memory), which this process does not have; run it with sudo";
    let trials = Trials {
        asked: Err(Refusal::of(Obstacle::Capabilities, text)),
        hooks: [(HookChoice::Btf, None), (HookChoice::Classic, None)],
        has_cookies: None,
        extras: None,
        lifecycles: [(Way::Fentry, None), (Way::Timer, None), (Way::Sample, None)],
        accepts: [(AcceptWay::Fexit, None), (AcceptWay::Syscall, None)],
        forks: None,
        ..good_trials()
    };
    let test = SelfTest::not_made("tracing does not begin, see above".to_owned());
    let report = report(&host, &trials, checks::of(&host, &trials), test);
    assert!(!report.works);
    snapshot("unprivileged", &said(&report)?);
    Ok(())
}

#[test]
fn no_btf_and_no_tracefs() -> Result<(), Box<dyn Error>> {
    let no_btf = "/sys/kernel/btf/vmlinux cannot be read (No such file or directory (os error 2))";
    let no_tracefs = "classic tracepoints need tracefs, which is not mounted and could not be mounted (Operation not \
                      permitted (os error 1)); mount it: sudo mount -t tracefs tracefs /sys/kernel/tracing";
    let host = Host {
        btf: Err(no_btf.to_owned()),
        tracefs: Tracefs::Nowhere,
        calls_functions: Some(false),
        ..good_host()
    };
    let refused = |text: &str| Some(Err(text.to_owned()));
    let needs_btf = || refused("no BTF");
    let trials = Trials {
        asked: Err(Refusal::of(Obstacle::Tracefs, no_tracefs)),
        hooks: [(HookChoice::Btf, refused(no_btf)), (HookChoice::Classic, refused(no_tracefs))],
        has_cookies: None,
        extras: None,
        lifecycles: [(Way::Fentry, needs_btf()), (Way::Timer, needs_btf()), (Way::Sample, needs_btf())],
        accepts: [(AcceptWay::Fexit, needs_btf()), (AcceptWay::Syscall, needs_btf())],
        forks: None,
        ..good_trials()
    };
    let test = SelfTest::not_made("tracing does not begin, see above".to_owned());
    let report = report(&host, &trials, checks::of(&host, &trials), test);
    assert!(!report.works);
    snapshot("no_btf_and_no_tracefs", &said(&report)?);
    Ok(())
}

/// Whatever is said to be set can be set.
#[test]
fn every_sysctl_that_is_named_exists() -> Result<(), Box<dyn Error>> {
    let hidden = Err("hidden (kernel.kptr_restrict)".to_owned());
    let bad = Host { calls_functions: Some(false), addresses: hidden, ..good_host() };
    let refused = |way| (way, Some(Err("refused".to_owned())));
    let trials = Trials { lifecycles: [Way::Fentry, Way::Timer, Way::Sample].map(refused), ..good_trials() };
    let mut rows = rows(&told());
    for row in &mut rows {
        row.observed.connection.end_cause = Some(EndCause::TwOverflow);
    }
    let fields = compare::all(&deeds(), &truth(), ALL, &rows);
    let test = SelfTest::new(0.0, None, fields);
    let text = said(&report(&bad, &trials, checks::of(&bad, &trials), test))?;
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
    let names: BTreeSet<&str> = words
        .filter(|word| word.starts_with("kernel.") || word.starts_with("net."))
        .map(|word| word.trim_end_matches('.'))
        .collect();
    let expected = ["kernel.ftrace_enabled", "kernel.kptr_restrict", "net.ipv4.tcp_max_tw_buckets"];
    assert_eq!(names, expected.into(), "all that is said was looked at");
    for name in names {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        // There is no such switch without CONFIG_FUNCTION_TRACER, and then it is not named.
        let may_lack = name == "kernel.ftrace_enabled" && Host::look().calls_functions.is_none();
        assert!(path.exists() || may_lack, "{} is not there", path.display());
    }
    Ok(())
}
