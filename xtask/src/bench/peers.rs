//! The tools that people know: how they are started, and what they say about their losses.

use std::process::Command;

use super::contender::find;

/// Another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// libbpf-tools: a line for each transition.
    Tcpstates,
    /// libbpf-tools: a line for each connection.
    Tcplife,
    /// A one-liner: a line for each transition.
    Bpftrace,
}

/// As one would type it.
const ONE_LINER: &str = "tracepoint:sock:inet_sock_set_state { printf(\"%s %d %d -> %d\\n\", comm, args->sport, \
                         args->oldstate, args->newstate); }";

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Tcpstates, Self::Tcplife, Self::Bpftrace];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcpstates => "tcpstates",
            Self::Tcplife => "tcplife",
            Self::Bpftrace => "bpftrace",
        }
    }

    /// For people.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Tcpstates => "tcpstates (libbpf-tools)",
            Self::Tcplife => "tcplife (libbpf-tools), a line a connection",
            Self::Bpftrace => "bpftrace, printf one-liner",
        }
    }

    pub(crate) fn missing(self) -> Option<String> {
        find(self.name()).is_none().then(|| format!("{} is not installed", self.name()))
    }

    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(find(self.name()).unwrap_or_else(|| self.name().into()));
        match self {
            Self::Bpftrace => command.args(["-e", ONE_LINER]),
            Self::Tcpstates | Self::Tcplife => &mut command,
        };
        command
    }
}

/// The version, as the tool says it.
pub(crate) fn version(peer: Peer) -> Option<String> {
    let output = peer.command_for_version().output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

impl Peer {
    fn command_for_version(self) -> Command {
        let mut command = Command::new(find(self.name()).unwrap_or_else(|| self.name().into()));
        command.arg("--version");
        command
    }
}

/// What a tool of libbpf-tools says that it has lost: lines such as `lost 12 events on CPU #1`.
pub(crate) fn lost_by_libbpf_tools(stderr: &str) -> u64 {
    let count = |line: &str| {
        let rest = &line[line.to_ascii_lowercase().find("lost ")? + 5..];
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    stderr.lines().filter_map(count).sum()
}

/// What tcptrace says that it has lost, in the summary that ends text (`12 events (12 shown), 0 lost; ..`) or JSON.
pub(crate) fn lost_by_tcptrace(stderr: &str, last_line: &str) -> Option<u64> {
    if let Ok(summary) = serde_json::from_str::<serde_json::Value>(last_line) {
        return summary["lost"].as_u64();
    }
    let said = stderr.lines().rev().filter_map(|line| line.strip_prefix("tcptrace: "));
    let (before, _) = std::iter::once(last_line).chain(said).find_map(|line| line.split_once(" lost; "))?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_libbpf_tools_are_added_up() {
        assert_eq!(lost_by_libbpf_tools(""), 0);
        let said = "lost 12 events on CPU #1\nsomething else\nLost 30 events on CPU #0!\n";
        assert_eq!(lost_by_libbpf_tools(said), 42);
    }

    #[test]
    fn losses_of_tcptrace_are_in_its_summary() {
        let text = "warning\ntcptrace: 14 events (14 shown), 3 lost; connections: 5 seen\n";
        assert_eq!(lost_by_tcptrace(text, "0.1 - - LISTEN -> CLOSE"), Some(3));
        let alone = "14 events (0 shown), 5 lost; connections: 5 seen";
        assert_eq!(lost_by_tcptrace("", alone), Some(5));
        let json = r#"{"type":"summary","schema_version":1,"events":0,"lost":7}"#;
        assert_eq!(lost_by_tcptrace("", json), Some(7));
        assert_eq!(lost_by_tcptrace("", ""), None);
    }
}
