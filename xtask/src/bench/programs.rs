//! What BPF programs of a process have cost: the kernel tells it in `/proc/PID/fdinfo`, while its statistics are on.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

/// Runs of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    pub(crate) ns: u64,
}

/// The programs of a process by their ids.
pub(crate) type Programs = BTreeMap<u32, Runs>;

/// Reads them all. A program that has two descriptors counts once.
pub(crate) fn of_process(pid: u32) -> Result<Programs> {
    let dir = format!("/proc/{pid}/fdinfo");
    let mut programs = Programs::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))? {
        // A descriptor may be gone by now.
        if let Ok(text) = fs::read_to_string(entry?.path()) {
            programs.extend(parse(&text));
        }
    }
    Ok(programs)
}

/// What has come since.
pub(crate) fn since(before: &Programs, after: &Programs) -> Programs {
    let less = |(id, runs): (&u32, &Runs)| {
        let old = before.get(id).copied().unwrap_or_default();
        (*id, Runs { count: runs.count - old.count, ns: runs.ns - old.ns })
    };
    after.iter().map(less).collect()
}

/// Of all programs together.
pub(crate) fn total_ns(programs: &Programs) -> u64 {
    programs.values().map(|runs| runs.ns).sum()
}

/// `None` for anything but a program. Links have a `prog_id`, too, but no runs.
fn parse(fdinfo: &str) -> Option<(u32, Runs)> {
    let value =
        |name: &str| fdinfo.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let runs = Runs { count: value("run_cnt:")?, ns: value("run_time_ns:")? };
    Some((u32::try_from(value("prog_id:")?).ok()?, runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_and_a_link() {
        let program = "pos:\t0\nprog_type:\t26\nprog_id:\t37582\nrun_time_ns:\t900\nrun_cnt:\t3\nrecursion_misses:\t0\n";
        assert_eq!(parse(program), Some((37_582, Runs { count: 3, ns: 900 })));
        assert_eq!(parse("pos:\t0\nlink_type:\ttracing\nlink_id:\t7\nprog_id:\t37582\n"), None);
        assert_eq!(parse("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn differences_and_sums() {
        let before = Programs::from([(1, Runs { count: 10, ns: 1_000 })]);
        let after = Programs::from([(1, Runs { count: 15, ns: 1_700 }), (2, Runs { count: 1, ns: 50 })]);
        let since = since(&before, &after);
        assert_eq!(since[&1], Runs { count: 5, ns: 700 });
        assert_eq!(total_ns(&since), 750);
    }
}
