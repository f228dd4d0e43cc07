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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970";
    const B: &str = "34dc0b5e626f2c5c4c5170e34b10e7654ce36f0fcd532739f4445baabea03376";
    const UID: &str = "74c13223-5a00-11e9-b385-42010a80018d";

    /// The path with `{A}`, `{B}` (ids), `{UID}` and `{UID_}` (with underscores) in it.
    fn path(pattern: &str) -> String {
        pattern
            .replace("{A}", A)
            .replace("{B}", B)
            .replace("{UID}", UID)
            .replace("{UID_}", &UID.replace('-', "_"))
    }

    type Expected<'a> = (Option<(Option<Runtime>, &'a str)>, Option<&'a str>, Option<&'a str>);

    fn check(pattern: &str, (container, pod, unit): Expected<'_>) {
        let expected = Workload {
            container: container.map(|(runtime, id)| Container { runtime, id: path(id) }),
            pod: pod.map(path),
            unit: unit.map(path),
        };
        assert_eq!(Workload::of(&path(pattern)), expected, "{pattern}");
    }

    const DOCKER: Option<(Option<Runtime>, &str)> = Some((Some(Runtime::Docker), "{A}"));
    const CONTAINERD: Option<(Option<Runtime>, &str)> = Some((Some(Runtime::Containerd), "{A}"));
    const CRIO: Option<(Option<Runtime>, &str)> = Some((Some(Runtime::Crio), "{A}"));
    const PODMAN: Option<(Option<Runtime>, &str)> = Some((Some(Runtime::Podman), "{A}"));
    const SOME: Option<(Option<Runtime>, &str)> = Some((None, "{A}"));
    const POD: Option<&str> = Some("{UID}");

    #[test]
    fn containers() {
        let table: &[(&str, Expected<'_>)] = &[
            // docker, systemd driver: moby daemon/oci_linux.go, `system.slice:docker:ID`, of which runc makes
            // PREFIX-NAME.scope (opencontainers/cgroups systemd/common.go, getUnitName)
            ("/system.slice/docker-{A}.scope", (DOCKER, None, None)),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", {
                (DOCKER, None, Some("user@1000.service"))
            }),
            ("/system.slice/docker-{A}.scope/init.scope", (DOCKER, None, Some("init.scope"))),
            // docker, cgroupfs driver: the same file, parent `/docker`
            ("/docker/{A}", (DOCKER, None, None)),
            ("/docker/{A}/system.slice/nginx.service", (DOCKER, None, Some("nginx.service"))),
            // docker --cgroup-parent=/batch; ECS agent, `/ecs/TASK/ID`: nothing tells whose it is
            ("/batch/{A}", (SOME, None, None)),
            ("/ecs/c8a2b3d4/{A}", (SOME, None, None)),
            // docker in docker: the innermost
            ("/docker/{B}/docker/{A}", (DOCKER, None, None)),
            // nerdctl, both drivers; ctr
            ("/system.slice/nerdctl-{A}.scope", (CONTAINERD, None, None)),
            ("/default/{A}", (CONTAINERD, None, None)),
            ("/k8s.io/{A}", (CONTAINERD, None, None)),
            // podman: libpod/container_internal_linux.go (`libpod-ID.scope` in machine.slice or user.slice), with a
            // subdirectory since 4.0 (crun `run.oci.systemd.subgroup=container`)
            ("/machine.slice/libpod-{A}.scope", (PODMAN, None, None)),
            ("/machine.slice/libpod-{A}.scope/container", (PODMAN, None, None)),
            ("/machine.slice/libpod-conmon-{A}.scope", (None, None, Some("libpod-conmon-{A}.scope"))),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container", {
                (PODMAN, None, Some("user@1000.service"))
            }),
            // podman, cgroupfs driver: `/libpod_parent/libpod-ID`
            ("/libpod_parent/libpod-{A}", (PODMAN, None, None)),
            ("/libpod_parent/libpod-conmon-{A}", (None, None, None)),
            // podman --cgroups=split, as quadlet does
            ("/system.slice/web.service/libpod-payload-{A}", (PODMAN, None, Some("web.service"))),
            ("/system.slice/web.service/supervisor", (None, None, Some("web.service"))),
            // podman pods are no Kubernetes pods
            ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", (PODMAN, None, None)),
            // another one that takes runc's names
            ("/system.slice/myrun-{A}.scope", (SOME, None, None)),
        ];
        for (pattern, expected) in table {
            check(pattern, *expected);
        }
    }

    #[test]
    fn kubernetes() {
        let table: &[(&str, Expected<'_>)] = &[
            // kubelet, systemd driver: pkg/kubelet/cm/cgroup_manager_linux.go (`ToSystemd`, escapeSystemdCgroupName);
            // a guaranteed pod is directly in kubepods.slice. containerd: getCgroupsPath, `SLICE:cri-containerd:ID`
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{A}.scope",
                (CONTAINERD, POD, None),
            ),
            ("/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{A}.scope", (CONTAINERD, POD, None)),
            // kubelet, cgroupfs driver: `ToCgroupfs`
            ("/kubepods/burstable/pod{UID}/{A}", (SOME, POD, None)),
            ("/kubepods/pod{UID}/{A}", (SOME, POD, None)),
            // the pod itself
            ("/kubepods/besteffort/pod{UID}", (None, POD, None)),
            ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice", {
                (None, POD, None)
            }),
            // a static pod: its uid is a hash (pkg/kubelet/config/common.go, applyDefaults)
            ("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/{A}", {
                (SOME, Some("0123456789abcdef0123456789abcdef"), None)
            }),
            // dockershim, cri-dockerd
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/docker-{A}.scope",
                (DOCKER, POD, None),
            ),
            // cri-o: internal/config/cgmgr (systemd_linux.go, cgroupfs_linux.go), `crio-ID`, `crio-conmon-ID`
            ("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{A}.scope", (CRIO, POD, None)),
            ("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{A}.scope/container", (CRIO, POD, None)),
            ("/kubepods/burstable/pod{UID}/crio-{A}", (CRIO, POD, None)),
            ("/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{A}.scope", {
                (None, POD, Some("crio-conmon-{A}.scope"))
            }),
            ("/kubepods/burstable/pod{UID}/crio-conmon-{A}", (None, POD, None)),
            // the kubelet told to use systemd, containerd not
            ("/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{A}", {
                (CONTAINERD, POD, Some("containerd.service"))
            }),
            ("/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{A}", (CONTAINERD, POD, None)),
            ("/system.slice:docker:{A}", (DOCKER, None, None)),
            // kind: a node is a docker container, its kubelet has `--cgroup-root=/kubelet`
            (
                "/docker/{B}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
                 kubelet-kubepods-besteffort-pod{UID_}.slice/cri-containerd-{A}.scope",
                (CONTAINERD, POD, None),
            ),
            ("/docker/{B}/kubelet/kubepods/burstable/pod{UID}/{A}", (SOME, POD, None)),
            ("/system.slice/docker-{A}.scope/kubelet.slice/kubelet.service", {
                (DOCKER, None, Some("kubelet.service"))
            }),
            // docker in a pod
            ("/kubepods/burstable/pod{UID}/{B}/docker/{A}", (DOCKER, POD, None)),
            // no pods
            ("/pod{UID}/{A}", (SOME, None, None)),
            ("/kubepods/pod-of-mine/{A}", (SOME, None, None)),
            ("/kubepods.slice/kubepods-burstable.slice", (None, None, None)),
        ];
        for (pattern, expected) in table {
            check(pattern, *expected);
        }
    }

    #[test]
    fn lxc_is_known_by_its_directories() {
        let lxc = |name| Some((Some(Runtime::Lxc), name));
        let table: &[(&str, Expected<'_>)] = &[
            // lxc src/lxc/cgroups/cgfsng.c, `DEFAULT_PAYLOAD_CGROUP_PREFIX "lxc.payload."` and `lxc.monitor.`
            ("/lxc.payload.web", (lxc("web"), None, None)),
            ("/lxc.payload.web/system.slice/nginx.service", (lxc("web"), None, Some("nginx.service"))),
            ("/lxc.payload.web/lxc.payload.inner/init.scope", (lxc("inner"), None, Some("init.scope"))),
            ("/lxc.payload.web/docker/{A}", (DOCKER, None, None)),
            ("/lxc.monitor.web", (None, None, None)),
            ("/lxc.payload.", (None, None, None)),
            // lxc 3.1
            ("/lxc.payload/web/init.scope", (lxc("web"), None, Some("init.scope"))),
            ("/lxc.monitor/web", (None, None, None)),
            // lxc before, Proxmox VE
            ("/lxc/101/ns/system.slice/ssh.service", (lxc("101"), None, Some("ssh.service"))),
            ("/lxc", (None, None, None)),
            ("/user/lxc/101", (None, None, None)),
        ];
        for (pattern, expected) in table {
            check(pattern, *expected);
        }
    }

    #[test]
    fn units() {
        let table: &[(&str, Option<&str>)] = &[
            ("/", None),
            ("", None),
            ("/init.scope", Some("init.scope")),
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/docker.service", Some("docker.service")),
            // a template's instance is in a slice of its template
            (r"/system.slice/system-serial\x2dgetty.slice/serial-getty@ttyS0.service", {
                Some("serial-getty@ttyS0.service")
            }),
            (r"/system.slice/system-systemd\x2dfsck.slice/systemd-fsck@dev-disk-by\x2duuid-3c.service", {
                Some(r"systemd-fsck@dev-disk-by\x2duuid-3c.service")
            }),
            // socket activation names the connection (systemd src/core/socket.c, instance_from_socket)
            ("/system.slice/system-sshd.slice/sshd@0-192.0.2.1:22-192.0.2.2:51234.service", {
                Some("sshd@0-192.0.2.1:22-192.0.2.2:51234.service")
            }),
            // a delegated tree below a unit
            ("/system.slice/postgresql.service/worker/1", Some("postgresql.service")),
            // sessions: logind's scope, and the user's own manager
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("init.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope", Some("app-x.scope")),
            (
                r"/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-org.gnome.Terminal-42.scope",
                Some("app-gnome-org.gnome.Terminal-42.scope"),
            ),
            (r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator", {
                Some(r"machine-qemu\x2d1\x2dvm.scope")
            }),
            // systemd src/basic/cgroup-util.c, cg_escape
            ("/system.slice/_cpu.service", Some("cpu.service")),
            // nothing that systemd makes
            ("/system.slice/.service", None),
            ("/system.slice/nginx.service.d", None),
            ("/system.slice/run-docker.mount", None),
        ];
        for (path, unit) in table {
            let expected = Workload { unit: unit.map(str::to_owned), ..Workload::default() };
            assert_eq!(Workload::of(path), expected, "{path}");
        }
    }

    #[test]
    fn an_id_is_64_hexadecimal_digits() {
        for id in [&A[1..], &format!("{A}0"), &A.to_uppercase(), &A.replace('4', "g"), "", "é"] {
            for path in [format!("/docker/{id}"), format!("/system.slice/docker-{id}.slice")] {
                assert_eq!(Workload::of(&path).container, None, "{path}");
            }
        }
        // Without the runtime's prefix, the end of a longer name is not an id.
        assert_eq!(Workload::of(&format!("/docker/build-{A}")).container, None);
    }

    #[test]
    fn ids_are_shortened_and_names_are_not() {
        let container = Workload::of(&path("/docker/{A}")).container.expect("is one");
        assert_eq!(container.short_id(), "4f797c539e6c");
        let named = Workload::of("/lxc.payload.a-long-name-of-a-container").container.expect("is one");
        assert_eq!(named.short_id(), "a-long-name-of-a-container");
        assert_eq!(format!("{:>8}", Runtime::Crio), "   cri-o");
    }

    /// The words of all patterns, in any order.
    fn words() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("/".to_owned()),
            Just(":".to_owned()),
            Just("-".to_owned()),
            Just(A.to_owned()),
            Just(UID.to_owned()),
            Just(UID.replace('-', "_")),
            Just("é".to_owned()),
            "(docker|crio|libpod|conmon|kubepods|pod|lxc|lxc\\.payload\\.?|cri-containerd|default|_)",
            "(\\.scope|\\.service|\\.slice|\\\\x2d)",
            any::<String>(),
        ];
        proptest::collection::vec(word, 0..20).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_fine(text in prop_oneof![any::<String>(), words()]) {
            let workload = Workload::of(&text);
            let parts = [
                workload.container.as_ref().map(|container| container.id.clone()),
                workload.unit.clone(),
                workload.pod.as_ref().map(|pod| pod.replace('_', "-")),
            ];
            for part in parts.into_iter().flatten() {
                prop_assert!(!part.is_empty() && !part.contains('/'));
                prop_assert!(text.contains(&part) || text.replace('_', "-").contains(&part), "{part}");
            }
            if let Some(container) = &workload.container {
                prop_assert!(container.id.starts_with(container.short_id()));
                prop_assert!(is_id(&container.id) || container.runtime == Some(Runtime::Lxc));
            }
        }
    }
}
