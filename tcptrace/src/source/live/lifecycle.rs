//! Following what the state tracepoint cannot see: time-wait and request sockets. The ladder, best way first.

use std::fmt;

use aya::{Btf, Ebpf};

use super::{
    error::OpenError,
    ftrace, kallsyms,
    object::Globals,
    programs::{Link, Typed},
    types::Types,
};

/// How to follow what the state tracepoint cannot see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LifecycleChoice {
    /// The best that the kernel gives.
    #[default]
    Auto,
    /// At the kernel functions that make and end them, or an error.
    Fentry,
    /// By their timers, or an error.
    Timer,
    /// By looking at the kernel's tables again and again, or an error.
    Sample,
    /// Not at all.
    Off,
}

/// A step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At the kernel functions that make and end them.
    Fentry,
    /// By their timers: `timer:timer_start`, `timer_cancel`, `timer_expire_entry`.
    Timer,
    /// By looking at the kernel's tables again and again.
    Sample,
    /// Not at all.
    Off,
}

impl Way {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Timer => "timer",
            Self::Sample => "sample",
            Self::Off => "off",
        }
    }

    /// Whether each event of theirs is reported.
    pub const fn sees_events(self) -> bool {
        matches!(self, Self::Fentry | Self::Timer)
    }
}

/// The way that is used, and why none of the better ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// The way.
    pub way: Way,
    /// Why each better way is not used, best first.
    pub reasons: Vec<(Way, String)>,
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Fentry => {
                "time-wait and half-open sockets are followed at the functions that make and end them (fentry)"
            }
            Way::Timer => "time-wait and half-open sockets are followed by their timers",
            Way::Sample => "time-wait and half-open sockets are looked for in the kernel's tables (sampled)",
            Way::Off => "time-wait and half-open sockets are not followed",
        })?;
        for (way, reason) in &self.reasons {
            write!(f, "; not {}: {reason}", way.name())?;
        }
        Ok(())
    }
}

/// Programs of the timer way.
const TIMERS: [Typed; 3] = [
    Typed::tracepoint("timer_expire", "timer_expire_entry"),
    Typed::tracepoint("timer_cancel", "timer_cancel"),
    Typed::tracepoint("timer_start", "timer_start"),
];

/// Programs of the fentry way but the one that sees a time-wait socket take its socket's place. Ends first, so that
/// nothing that is seen to begin has no end.
const FUNCTIONS: [Typed; 7] = [
    Typed::entry("tw_timer", "tw_timer_handler"),
    Typed::entry("tw_kill", "inet_twsk_kill"),
    Typed::exit("request_drop", "inet_csk_reqsk_queue_drop"),
    Typed::exit("request_timer_exit", "reqsk_timer_handler"),
    Typed::entry("request_timer", "reqsk_timer_handler"),
    Typed::entry("tw_schedule", "__inet_twsk_schedule"),
    Typed::entry("request_add", "inet_csk_reqsk_queue_hash_add"),
];

const HASHDANCE: &str = "tw_hashdance";

/// What the timers of time-wait and request sockets call, by which they are known.
pub(super) const TIMER_HANDLERS: [&str; 2] = ["tw_timer_handler", "reqsk_timer_handler"];

/// The programs of a way, by their names in the object.
pub(super) fn names_of(way: Way) -> Vec<&'static str> {
    match way {
        Way::Fentry => FUNCTIONS.iter().map(|typed| typed.program).chain([HASHDANCE]).collect(),
        Way::Timer => TIMERS.iter().map(|typed| typed.program).collect(),
        Way::Sample | Way::Off => Vec::new(),
    }
}

/// The ladder of one start.
pub(super) struct Ladder {
    choice: LifecycleChoice,
    /// Why neither fentry nor timers can be used.
    no_minis: Option<String>,
    /// Why timers cannot be used.
    no_timers: Option<String>,
    /// The program that sees a time-wait socket take its socket's place.
    hashdance: Typed,
    has_cookies: bool,
    /// The steps that are left, best first.
    left: Vec<Way>,
    reasons: Vec<(Way, String)>,
}

