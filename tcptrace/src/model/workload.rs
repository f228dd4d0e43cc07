//! What a control group is for: the container, the pod and the unit that its path names.
//!
//! Only names are read, and anybody who may make a cgroup can give it any name: the answer is a label, no proof.

use std::fmt;

/// What runs containers, as far as a path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker Engine (dockerd), or what replaces it and keeps its names.
    Docker,
    /// containerd without Docker: the CRI plugin of Kubernetes, nerdctl, ctr.
    Containerd,
    /// CRI-O.
    Crio,
    /// Podman and other users of libpod.
    Podman,
    /// LXC, LXD, Incus, Proxmox VE.
    Lxc,
}

impl Runtime {
    /// The name it goes by: `docker`, `containerd`, `cri-o`, `podman`, `lxc`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A container that a path names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// `None` where several use the same path, such as docker and containerd below `/kubepods`.
    pub runtime: Option<Runtime>,
    /// 64 hexadecimal digits; of LXC the name, which can be any text.
    pub id: String,
}

impl Container {
    /// What `docker ps` and `crictl ps` show: the first 12 or 13 digits; 12 here. A name is whole.
    pub fn short_id(&self) -> &str {
        if is_id(&self.id) { self.id.get(..12).unwrap_or(&self.id) } else { &self.id }
    }
}

/// What the path of a control group tells of the processes in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// The innermost container.
    pub container: Option<Container>,
    /// Uid of the innermost Kubernetes pod, as `kubectl` shows it; of a static pod 32 hexadecimal digits.
    pub pod: Option<String>,
    /// The innermost systemd service or scope that is no container, as `systemctl` takes it (`\x2d` is left as it is).
    /// It can be inside of the container (systemd in LXC) or around it (a service that runs podman).
    pub unit: Option<String>,
}

impl Workload {
    /// Reads a path of `/proc/PID/cgroup`, of a v1 hierarchy or of v2. Any text is fine.
    pub fn of(path: &str) -> Self {
        let mut workload = Self::default();
        let mut in_kubepods = false;
        let mut parent = None;
        for (depth, name) in path.split('/').filter(|name| !name.is_empty()).enumerate() {
            let (slice, own) = split_slice(name);
            if let Some(uid) = pod_of_slice(slice).or_else(|| pod_of_directory(slice, in_kubepods)) {
                workload.pod = Some(uid);
            }
            in_kubepods |= slice.contains("kubepods");
            if let Some(container) = container(own, &Place { parent, depth, in_kubepods }) {
                workload.container = Some(container);
            } else if is_unit(own) {
                // `cg_escape` of systemd puts `_` before a name that the kernel could take for a file of its own.
                workload.unit = Some(own.strip_prefix('_').unwrap_or(own).to_owned());
            }
            parent = Some(name);
        }
        workload
    }
}

/// Where a directory is.
struct Place<'a> {
    parent: Option<&'a str>,
    /// How many directories are above it, the root aside.
    depth: usize,
    in_kubepods: bool,
}

/// `SLICE:PREFIX:ID` is how a runtime is told to ask systemd for `PREFIX-ID.scope` in the slice; one that was not told
/// to use systemd makes a directory of that name (kubelet with `cgroupDriver: systemd`, runc without `SystemdCgroup`).
fn split_slice(name: &str) -> (&str, &str) {
    match name.split_once(':') {
        Some((slice, rest)) if slice.strip_suffix(".slice").is_some() && rest.contains(':') => (slice, rest),
        _ => (name, name),
    }
}

