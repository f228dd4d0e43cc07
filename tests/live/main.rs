//! Live kernel tests: real sockets, the real kernel, each test in a network namespace of its own.
//!
//! They need root. Where that is missing, every one of them is reported as ignored, and said so loudly.

mod capture;
mod closes;
mod differential;
mod doctor;
mod expect;
mod faults;
mod filters;
mod half_open;
mod harness;
mod held;
mod hist;
mod kernel_filter;
mod leaks;
mod load;
mod machine;
mod netns;
mod opens;
mod output;
mod owner_kinds;
mod owners;
mod places;
mod privileges;
mod resets;
mod rights;
mod screen;
mod seeding;
mod servers;
mod services;
mod snapshot;
mod stacks;
mod switches;
mod time_wait;
mod traffic;
mod worker;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use harness::Way;
use machine::Lacking;

type Test = fn() -> anyhow::Result<()>;
type LifecycleTest = fn(Way) -> anyhow::Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("closes::client_closes_first", closes::client_closes_first),
    ("closes::server_closes_first", closes::server_closes_first),
    ("closes::client_closes_first_classic_hook", closes::client_closes_first_classic_hook),
    ("closes::server_closes_first_classic_hook", closes::server_closes_first_classic_hook),
    ("closes::half_close", closes::half_close),
    ("closes::simultaneous_close", closes::simultaneous_close),
    ("closes::listener_close", closes::listener_close),
    ("opens::v6", opens::v6),
    ("opens::v4_mapped", opens::v4_mapped),
    ("opens::bound_client", opens::bound_client),
    ("opens::refused", opens::refused),
    ("opens::retry_after_refusal", opens::retry_after_refusal),
    ("opens::black_hole_given_up", opens::black_hole_given_up),
    ("opens::black_hole_timed_out", opens::black_hole_timed_out),
    ("opens::self_connect", opens::self_connect),
    ("opens::simultaneous_open", opens::simultaneous_open),
    ("resets::linger_zero", resets::linger_zero),
    ("resets::unread_data", resets::unread_data),
    ("resets::after_half_close", resets::after_half_close),
    ("owners::client_and_server", owners::client_and_server),
    ("owners::killed_client", owners::killed_client),
    ("owners::closed_by_a_kernel_thread", owners::closed_by_a_kernel_thread),
    ("owners::open_before", owners::open_before),
    ("owner_kinds::prefork", owner_kinds::prefork),
    ("owner_kinds::io_uring", owner_kinds::io_uring),
    ("owner_kinds::threads", owner_kinds::threads),
    ("owner_kinds::thread_pool", owner_kinds::thread_pool),
    ("owner_kinds::passed_descriptors", owner_kinds::passed_descriptors),
    ("owner_kinds::fork_after_accept", owner_kinds::fork_after_accept),
    ("owner_kinds::best_way", owner_kinds::best_way),
    ("owner_kinds::not_root", owner_kinds::not_root),
    ("owner_kinds::short_lived_clients", owner_kinds::short_lived_clients),
    ("places::two_namespaces", places::two_namespaces),
    ("places::cgroups", places::cgroups),
    ("places::unknown_places", places::unknown_places),
    ("stacks::of_each_call", stacks::of_each_call),
    ("stacks::without_frame_pointers", stacks::without_frame_pointers),
    ("stacks::of_this_program", stacks::of_this_program),
    ("faults::killed", faults::killed),
    ("faults::started_over_and_over", faults::started_over_and_over),
    ("faults::stopped_and_continued", faults::stopped_and_continued),
    ("faults::stalled_reader", faults::stalled_reader),
    ("faults::stalled_reader_and_ctrl_c", faults::stalled_reader_and_ctrl_c),
    ("faults::full_disk", faults::full_disk),
    ("faults::clock_step", faults::clock_step),
    ("faults::processor_unplugged", faults::processor_unplugged),
    ("faults::two_at_once", faults::two_at_once),
    ("faults::soak", faults::soak),
    ("filters::ports", filters::ports),
    ("filters::addresses_and_families", filters::addresses_and_families),
    ("filters::states", filters::states),
    ("filters::owners", filters::owners),
    ("kernel_filter::decides_as_the_model", kernel_filter::decides_as_the_model),
    ("kernel_filter::the_rest_costs_nothing", kernel_filter::the_rest_costs_nothing),
    ("kernel_filter::other_processes_cost_little", kernel_filter::other_processes_cost_little),
    ("kernel_filter::command", kernel_filter::command),
    ("output::rows_arrive_while_it_runs", output::rows_arrive_while_it_runs),
    ("output::duration_ends_it", output::duration_ends_it),
    ("output::closed_pipe_ends_it_quietly", output::closed_pipe_ends_it_quietly),
    ("rights::capabilities_are_dropped", rights::capabilities_are_dropped),
    ("rights::missing_capabilities_are_named", rights::missing_capabilities_are_named),
    ("rights::two_capabilities_are_enough", rights::two_capabilities_are_enough),
    ("rights::goes_before_others", rights::goes_before_others),
    ("rights::no_btf_falls_back", rights::no_btf_falls_back),
    ("rights::no_tracefs_is_mounted_or_said", rights::no_tracefs_is_mounted_or_said),
    ("switches::functions_off", switches::functions_off),
    ("switches::functions_turned_off", switches::functions_turned_off),
    ("switches::kprobes_off", switches::kprobes_off),
    ("rights::hostile_names_are_harmless", rights::hostile_names_are_harmless),
    ("rights::kernel_log_at_vv", rights::kernel_log_at_vv),
    ("rights::mptcp_on_demand", rights::mptcp_on_demand),
    ("seeding::open_before", seeding::open_before),
    ("seeding::orphans_are_repaired_live", seeding::orphans_are_repaired_live),
    ("seeding::churn_while_it_starts", seeding::churn_while_it_starts),
    ("seeding::healed_after_a_loss", seeding::healed_after_a_loss),
    ("seeding::audits_find_nothing", seeding::audits_find_nothing),
    ("seeding::counts_are_those_of_ss", seeding::counts_are_those_of_ss),
    ("half_open::cookies", half_open::cookies),
    ("held::after_a_reset", held::after_a_reset),
    ("resets::reasons", resets::reasons),
    ("resets::classic_hook", resets::classic_hook),
    ("time_wait::sampled", time_wait::sampled),
    ("time_wait::expires", time_wait::expires),
    ("differential::same_as_the_kernels_own_trace", differential::same_as_the_kernels_own_trace),
    ("hist::known_dwells", hist::known_dwells),
    ("hist::intervals", hist::intervals),
    ("hist::count_of_intervals", hist::count_of_intervals),
    ("screen::tour", screen::tour),
    ("services::nginx", services::nginx),
    ("services::redis", services::redis),
    ("snapshot::same_as_ss", snapshot::same_as_ss),
    ("snapshot::queues", snapshot::queues),
    ("snapshot::without_root", snapshot::without_root),
    ("snapshot::a_hundred_thousand", snapshot::a_hundred_thousand),
    ("leaks::all_rules", leaks::all_rules),
    ("leaks::open_before", leaks::open_before),
    ("leaks::in_a_cgroup", leaks::in_a_cgroup),
    ("leaks::stacks", leaks::stacks),
    ("leaks::fail_on", leaks::fail_on),
    ("leaks::watch", leaks::watch),
    ("leaks::healthy_host", leaks::healthy_host),
    ("doctor::agrees_with_watch", doctor::agrees_with_watch),
    ("doctor::every_way", doctor::every_way),
    ("doctor::without_privileges", doctor::without_privileges),
    ("doctor::two_capabilities", doctor::two_capabilities),
    ("doctor::no_btf_and_no_tracefs", doctor::no_btf_and_no_tracefs),
    ("doctor::no_loopback", doctor::no_loopback),
    ("load::fifty_thousand_connections_lose_nothing", load::fifty_thousand_connections_lose_nothing),
    ("load::four_kib_ring_counts_its_losses", load::four_kib_ring_counts_its_losses),
];

