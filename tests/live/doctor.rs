//! `tcptrace doctor`: what it says of this kernel is what `watch` does here.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    harness::program,
    machine::{self, Feature},
    netns,
    rights::{NO_BTF, NO_TRACEFS, run_in_changed_mounts},
};

/// Flag and the name of its ladder.
const LADDERS: [(&str, &str); 3] = [("--hook", "hook"), ("--lifecycle", "lifecycle"), ("--accept", "accept")];

fn tcptrace(args: &[&str]) -> Result<Output> {
    Command::new(program()).args(args).stdin(Stdio::null()).output().context("tcptrace")
}

/// `tcptrace doctor -o json ARGS`, and its exit code.
fn doctor(args: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = tcptrace(&[&["doctor", "-o", "json"], args].concat())?;
    Ok((output.status.code(), report(&output)?))
}

/// The report, which is one object.
fn report(output: &Output) -> Result<Value> {
    let said = String::from_utf8_lossy(&output.stdout);
    let object: Value = serde_json::from_str(&said)
        .with_context(|| format!("{}: {said}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))?;
    ensure!(object["type"] == "doctor" && object["schema_version"] == 1, "{object:#}");
    // What the exit code says, the report says.
    ensure!(output.status.code() == Some(if object["works"] == true { 0 } else { 2 }), "{object:#}");
    Ok(object)
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("no {key} in {value:#}"))
}

fn named<'a>(report: &'a Value, lists: &str, name: &str) -> Result<&'a Value> {
    let found = list(report, lists)?.iter().find(|one| one["name"] == name);
    found.with_context(|| format!("no {name} among {lists} of {report:#}"))
}

/// How many fields came out how.
fn outcomes(report: &Value) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for field in list(&report["self_test"], "fields")? {
        let outcome = field["outcome"].as_str().context("no outcome")?;
        *counts.entry(outcome.to_owned()).or_insert(0) += 1;
    }
    Ok(counts)
}

/// The self-test was made, and everything that could be compared is right.
fn ensure_right(report: &Value) -> Result<u64> {
    let counts = outcomes(report)?;
    let right = counts.get("right").copied().unwrap_or(0);
    ensure!(!counts.contains_key("wrong") && !counts.contains_key("missing"), "{report:#}");
    ensure!(report["self_test"]["right"] == right && report["self_test"]["compared"] == right, "{report:#}");
    Ok(right)
}

/// Every sysctl that is named can be set.
fn ensure_sysctls_exist(text: &str) -> Result<()> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
    for name in words.filter(|word| word.starts_with("kernel.") || word.starts_with("net.")) {
        let path = Path::new("/proc/sys").join(name.trim_end_matches('.').replace('.', "/"));
        ensure!(path.exists(), "{} is not there: {text}", path.display());
    }
    Ok(())
}

/// All is right, and the steps are those that `watch` takes.
pub(crate) fn agrees_with_watch() -> Result<()> {
    let begun = Instant::now();
    let (code, report) = doctor(&[])?;
    let took = begun.elapsed();
    ensure!(code == Some(0) && list(&report, "problems")?.is_empty(), "{report:#}");
    let right = ensure_right(&report)?;
    eprintln!("{right} fields right, in {took:?}");
    ensure!(took < machine::patience(Duration::from_secs(15)), "it took {took:?}");
    let lifecycle = &named(&report, "ladders", "lifecycle")?["used"];
    if *lifecycle == "fentry" || *lifecycle == "timer" {
        // Nothing is left out but what the machine of the test does not tell.
        let fields = list(&report["self_test"], "fields")?;
        let mut unknown = fields.iter().filter(|field| field["outcome"] == "not_known");
        ensure!(unknown.all(|field| field["name"] == "cgroup") && right >= 60, "{report:#}");
    }

    let output = tcptrace(&["watch", "-o", "json", "--duration", "100ms"])?;
    let said = String::from_utf8(output.stdout)?;
    let summary: Value = serde_json::from_str(said.lines().last().context("no summary")?)?;
    for (_, name) in LADDERS {
        let used = &named(&report, "ladders", name)?["used"];
        ensure!(*used == summary[name], "{name}: {used}, watch says {}", summary[name]);
    }

    let output = tcptrace(&["doctor"])?;
    let (said, warned) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success() && warned.is_empty(), "{}: {warned}{said}", output.status);
    for part in ["`tcptrace watch` will work".to_owned(), format!("{right} of {right} fields right")] {
        ensure!(said.contains(&part), "no {part:?} in {said}");
    }
    ensure_sysctls_exist(&said)
}

