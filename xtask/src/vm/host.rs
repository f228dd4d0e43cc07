//! What the host must have: found, or installed with apt.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{output, succeed};

/// The keys of Debian's archive, all of its releases.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Programs (or files, where it begins with a slash) and the Debian packages that have them.
const NEEDED: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
    ("dpkg-deb", "dpkg"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("nice", "coreutils"),
    (KEYRING, "debian-archive-keyring"),
];

/// Installs what is missing, through sudo when not root.
pub(crate) fn install_missing_tools() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    eprintln!("xtask: installing {}", packages.join(", "));
    let installed = apt_get(&["update", "--quiet=2"]).and_then(|()| {
        apt_get(
            &["install", "--yes", "--quiet=2", "--no-install-recommends"]
                .iter()
                .chain(&packages)
                .copied()
                .collect::<Vec<_>>(),
        )
    });
    installed.with_context(|| {
        format!("cannot install what the VMs need; install it by hand: {}", packages.join(" "))
    })?;
    let missing = self::missing();
    if let Some((name, package)) = missing.first() {
        bail!("{package} was installed, but there is no {name}");
    }
    Ok(())
}

fn missing() -> Vec<(&'static str, &'static str)> {
    let is_there =
        |name: &str| if name.starts_with('/') { Path::new(name).exists() } else { find(name).is_ok() };
    NEEDED.iter().filter(|(name, _)| !is_there(name)).copied().collect()
}

fn apt_get(args: &[&str]) -> Result<()> {
    let is_root = fs::metadata("/proc/self").context("cannot read /proc/self")?.uid() == 0;
    let mut command = Command::new(if is_root { "env" } else { "sudo" });
    succeed(command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args))
}

/// A program in the `PATH`, or where Debian has those for root, which the `PATH` of others may lack.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("no program {program}"))
}

/// The shared libraries that a program is loaded with, and the loader; none where it is linked statically.
pub(crate) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&listed.stdout);
    if text.contains("not found") {
        bail!("{} lacks libraries:\n{text}", program.display());
    }
    // `libc.so.6 => /lib/libc.so.6 (0x..)` or `/lib64/ld-linux-x86-64.so.2 (0x..)`; no file: `linux-vdso.so.1 (0x..)`.
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}

/// The release of Debian that the host runs, such as `bookworm`; `None` where it is no Debian.
fn codename() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|v| v.trim_matches('"'))
    };
    (value("ID") == Some("debian")).then(|| value("VERSION_CODENAME").map(str::to_owned))?
}

/// Set this where the host is no Debian, or to use another mirror than the host's.
const MIRROR: &str = "TCPTRACE_DEBIAN_MIRROR";

/// Where the host gets Debian's packages from.
pub(crate) fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var(MIRROR) {
        return Ok(mirror);
    }
    let advice = || format!("no Debian mirror in the host's apt sources: set {MIRROR} to the URI of one");
    let codename = codename().with_context(advice)?;
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(RELEASE) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    targets
        .lines()
        .filter_map(|line| line.strip_prefix(&codename)?.strip_prefix(" main "))
        .map(str::to_owned)
        .next()
        .with_context(advice)
}
