//! The ways to trace, each tried: the kernel decides.

use std::{num::NonZeroU32, thread};

use crate::{
    model::{Filter, Processes},
    source::live::{
        AcceptChoice, AcceptWay, Accepts, Extras, Hook, HookChoice, Lifecycle, LifecycleChoice, Live,
        OpenError, Settings, Way,
    },
};

/// What there is once the kernel has taken everything.
#[derive(Clone, Debug)]
pub(super) struct Working {
    pub(super) hook: Hook,
    pub(super) lifecycle: Lifecycle,
    pub(super) accepts: Accepts,
    pub(super) extras: Extras,
    pub(super) counts_skipped_runs: bool,
}

/// What is in the way, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Capabilities,
    TooOld,
    Ring,
    Btf,
    Tracefs,
    Other,
}

/// Why there is no tracing.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) obstacle: Obstacle,
    /// What `watch` says.
    pub(super) text: String,
    /// Of a way that was asked for alone: what the kernel said.
    reason: Option<String>,
}

impl Refusal {
    #[cfg(test)]
    pub(super) fn of(obstacle: Obstacle, text: &str) -> Self {
        Self { obstacle, text: text.to_owned(), reason: None }
    }

    fn reason(self) -> String {
        self.reason.unwrap_or(self.text)
    }
}

/// How a way has done: `None` when it was not tried.
pub(super) type Tried = Option<Result<(), String>>;

/// Everything that was tried.
#[derive(Clone, Debug)]
pub(super) struct Trials {
    /// Size of the ring buffer in bytes.
    pub(super) ring_size: u32,
    /// What `watch` with the same flags will do.
    pub(super) asked: Result<Working, Refusal>,
    pub(super) hooks: [(HookChoice, Tried); 2],
    /// Whether the BTF-typed hook gives socket cookies, where it works.
    pub(super) has_cookies: Option<bool>,
    pub(super) lifecycles: [(Way, Tried); 3],
    pub(super) accepts: [(AcceptWay, Tried); 2],
    /// What the first trial that the kernel has taken tells besides.
    pub(super) extras: Option<Extras>,
    /// Of the processes that are asked for, their children.
    pub(super) forks: Tried,
}

impl Trials {
    /// Starts and ends tracing in each of the ways.
    pub(super) fn make(settings: &Settings) -> Self {
        let asked = attempt(settings);
        let is_hopeless = matches!(
            &asked,
            Err(Refusal { obstacle: Obstacle::Capabilities | Obstacle::TooOld | Obstacle::Ring, .. })
        );
        // One at a time: what else does not work is not in the way.
        let alone =
            Settings { lifecycle: LifecycleChoice::Off, accept: AcceptChoice::Off, ..settings.clone() };
        let attempt = |settings: &Settings| (!is_hopeless).then(|| attempt(settings));
        let working = asked.as_ref().ok();

        let mut has_cookies = None;
        let mut extras = working.map(|working| working.extras.clone());
        let hooks = [HookChoice::Btf, HookChoice::Classic].map(|hook| {
            let tried = match working {
                Some(working) if is_of(working.hook, hook) => Some(Ok(working.clone())),
                _ => attempt(&Settings { hook, ..alone.clone() }),
            };
            if let Some(Ok(Working { hook: Hook::Btf { cookie }, .. })) = &tried {
                has_cookies = Some(*cookie);
            }
            if let Some(Ok(working)) = &tried {
                extras.get_or_insert_with(|| working.extras.clone());
            }
            (hook, without_gain(tried))
        });
        let lifecycles = [Way::Fentry, Way::Timer, Way::Sample].map(|way| {
            let known =
                working.and_then(|working| outcome(way, working.lifecycle.way, &working.lifecycle.reasons));
            let tried = || attempt(&Settings { lifecycle: lifecycle_choice(way), ..alone.clone() });
            (way, known.or_else(|| without_gain(tried())))
        });
        let accepts = [AcceptWay::Fexit, AcceptWay::Syscall].map(|way| {
            let known =
                working.and_then(|working| outcome(way, working.accepts.way, &working.accepts.reasons));
            let tried = || attempt(&Settings { accept: accept_choice(way), ..alone.clone() });
            (way, known.or_else(|| without_gain(tried())))
        });
        let own = NonZeroU32::new(std::process::id()).map(Processes::children_of);
        let filter = Filter { processes: own, ..alone.filter.clone() };
        let forks = match attempt(&Settings { filter, ..alone.clone() }) {
            Some(Ok(working)) => working.extras.forks,
            _ => None,
        };
        Self { ring_size: settings.ring_size, asked, hooks, has_cookies, lifecycles, accepts, extras, forks }
    }
}