/// The container whose directory this is.
fn container(name: &str, place: &Place<'_>) -> Option<Container> {
    if let Some(container) = lxc(name, place) {
        return Some(container);
    }
    let scope = name.strip_suffix(".scope");
    let stem = scope.unwrap_or(name);
    let (prefix, id) = stem.rsplit_once(['-', ':']).unwrap_or(("", stem));
    if !is_id(id) {
        return None;
    }
    let runtime = match prefix {
        "" => runtime_of_bare_id(place),
        "docker" => Some(Runtime::Docker),
        "cri-containerd" | "nerdctl" | "containerd" => Some(Runtime::Containerd),
        "crio" => Some(Runtime::Crio),
        // The latter with `podman run --cgroups=split`.
        "libpod" | "libpod-payload" => Some(Runtime::Podman),
        // The monitor beside a container: `crio-conmon`, `libpod-conmon`. And an id after something else is none.
        _ if prefix.ends_with("conmon") || scope.is_none() => return None,
        // Another one that takes runc's names.
        _ => None,
    };
    Some(Container { runtime, id: id.to_owned() })
}

/// Whose containers are directories named by the id alone.
fn runtime_of_bare_id(place: &Place<'_>) -> Option<Runtime> {
    match place.parent? {
        // GitHub's runner has docker use a parent of its own.
        "docker" | "actions_job" => Some(Runtime::Docker),
        // `/NAMESPACE/ID`: the default namespaces of nerdctl and ctr, and of the CRI plugin.
        "default" | "k8s.io" if place.depth == 1 && !place.in_kubepods => Some(Runtime::Containerd),
        _ => None,
    }
}

/// `lxc.payload.NAME` (LXC 4), `lxc.payload/NAME` (LXC 3.1), `/lxc/NAME` (before, and Proxmox VE).
fn lxc(name: &str, place: &Place<'_>) -> Option<Container> {
    let id = match (name.strip_prefix("lxc.payload."), place.parent) {
        (Some(id), _) => id,
        (None, Some("lxc.payload")) => name,
        (None, Some("lxc")) if place.depth == 1 => name,
        _ => return None,
    };
    (!id.is_empty()).then(|| Container { runtime: Some(Runtime::Lxc), id: id.to_owned() })
}

/// `PREFIXkubepods[-QOS]-podUID.slice`. In the name of a slice `-` divides it from its parent, so that the kubelet
/// writes the uid with underscores.
fn pod_of_slice(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".slice")?;
    let (parent, uid) = stem.rsplit_once("-pod")?;
    parent.contains("kubepods").then(|| pod_uid(uid)).flatten()
}

/// `podUID`.
fn pod_of_directory(name: &str, in_kubepods: bool) -> Option<String> {
    let uid = name.strip_prefix("pod").filter(|_| in_kubepods)?;
    pod_uid(uid)
}

/// The uid of a pod: a UUID; of a static one a hash of its manifest, without dashes.
fn pod_uid(text: &str) -> Option<String> {
    let is_digit_or_dash = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 if text.len() == 36 => matches!(byte, b'-' | b'_'),
        _ => is_hex(byte),
    };
    (matches!(text.len(), 32 | 36) && text.bytes().enumerate().all(is_digit_or_dash))
        .then(|| text.replace('_', "-"))
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope"].iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
}

/// Docker, containerd (CRI), CRI-O and libpod alike: 32 random bytes in hexadecimal.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_hex)
}

const fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A name for a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetnsName {
    /// Whoever named a file or a process chose the text.
    pub text: std::sync::Arc<str>,
    /// Somebody has given it this name; else it is that of a process in it: `pid 4242 (nginx)`.
    pub is_given: bool,
}

/// A control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// From the root of its hierarchy, with a leading slash: `/system.slice/nginx.service`. Whoever made the cgroup
    /// chose the names in it; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// What the path tells.
    pub workload: Workload,
}

impl Cgroup {
    /// The cgroup at this path.
    pub fn at(path: &[u8]) -> Self {
        let path = String::from_utf8_lossy(path).into_owned();
        let workload = Workload::of(&path);
        Self { path, workload }
    }

    /// Whether it is the cgroup of that path, or below it. The leading slash may be missing.
    pub fn is_within(&self, ancestor: &str) -> bool {
        let ancestor = ancestor.trim_matches('/');
        let rest = self.path.trim_start_matches('/').strip_prefix(ancestor);
        ancestor.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests;
