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
