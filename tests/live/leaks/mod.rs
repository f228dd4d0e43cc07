//! `tcptrace leaks` against programs that misbehave in just the way that a rule is about, and against others that nearly do.

mod closing;
mod command;
pub(crate) mod crowd;
mod expected;
mod finding;
mod healthy;
mod opening;
pub(crate) mod stage;
mod steady;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

pub(crate) use command::{fail_on, in_a_cgroup, stacks, watch};
pub(crate) use healthy::healthy_host;

use self::{
    expected::{Started, differences},
    finding::{Finding, Said, read_all},
    stage::{Play, Played, Scene, perform},
};
use crate::{
    harness::Tracer,
    machine::{is_slow, patience, pause},
};

const fn seen_later(rule: &'static str, name: &'static str, play: Play) -> Scene {
    Scene { rule, name, play, lasts: true }
}

const fn seen_live(rule: &'static str, name: &'static str, play: Play) -> Scene {
    Scene { rule, name, play, lasts: false }
}

/// What each rule has to find.
static PROVOKED: [Scene; 22] = [
    seen_later("close-wait-leak", "close-wait-leak", closing::close_wait_leak),
    seen_live("close-wait-leak", "close-wait-rise", closing::close_wait_rises),
    seen_later("close-wait-leak", "close-wait-two", closing::close_wait_of_two),
    seen_live("closed-fd-held", "closed-fd-held", closing::closed_fd_held),
    seen_later("fd-exhaustion", "fd-exhaustion", steady::fd_exhaustion),
    seen_later("time-wait-pileup", "time-wait-pile", closing::time_wait_pileup),
    seen_later("port-exhaustion", "port-exhaustion", opening::port_exhaustion),
    seen_live("time-wait-overflow", "time-wait-over", closing::time_wait_overflow),
    seen_live("syn-sent-fanout", "syn-sent-fanout", opening::syn_sent_fanout),
    seen_later("syn-sent-stuck", "syn-sent-stuck", opening::syn_sent_stuck),
    seen_live("port-reuse-collision", "port-reuse-coll", opening::port_reuse_collision),
    seen_later("half-open-pileup", "half-open-pile", opening::half_open_pileup),
    seen_later("accept-queue-overflow", "accept-queue-ov", opening::accept_queue_overflow),
    seen_later("never-accepted", "never-accepted", opening::never_accepted),
    seen_later("fin-wait2-stuck", "fin-wait2-stuck", closing::fin_wait2_stuck),
    seen_later("fin-wait1-stuck", "fin-wait1-stuck", closing::fin_wait1_stuck),
    seen_later("last-ack-stuck", "last-ack-stuck", closing::last_ack_stuck),
    seen_later("closing-stuck", "closing-stuck", closing::closing_stuck),
    seen_live("reset-storm", "reset-storm", steady::reset_storm),
    seen_live("refused-storm", "refused-storm", steady::refused_storm),
    seen_live("short-lived-churn", "short-lived", steady::short_lived_churn),
    seen_later("idle-established", "idle-establish", steady::idle_established),
];