/// Tests of each way of following time-wait and request sockets that the kernel offers.
const LIFECYCLE_TESTS: &[(&str, LifecycleTest)] = &[
    ("time_wait::server_lingers", time_wait::server_lingers),
    ("time_wait::after_shutdown", time_wait::after_shutdown),
    ("time_wait::fin_wait2_expires", time_wait::fin_wait2_expires),
    ("time_wait::reused", time_wait::reused),
    ("time_wait::replaced_by_the_peer", time_wait::replaced_by_the_peer),
    ("time_wait::killed", time_wait::killed),
    ("time_wait::overflow", time_wait::overflow),
    ("half_open::third_ack_comes_late", half_open::third_ack_comes_late),
    ("half_open::third_ack_never_comes", half_open::third_ack_never_comes),
    ("half_open::listed_meanwhile", half_open::listed_meanwhile),
    ("half_open::reset_by_the_peer", half_open::reset_by_the_peer),
    ("half_open::full_accept_queue", half_open::full_accept_queue),
    ("half_open::full_accept_queue_resets", half_open::full_accept_queue_resets),
    ("time_wait::twenty_thousand_lives", time_wait::twenty_thousand_lives),
];

/// Set by `cargo xtask test`: become root through sudo instead of skipping.
const SUDO: &str = "TCPTRACE_TEST_SUDO";

