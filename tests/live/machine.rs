//! What the machine that the tests run on can do, and how fast.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// Set where the processor is emulated (`cargo xtask vm`).
const SLOW: &str = "TCPTRACE_TEST_SLOW";

/// `N/OF`: every `OF`th test only, beginning with the `N`th. One kernel's tests in more than one guest.
const PART: &str = "TCPTRACE_TEST_PART";

/// Which of the tests to run, by their places in the list of all.
pub(crate) fn part() -> Result<impl Fn(usize) -> bool> {
    let part = match std::env::var(PART) {
        Ok(part) => {
            let (number, of) = part.split_once('/').with_context(|| format!("{PART}={part} is not N/OF"))?;
            let (number, of): (usize, usize) = (number.parse()?, of.parse()?);
            ensure!((1..=of).contains(&number), "{PART}={part}: there is no such part");
            (number - 1, of)
        }
        Err(_) => (0, 1),
    };
    Ok(move |place| place % part.1 == part.0)
}

pub(crate) fn is_slow() -> bool {
    std::env::var_os(SLOW).is_some()
}

/// Whether the whole machine is the tests' own: they may turn its clock and its switches.
pub(crate) fn is_own() -> bool {
    is_slow()
}

/// How long to wait for what takes a real processor up to `usual`.
pub(crate) fn patience(usual: Duration) -> Duration {
    if is_slow() { usual * 5 } else { usual }
}

/// How long to let something happen that takes a real processor less than `usual`, where nothing says that it has.
pub(crate) fn pause(usual: Duration) -> Duration {
    if is_slow() { usual * 2 } else { usual }
}

/// How much of a load to make, of so much on a real processor.
pub(crate) fn load(usual: usize) -> usize {
    if is_slow() { usual / 10 } else { usual }
}

/// How often to do the same again, of so often on a real processor.
pub(crate) fn rounds(usual: usize) -> usize {
    if is_slow() { usual.div_ceil(5) } else { usual }
}

/// Whether the running kernel is this one or newer.
pub(crate) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let version: Vec<u32> = release.split('.').take(2).flat_map(str::parse).collect();
    version >= vec![major, minor]
}

/// Something that not every kernel, or machine, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// `bpf_get_socket_cookie` in tracing programs: sockets are known by more than their address.
    Cookies,
    Mptcp,
    /// A processor that is not emulated.
    Speed,
    /// `tmux`, which is a terminal.
    Terminal,
}

/// The tests that cannot be without; a test's name begins with one of these.
const NEEDED: &[(&str, Feature)] = &[
    ("faults::stopped_and_continued", Feature::Cookies),
    ("held::", Feature::Cookies),
    ("hist::count_of_intervals", Feature::Cookies),
    ("kernel_filter::other_processes", Feature::Cookies),
    ("leaks::", Feature::Cookies),
    ("owner_kinds::", Feature::Cookies),
    ("owners::open_before", Feature::Cookies),
    ("places::cgroups", Feature::Cookies),
    ("seeding::", Feature::Cookies),
    ("stacks::", Feature::Cookies),
    ("switches::functions", Feature::Cookies),
    ("time_wait::expires", Feature::Cookies),
    ("time_wait::sampled", Feature::Cookies),
    ("doctor::no_loopback", Feature::Speed),
    ("doctor::two_capabilities", Feature::Speed),
    ("doctor::without_privileges", Feature::Speed),
    ("faults::soak", Feature::Speed),
    ("faults::two_at_once", Feature::Speed),
    ("filters::", Feature::Speed),
    ("hist::", Feature::Speed),
    ("leaks::fail_on", Feature::Speed),
    ("leaks::in_a_cgroup", Feature::Speed),
    ("leaks::stacks", Feature::Speed),
    ("leaks::watch", Feature::Speed),
    ("screen::", Feature::Terminal),
    ("snapshot::a_hundred_thousand", Feature::Speed),
    ("snapshot::without_root", Feature::Speed),
    ("owners::closed_by_a_kernel_thread", Feature::Mptcp),
    ("rights::goes_before_others", Feature::Speed),
    ("rights::hostile_names_are_harmless", Feature::Speed),
    ("rights::kernel_log_at_vv", Feature::Mptcp),
    ("rights::mptcp_on_demand", Feature::Mptcp),
];

impl Feature {
    const ALL: [Self; 4] = [Self::Cookies, Self::Mptcp, Self::Speed, Self::Terminal];

    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Cookies => kernel_is_at_least(5, 12),
            Self::Speed => !is_slow(),
            Self::Terminal => !is_slow() && crate::screen::has_tmux(),
            Self::Mptcp => Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).is_ok(),
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Cookies => "this kernel has no socket cookies for tracing programs (Linux 5.12)",
            Self::Speed => "the processor is emulated, and what they are about is the same on every kernel",
            Self::Terminal => "tmux is not installed, or the processor is emulated",
            Self::Mptcp => "this kernel has no MPTCP sockets (CONFIG_MPTCP)",
        }
    }

    fn is_needed_by(self, test: &str) -> bool {
        NEEDED.iter().any(|(prefix, feature)| *feature == self && test.starts_with(prefix))
    }
}

/// What this kernel lacks for a test.
pub(crate) struct Lacking(Vec<Feature>);

impl Lacking {
    pub(crate) fn find() -> Self {
        Self(Feature::ALL.into_iter().filter(|feature| !feature.is_there()).collect())
    }

    pub(crate) fn for_test(&self, test: &str) -> bool {
        self.0.iter().any(|feature| feature.is_needed_by(test))
    }

    /// A line for each feature that is not there: how many tests are skipped for it.
    pub(crate) fn report(&self, tests: &[&str]) {
        for feature in &self.0 {
            let count = tests.iter().filter(|test| feature.is_needed_by(test)).count();
            eprintln!("SKIPPED: {count} tests: {}\n", feature.reason());
        }
    }
}

/// Lets this process have so many descriptors, also where the limit for shells is lower.
pub(crate) fn allow_descriptors(count: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let maximum = maximum.map(|maximum| maximum.max(count));
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })
        .with_context(|| format!("{count} descriptors are needed (ulimit -Hn)"))
}