/// What none may find.
static NEARLY: [Scene; 22] = [
    seen_live("close-wait-leak", "n-close-wait", closing::close_wait_ends),
    seen_live("closed-fd-held", "n-closed-fd", closing::closed_fd_let_go),
    seen_later("fd-exhaustion", "n-fd-exhaustion", steady::fds_left),
    seen_later("fd-exhaustion", "n-fd-files", steady::fds_of_files),
    seen_later("time-wait-pileup", "n-time-wait-pil", closing::time_wait_some),
    seen_later("port-exhaustion", "n-port-exhaust", opening::ports_left),
    seen_live("time-wait-overflow", "n-time-wait-ove", closing::time_wait_enough),
    seen_live("syn-sent-fanout", "n-fanout", opening::fanout_answered),
    seen_later("syn-sent-stuck", "n-syn-sent", opening::syn_sent_few),
    seen_live("port-reuse-collision", "n-port-reuse", opening::port_reused_late),
    seen_later("half-open-pileup", "n-half-open", opening::half_open_few),
    seen_later("accept-queue-overflow", "n-accept-queue", opening::accept_queue_full),
    seen_live("never-accepted", "n-never-accept", opening::accepted_late),
    seen_live("fin-wait2-stuck", "n-fin-wait2", closing::fin_wait2_ends),
    seen_later("fin-wait1-stuck", "n-fin-wait1", closing::fin_wait1_few),
    seen_later("last-ack-stuck", "n-last-ack", closing::last_ack_few),
    seen_later("closing-stuck", "n-closing", closing::closing_few),
    seen_live("reset-storm", "n-reset-storm", steady::reset_burst),
    seen_live("refused-storm", "n-refused-storm", steady::refused_burst),
    seen_live("short-lived-churn", "n-short-lived", steady::churn_slow),
    seen_later("idle-established", "n-idle-kept", steady::idle_kept_alive),
    seen_live("idle-established", "n-idle-never", steady::idle_never),
];

fn scenes(wanted: impl Fn(&Scene) -> bool) -> Vec<&'static Scene> {
    PROVOKED.iter().chain(&NEARLY).filter(|scene| wanted(scene)).collect()
}

/// Waits until it has ended well by itself, and reads what it said.
fn said(mut tracer: Tracer, limit: Duration) -> Result<Said> {
    let status = tracer.wait_end(limit)?;
    let output = fs::read_to_string(tracer.stdout())?;
    ensure!(status.success(), "ended with {status}; its stderr:\n{}\n{output}", tracer.stderr());
    read_all(&output)
}

fn compare(played: &[Played], findings: &[Finding], started: Started) -> Result<()> {
    let wrong: Vec<_> = played.iter().flat_map(|scene| differences(scene, findings, started)).collect();
    ensure!(wrong.is_empty(), "{} of {} scenes:\n{}", wrong.len(), played.len(), wrong.join("\n"));
    Ok(())
}

/// Each rule finds what it is about, and nothing else, within ten seconds of its beginning.
pub(crate) fn all_rules() -> Result<()> {
    let rules: BTreeSet<_> = PROVOKED.iter().map(|scene| scene.rule).collect();
    let near: BTreeSet<_> = NEARLY.iter().map(|scene| scene.rule).collect();
    ensure!(rules.len() == 20 && rules == near, "a rule has no scene");
    let time = format!("{}s", pause(Duration::from_secs(9)).as_secs());
    // An emulated processor is overloaded by all at once: then what should last a moment lasts, and is rightly found.
    let groups = if is_slow() { 3 } else { 1 };
    let all = scenes(|_| true);
    for group in 0..groups {
        let scenes: Vec<_> = all.iter().copied().skip(group).step_by(groups).collect();
        let (found, played) = perform(&scenes, |cast| {
            let mut args = vec!["--for", &*time, "--older-than", "2s"];
            if is_slow() {
                // It does not make the 50 a second that count, only many more than in the scene that is to be left alone.
                args.extend(["--set", "short-lived-churn.per_second=20"]);
            }
            let tracer = Tracer::start_leaks(&args)?;
            let begun = Instant::now();
            cast.begin()?;
            let limit = patience(Duration::from_secs(10));
            let found = said(tracer, limit.saturating_sub(begun.elapsed()))?;
            Ok(found.findings)
        })?;
        compare(&played, &found, Started::First)?;
    }
    Ok(())
}

/// What began three seconds before is found, too, with as much of its age as can be known.
pub(crate) fn open_before() -> Result<()> {
    let time = format!("{}s", pause(Duration::from_secs(4)).as_secs());
    let (found, played) = perform(&scenes(|scene| scene.lasts), |cast| {
        cast.begin()?;
        cast.wait_made()?;
        thread::sleep(Duration::from_secs(3));
        let tracer = Tracer::start_leaks(&["--for", &time, "--older-than", "2s"])?;
        Ok(said(tracer, patience(Duration::from_secs(6)))?.findings)
    })?;
    compare(&played, &found, Started::Last)
}