/// What is known of a way by the ladder that has been climbed down: the one in use works, and those above it do not.
fn outcome<W: PartialEq + Copy>(way: W, used: W, reasons: &[(W, String)]) -> Tried {
    if way == used {
        return Some(Ok(()));
    }
    reasons.iter().find(|(refused, _)| *refused == way).map(|(_, reason)| Err(reason.clone()))
}

fn without_gain(tried: Option<Result<Working, Refusal>>) -> Tried {
    tried.map(|tried| tried.map(drop).map_err(Refusal::reason))
}

const fn is_of(hook: Hook, choice: HookChoice) -> bool {
    matches!((hook, choice), (Hook::Btf { .. }, HookChoice::Btf) | (Hook::Classic, HookChoice::Classic))
}

const fn lifecycle_choice(way: Way) -> LifecycleChoice {
    match way {
        Way::Fentry => LifecycleChoice::Fentry,
        Way::Timer => LifecycleChoice::Timer,
        Way::Sample => LifecycleChoice::Sample,
        Way::Off => LifecycleChoice::Off,
    }
}

const fn accept_choice(way: AcceptWay) -> AcceptChoice {
    match way {
        AcceptWay::Fexit => AcceptChoice::Fexit,
        AcceptWay::Syscall => AcceptChoice::Syscall,
        AcceptWay::Off => AcceptChoice::Off,
    }
}

/// Starts tracing and ends it, in a thread of its own: whoever traces gives up its capabilities, which are each thread's own.
fn attempt(settings: &Settings) -> Result<Working, Refusal> {
    let other = |what: &str, error: &dyn std::fmt::Display| Refusal {
        obstacle: Obstacle::Other,
        text: format!("{what}: {error}"),
        reason: None,
    };
    let settings = Settings { kernel_log: false, ..settings.clone() };
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| other("cannot start the event loop", &error))?;
        let _entered = runtime.enter();
        let live = Live::open(&settings).map_err(|error| refusal(&error))?;
        Ok(Working {
            hook: live.hook(),
            lifecycle: live.lifecycle().clone(),
            accepts: live.accepts().clone(),
            extras: live.extras().clone(),
            counts_skipped_runs: live.counts_skipped_runs(),
        })
    };
    let started = thread::Builder::new().name("attempt".to_owned()).spawn(work);
    let thread = started.map_err(|error| other("cannot start a thread", &error))?;
    thread.join().unwrap_or_else(|_| Err(other("a thread", &"it has panicked")))
}

fn refusal(error: &OpenError) -> Refusal {
    let obstacle = match error {
        OpenError::Capabilities { .. } => Obstacle::Capabilities,
        OpenError::TooOld { .. } => Obstacle::TooOld,
        OpenError::Ring { .. } => Obstacle::Ring,
        OpenError::Btf(_) => Obstacle::Btf,
        OpenError::Tracefs(_) | OpenError::Format { .. } => Obstacle::Tracefs,
        _ => Obstacle::Other,
    };
    let reason = match error {
        OpenError::Lifecycle { lifecycle } => lifecycle.reasons.first().map(|(_, reason)| reason.clone()),
        OpenError::Accept { accepts } => {
            // The classic hook has no ladder at all.
            let reason = accepts.reasons.first().map(|(_, reason)| reason.clone());
            reason.or_else(|| Some("it needs BTF".to_owned()))
        }
        _ => None,
    };
    Refusal { obstacle, text: error.to_string(), reason }
}
