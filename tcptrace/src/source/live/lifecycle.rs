//! Following what the state tracepoint cannot see: time-wait and request sockets. The ladder, best way first.

use std::fmt;

use aya::{Btf, Ebpf};

use super::{
    error::OpenError,
    kallsyms,
    object::{Globals, Link, attach_entry, attach_exit, attach_typed},
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

/// What the ladder needs to know before the object is loaded.
pub(super) struct Prepared {
    choice: LifecycleChoice,
    /// Why neither fentry nor timers can be used.
    no_minis: Option<String>,
    /// Why timers cannot be used.
    no_timers: Option<String>,
    /// The function that puts a time-wait socket into its socket's place.
    hashdance: &'static str,
}

impl Prepared {
    /// Sets what the programs want to know, as far as it can be known.
    pub(super) fn new(choice: LifecycleChoice, types: &Types, globals: &mut Globals) -> Self {
        let no_minis = match types.for_minis() {
            Ok(offsets) => {
                globals.offsets.extend(offsets);
                None
            }
            Err(problem) => Some(problem.to_string()),
        };
        let no_timers = match kallsyms::addresses_of(["tw_timer_handler", "reqsk_timer_handler"]) {
            Ok([time_wait, request]) => {
                globals.addresses =
                    vec![("TW_TIMER_HANDLER", time_wait), ("REQSK_TIMER_HANDLER", request)];
                None
            }
            Err(reason) => Some(reason),
        };
        let scheduled = "inet_twsk_hashdance_schedule";
        let hashdance = if types.has_function(scheduled) { scheduled } else { "inet_twsk_hashdance" };
        Self { choice, no_minis, no_timers, hashdance }
    }

    /// Climbs down the ladder to the first way that works.
    pub(super) fn attach(
        &self,
        ebpf: &mut Ebpf,
        btf: &Btf,
        cookie: bool,
    ) -> Result<(Lifecycle, Vec<Link>), OpenError> {
        let ways: &[Way] = match self.choice {
            LifecycleChoice::Auto => &[Way::Fentry, Way::Timer, Way::Sample],
            LifecycleChoice::Fentry => &[Way::Fentry],
            LifecycleChoice::Timer => &[Way::Timer],
            LifecycleChoice::Sample => &[Way::Sample],
            LifecycleChoice::Off => &[],
        };
        let mut reasons = Vec::new();
        for way in ways {
            match self.try_way(*way, ebpf, btf, cookie) {
                Ok(links) => return Ok((Lifecycle { way: *way, reasons }, links)),
                Err(reason) => reasons.push((*way, reason)),
            }
        }
        let lifecycle = Lifecycle { way: Way::Off, reasons };
        match self.choice {
            LifecycleChoice::Auto | LifecycleChoice::Off => Ok((lifecycle, Vec::new())),
            _ => Err(OpenError::Lifecycle { lifecycle }),
        }
    }

    fn try_way(&self, way: Way, ebpf: &mut Ebpf, btf: &Btf, cookie: bool) -> Result<Vec<Link>, String> {
        if !cookie {
            return Err("it needs socket cookies (Linux 5.12)".to_owned());
        }
        let unknown = match way {
            Way::Fentry => self.no_minis.as_ref(),
            Way::Timer => self.no_minis.as_ref().or(self.no_timers.as_ref()),
            Way::Sample | Way::Off => None,
        };
        if let Some(reason) = unknown {
            return Err(reason.clone());
        }
        let links = match way {
            Way::Fentry => self.attach_fentry(ebpf, btf),
            Way::Timer => attach_timers(ebpf, btf),
            Way::Sample | Way::Off => Ok(Vec::new()),
        };
        links.map_err(|error| error.to_string())
    }

    /// Ends first, so that nothing that is seen to begin has no end.
    fn attach_fentry(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<Vec<Link>, OpenError> {
        Ok(vec![
            attach_entry(ebpf, "tw_timer", "tw_timer_handler", btf)?,
            attach_entry(ebpf, "tw_kill", "inet_twsk_kill", btf)?,
            attach_exit(ebpf, "request_drop", "inet_csk_reqsk_queue_drop", btf)?,
            attach_exit(ebpf, "request_timer_exit", "reqsk_timer_handler", btf)?,
            attach_entry(ebpf, "request_timer", "reqsk_timer_handler", btf)?,
            attach_entry(ebpf, "tw_schedule", "__inet_twsk_schedule", btf)?,
            attach_entry(ebpf, "tw_hashdance", self.hashdance, btf)?,
            attach_entry(ebpf, "request_add", "inet_csk_reqsk_queue_hash_add", btf)?,
        ])
    }
}

/// Programs of the timer way and their tracepoints.
pub(super) const TIMER_PROGRAMS: [(&str, &str); 3] =
    [("timer_expire", "timer_expire_entry"), ("timer_cancel", "timer_cancel"), ("timer_start", "timer_start")];

fn attach_timers(ebpf: &mut Ebpf, btf: &Btf) -> Result<Vec<Link>, OpenError> {
    TIMER_PROGRAMS.iter().map(|(name, tracepoint)| attach_typed(ebpf, name, tracepoint, btf)).collect()
}