impl Ladder {
    /// Sets what the programs want to know, as far as it can be known.
    pub(super) fn new(choice: LifecycleChoice, types: &Types, globals: &mut Globals) -> Self {
        let no_minis = match types.for_minis() {
            Ok(offsets) => {
                globals.offsets.extend(offsets);
                None
            }
            Err(problem) => Some(problem.to_string()),
        };
        let no_timers = match kallsyms::addresses_of(TIMER_HANDLERS) {
            Ok([time_wait, request]) => {
                globals.addresses = vec![("TW_TIMER_HANDLER", time_wait), ("REQSK_TIMER_HANDLER", request)];
                None
            }
            Err(reason) => Some(reason),
        };
        let scheduled = "inet_twsk_hashdance_schedule";
        let function = if types.has_function(scheduled) { scheduled } else { "inet_twsk_hashdance" };
        let left = match choice {
            LifecycleChoice::Auto => vec![Way::Fentry, Way::Timer, Way::Sample],
            LifecycleChoice::Fentry => vec![Way::Fentry],
            LifecycleChoice::Timer => vec![Way::Timer],
            LifecycleChoice::Sample => vec![Way::Sample],
            LifecycleChoice::Off => Vec::new(),
        };
        Self {
            choice,
            no_minis,
            no_timers,
            hashdance: Typed::entry(HASHDANCE, function),
            has_cookies: true,
            left,
            reasons: Vec::new(),
        }
    }

    /// Climbs down to the first step whose programs the kernel takes.
    pub(super) fn load(&mut self, ebpf: &mut Ebpf, btf: &Btf, has_cookies: bool) {
        self.has_cookies = has_cookies;
        while let Some(way) = self.left.first().copied()
            && let Err(reason) = self.load_way(way, ebpf, btf)
        {
            self.give_up(reason);
        }
    }

    /// Attaches the step that was loaded, or, where the kernel refuses that, one of those below.
    pub(super) fn attach(mut self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(Lifecycle, Vec<Link>), OpenError> {
        while let Some(way) = self.left.first().copied() {
            let programs = self.programs(way);
            let links: Result<Vec<Link>, _> = programs.iter().map(|typed| typed.attach(ebpf)).collect();
            match links {
                Ok(links) => return Ok((Lifecycle { way, reasons: self.reasons }, links)),
                Err(error) => self.give_up(error.of_this_kind()),
            }
            self.load(ebpf, btf, self.has_cookies);
        }
        let lifecycle = Lifecycle { way: Way::Off, reasons: self.reasons };
        match self.choice {
            LifecycleChoice::Auto | LifecycleChoice::Off => Ok((lifecycle, Vec::new())),
            _ => Err(OpenError::Lifecycle { lifecycle }),
        }
    }

    fn give_up(&mut self, reason: String) {
        let way = self.left.remove(0);
        self.reasons.push((way, reason));
    }

    fn programs(&self, way: Way) -> Vec<Typed> {
        match way {
            Way::Fentry => FUNCTIONS.into_iter().chain([self.hashdance]).collect(),
            Way::Timer => TIMERS.to_vec(),
            Way::Sample | Way::Off => Vec::new(),
        }
    }

    fn load_way(&self, way: Way, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), String> {
        if !self.has_cookies {
            return Err("it needs socket cookies (Linux 5.12)".to_owned());
        }
        let unknown = match way {
            Way::Fentry => self.no_minis.clone().or_else(ftrace::Switch::refusal),
            Way::Timer => self.no_minis.clone().or_else(|| self.no_timers.clone()),
            Way::Sample | Way::Off => None,
        };
        if let Some(reason) = unknown {
            return Err(reason);
        }
        let mut programs = self.programs(way).into_iter();
        programs.try_for_each(|typed| typed.load(ebpf, btf)).map_err(|error| error.of_this_kind())
    }
}