/// A way works when `watch` takes it, and then the self-test is right with it; else it says what it takes.
pub(crate) fn every_way() -> Result<()> {
    let (_, report) = doctor(&[])?;
    for (flag, name) in LADDERS {
        for step in list(named(&report, "ladders", name)?, "steps")? {
            let way = step["name"].as_str().context("no name")?;
            let works = step["works"].as_bool().with_context(|| format!("{way} was not tried: {step:#}"))?;
            ensure!(step["why_not"].is_null() == works && step["needs"].is_null() == works, "{step:#}");
            // A start takes seconds on an emulated processor. The self-test below, asked for this way, is one, too.
            let watch = if machine::is_slow() && works {
                None
            } else {
                let watch = tcptrace(&["watch", "-o", "json", "--duration", "10ms", flag, way])?;
                ensure!(watch.status.success() == works, "{flag} {way}: {} and {step:#}", watch.status);
                Some(watch)
            };
            if machine::is_slow() && (named(&report, "ladders", name)?["used"] == way || way == "off") {
                // The first time was just that; and what is off is the same on every kernel.
                continue;
            }
            let (code, asked) = doctor(&[flag, way])?;
            if works {
                ensure!(code == Some(0), "{flag} {way}: {asked:#}");
                ensure!(ensure_right(&asked)? >= 40, "{flag} {way}: {asked:#}");
                ensure!(named(&asked, "ladders", name)?["used"] == way, "{flag} {way}: {asked:#}");
            } else {
                let problem = list(&asked, "problems")?.first().and_then(Value::as_str).unwrap_or_default();
                let watch = watch.context("what does not work was not tried")?;
                let watch = String::from_utf8(watch.stderr)?;
                ensure!(!problem.is_empty() && watch.contains(problem), "{watch}\n{asked:#}");
                ensure!(named(&asked, "ladders", name)?["used"].is_null(), "{asked:#}");
            }
        }
    }
    // What is not followed is left out, and not called wrong.
    let off = [("--lifecycle", "TIME_WAIT"), ("--accept", "owner_is from accept on")];
    for (flag, field) in off.into_iter().filter(|_| !machine::is_slow()) {
        let (code, report) = doctor(&[flag, "off"])?;
        ensure!(code == Some(0) && ensure_right(&report)? >= 40, "{report:#}");
        let left_out = named(&report["self_test"], "fields", field)?;
        ensure!(left_out["outcome"] == "not_known", "{flag}: {left_out:#}");
    }
    Ok(())
}