/// Runs the same tests again as root.
fn as_root() -> ExitCode {
    let program = std::env::current_exe().unwrap_or_default();
    let mut sudo = std::process::Command::new("sudo");
    sudo.args(["--preserve-env=TCPTRACE_BIN", "env", "--unset", SUDO])
        .arg(program)
        .args(std::env::args_os().skip(1));
    match sudo.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot start sudo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many tests of one run may be run once more.
const AGAIN: usize = 3;

/// A test that fails is run once more: where the kernel has kept a transition to itself, without a loss (docs/LIMITATIONS.md), or
/// the machine took its processors away at the wrong moment, it passes then. What is wrong with tcptrace is wrong then, too, or
/// often enough to be wrong in more than a few tests. It is said, and `cargo xtask vm` shows it in its table.
fn run(name: &str, test: impl Fn() -> Result<()>) -> Result<(), Failed> {
    static AGAIN_BEFORE: AtomicUsize = AtomicUsize::new(0);
    capture::were_transitions_unreported();
    let mut result = test();
    if let Err(error) = &result
        && AGAIN_BEFORE.fetch_add(1, Ordering::Relaxed) < AGAIN
    {
        let is_kernels = capture::were_transitions_unreported();
        let why = if is_kernels { "the kernel has not reported every transition" } else { "it has failed" };
        // A line of its own.
        eprintln!("\nAGAIN: {name}: {why}: {error:#}");
        result = test();
    }
    result.map_err(|error| Failed::from(format!("{error:#}")))
}

fn main() -> ExitCode {
    if let Some(result) = worker::run_if_asked() {
        return match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("worker: {error:#}");
                ExitCode::FAILURE
            }
        };
    }

    let mut arguments = Arguments::from_args();
    // One after the other, whatever is asked for. A process that one test starts has, until its exec, a copy of every
    // descriptor of all tests: it could be the last to close a socket of another test, and then is its owner.
    arguments.test_threads = Some(1);
    let missing = privileges::missing();
    if missing.is_some() && std::env::var_os(SUDO).is_some() {
        return as_root();
    }
    if let Some(missing) = &missing
        && !arguments.list
    {
        eprintln!(
            "\n==================================================================\n\
             SKIPPED: all {} live kernel tests. {missing}.\n\
             Nothing below says anything about tracing. To run them:\n\n    \
             sudo -E env \"PATH=$PATH\" cargo test --test live\n\
             ==================================================================\n",
            TESTS.len() + LIFECYCLE_TESTS.len() * Way::ALL.len()
        );
    }
    let lacking = Lacking::find();
    if missing.is_none() && !arguments.list {
        lacking.report(&TESTS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
    let mut trials: Vec<Trial> = TESTS
        .iter()
        .map(|&(name, test)| {
            Trial::test(name, move || run(name, test))
                .with_ignored_flag(missing.is_some() || lacking.for_test(name))
        })
        .collect();
    for way in Way::ALL {
        let refusal = if missing.is_some() { None } else { way.refusal() };
        if let Some(refusal) = &refusal
            && !arguments.list
        {
            eprintln!("SKIPPED: {} tests of --lifecycle {}: {refusal}\n", LIFECYCLE_TESTS.len(), way.name());
        }
        trials.extend(LIFECYCLE_TESTS.iter().map(|&(name, test)| {
            Trial::test(format!("{name}::{}", way.name()), move || run(name, || test(way)))
                .with_ignored_flag(missing.is_some() || refusal.is_some())
        }));
    }
    let is_wanted = match machine::part() {
        Ok(is_wanted) => is_wanted,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = trials.into_iter().enumerate();
    let trials = trials.filter_map(|(place, trial)| is_wanted(place).then_some(trial)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
