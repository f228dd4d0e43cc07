//! Selection, the same flags for every command that has them.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, parser::ValueSource};

use crate::model::{
    Family, Filter, Processes,
    filter_lists::{CommList, NetworkList, PidList, PortList, StateSet},
};

/// What was typed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection (what cannot be decided yet is shown)")]
pub(super) struct SelectionArgs {
    /// Only IPv4 sockets
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6 sockets, those with v4-mapped addresses included
    #[arg(short = '6', long = "ipv6")]
    ipv6: bool,
    /// Only connections owned by these processes and the children that they make
    #[arg(short, long, value_name = "N,..")]
    pid: Option<PidList>,
    /// Only connections owned by processes of these names
    #[arg(long, value_name = "NAME,..")]
    comm: Option<CommList>,
    /// Only these local ports: lists and ranges, such as 80,443,8000-8100
    #[arg(short = 'L', long, value_name = "LIST")]
    lport: Option<PortList>,
    /// Only these remote ports
    #[arg(short = 'D', long, value_name = "LIST")]
    rport: Option<PortList>,
    /// Only these service ports, whichever side they are on
    #[arg(long, value_name = "LIST")]
    port: Option<PortList>,
    /// Only local addresses in these networks
    #[arg(long, value_name = "CIDR,..")]
    laddr: Option<NetworkList>,
    /// Only remote addresses in these networks
    #[arg(long, value_name = "CIDR,..")]
    raddr: Option<NetworkList>,
    /// Only these network namespaces: names, paths, inode numbers, process ids (also as inode:N, pid:N), `self`
    #[arg(short = 'N', long, value_name = "WHICH,..", value_delimiter = ',')]
    netns: Vec<String>,
    /// Only connections owned by processes in this cgroup (v2) or below it
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Only these states, such as close-wait,TIME_WAIT,estab: transitions that leave or enter them, sockets that are in them
    #[arg(long, value_name = "LIST")]
    state: Option<StateSet>,
}

/// What only the host knows the meaning of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Network namespaces.
    pub netns: Vec<String>,
    /// A cgroup.
    pub cgroup: Option<PathBuf>,
}

impl SelectionArgs {
    /// What it means.
    pub(super) fn meaning(self) -> (Filter, Places) {
        let places = Places { netns: self.netns, cgroup: self.cgroup };
        let filter = Filter {
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Some(Family::V4),
                (_, true) => Some(Family::V6),
                _ => None,
            },
            processes: self.pid.as_ref().map(Processes::from),
            comms: self.comm,
            local_ports: self.lport,
            remote_ports: self.rport,
            service_ports: self.port,
            local_networks: self.laddr,
            remote_networks: self.raddr,
            states: self.state,
            ..Filter::default()
        };
        (filter, places)
    }
}

/// What was typed of it: `--port 443,8080 --state CLOSE_WAIT`.
pub(super) fn typed(matches: &ArgMatches) -> String {
    let command = SelectionArgs::augment_args(Command::new("selection"));
    let flags = command.get_arguments().filter_map(|arg| flag_typed(arg, matches));
    flags.collect::<Vec<_>>().join(" ")
}

fn flag_typed(arg: &Arg, matches: &ArgMatches) -> Option<String> {
    let name = arg.get_id().as_str();
    if matches.value_source(name) != Some(ValueSource::CommandLine) {
        return None;
    }
    let flag = arg.get_long()?;
    if !arg.get_action().takes_values() {
        return Some(format!("--{flag}"));
    }
    let values: Vec<_> = matches.get_raw(name)?.map(|value| value.to_string_lossy()).collect();
    Some(format!("--{flag} {}", values.join(",")))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::cli::selection_typed;

    #[test]
    fn what_was_typed_to_select() {
        for (args, typed) in [
            (&["watch"][..], ""),
            (&["watch", "-o", "tui", "--ascii"], ""),
            (
                &["watch", "--state", "close-wait", "-4", "-L80,443", "-N", "self,a", "--netns=b", "-w"],
                "--ipv4 --lport 80,443 --netns self,a,b --state close-wait",
            ),
            (&["watch", "--port", "x"], ""),
        ] {
            let args = ["tcptrace"].iter().chain(args).map(OsString::from);
            assert_eq!(selection_typed(args), typed);
        }
    }
}