/// Without privileges it says what is needed, tries nothing, and looks at what it may.
pub(crate) fn without_privileges() -> Result<()> {
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    for who in [&nobody[..], &[]] {
        let run = |args: &[&str]| {
            Command::new("setpriv")
                .args(who)
                .args(["--inh-caps=-all", "--bounding-set=-all"])
                .arg(program())
                .args(args)
                .stdin(Stdio::null())
                .output()
                .context("setpriv")
        };
        let output = run(&["doctor", "-o", "json"])?;
        let report = report(&output)?;
        ensure!(report["works"] == false && report["self_test"]["took_s"].is_null(), "{report:#}");
        for capability in ["CAP_BPF", "CAP_PERFMON"] {
            ensure!(named(&report, "checks", capability)?["verdict"] == "fail", "{report:#}");
        }
        let todo = &named(&report, "checks", "capabilities")?["todo"];
        ensure!(todo.as_str().is_some_and(|todo| todo.contains("sudo")), "{report:#}");
        for ladder in list(&report, "ladders")? {
            let mut steps = list(ladder, "steps")?.iter();
            ensure!(ladder["used"].is_null() && steps.all(|step| step["works"].is_null()), "{ladder:#}");
        }
        let warned = String::from_utf8(output.stderr)?;
        ensure!(warned.lines().count() == 1 && warned.contains("CAP_BPF ("), "{warned}");

        let output = run(&["doctor"])?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
        ensure!(
            said.contains("will not work") && said.contains("self-test") && said.contains("not made"),
            "{said}"
        );
        ensure_sysctls_exist(&said)?;
    }
    Ok(())
}

/// With the two capabilities that are needed it works, and says what more would be of use.
pub(crate) fn two_capabilities() -> Result<()> {
    // Before Linux 5.11 maps count against the limit on locked memory, which these two cannot raise.
    let output = run_in_changed_mounts("ulimit -l unlimited", "-all,+bpf,+perfmon", "doctor -o json", "")?;
    let report = report(&output)?;
    ensure!(report["works"] == true, "{report:#}");
    ensure_right(&report)?;
    ensure!(named(&report, "checks", "CAP_SYS_PTRACE")?["verdict"] == "note", "{report:#}");
    Ok(())
}

/// Without BTF the classic tracepoint is tested; tracefs that was mounted for that is not left behind. Where it cannot be
/// mounted, nothing works, and the command that mounts it is named.
pub(crate) fn no_btf_and_no_tracefs() -> Result<()> {
    let hide = format!("{NO_BTF}; {NO_TRACEFS}");
    let left = "ls /sys/kernel/tracing >&2";
    let output = run_in_changed_mounts(&hide, "+all", "doctor -o json", left)?;
    let found = report(&output)?;
    let warned = String::from_utf8(output.stderr)?;
    ensure!(warned.is_empty(), "something is mounted, or said: {warned}");
    ensure!(found["works"] == true && named(&found, "ladders", "hook")?["used"] == "classic", "{found:#}");
    ensure_right(&found)?;
    ensure!(named(&found, "checks", "BTF")?["verdict"] == "note", "{found:#}");
    ensure!(named(&found, "checks", "tracefs")?["verdict"] == "note", "{found:#}");

    let output = run_in_changed_mounts(&hide, "-all,+bpf,+perfmon", "doctor -o json", "")?;
    let found = report(&output)?;
    ensure!(found["works"] == false, "{found:#}");
    let problem = list(&found, "problems")?.first().and_then(Value::as_str).unwrap_or_default();
    ensure!(problem.contains("sudo mount -t tracefs tracefs /sys/kernel/tracing"), "{found:#}");
    ensure!(named(&found, "checks", "tracefs")?["verdict"] == "fail", "{found:#}");
    Ok(())
}

/// No connection can be made: that is said, and nothing is claimed.
pub(crate) fn no_loopback() -> Result<()> {
    netns::run(|_| {
        netns::ip("link set lo down")?;
        let (code, report) = doctor(&[])?;
        ensure!(code == Some(2) && report["self_test"]["compared"] == 0, "{report:#}");
        let why_not = report["self_test"]["why_not"].as_str().unwrap_or_default();
        ensure!(why_not.contains("ip link set lo up"), "{report:#}");
        // The ways were tried all the same.
        ensure!(named(&report, "ladders", "hook")?["used"].is_string(), "{report:#}");
        Ok(())
    })?;
    // In a namespace whose loopback is up all is well.
    netns::run(|_| {
        let (code, report) = doctor(&[])?;
        ensure!(code == Some(0), "{report:#}");
        let right = ensure_right(&report)?;
        ensure!(!Feature::Cookies.is_there() || right >= 60, "{report:#}");
        Ok(())
    })
}
