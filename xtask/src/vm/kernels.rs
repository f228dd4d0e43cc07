//! Debian's kernels: found in a suite of the archive, downloaded with an apt of our own, unpacked, cached.
//!
//! The host's apt keeps its sources, its lists and its packages: all state is under `target/vm/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{host, modules};
use crate::workspace::{output, succeed, target_dir};

/// A series of kernels, and the suite of Debian that has it.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    suite: &'static str,
}

pub(crate) const SERIES: &[Series] = &[
    Series { name: "5.10", suite: "bullseye" },
    Series { name: "6.1", suite: "bookworm" },
    Series { name: "6.12", suite: "bookworm-backports" },
    Series { name: "7.2", suite: "trixie-backports" },
];

/// The flavour: nearly everything that a guest needs is built in.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel, ready to boot.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// In the order in which they are to be loaded.
    pub(crate) modules: Vec<PathBuf>,
}

/// Everything of the VMs that is kept.
pub(crate) fn dir() -> PathBuf {
    target_dir().join("vm")
}

/// Takes a kernel from the cache, or downloads the newest of its series. To get a newer one, remove its directory.
pub(crate) fn have(series: &Series) -> Result<Kernel> {
    let cached = dir().join("kernels").join(series.name);
    if !cached.exists() {
        let fresh = dir().join("kernels").join(format!("{}.new-{}", series.name, std::process::id()));
        let made = make(series, &fresh).with_context(|| format!("cannot get a kernel {}", series.name));
        // Whole or not at all: a run that was interrupted leaves nothing that looks like a kernel.
        let kept = made.and_then(|()| match fs::rename(&fresh, &cached) {
            // Another run may have been quicker.
            Err(_) if cached.exists() => Ok(()),
            done => done.with_context(|| format!("cannot make {}", cached.display())),
        });
        let _ = fs::remove_dir_all(&fresh);
        kept?;
    }
    let release = fs::read_to_string(cached.join("release"))?.trim().to_owned();
    let mut modules =
        fs::read_dir(cached.join("modules"))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    modules.sort();
    Ok(Kernel { release, image: cached.join("vmlinuz"), modules })
}

fn make(series: &Series, into: &Path) -> Result<()> {
    let apt = Apt::update(series.suite)?;
    let (release, packages) = newest(series, &apt.packages()?)?;
    let root = into.join("root");
    fs::create_dir_all(&root)?;
    for package in packages {
        eprintln!("xtask: downloading {package}");
        let file = apt.download(&package, into)?;
        succeed(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&root))?;
        fs::remove_file(&file)?;
    }
    let images = [
        root.join(format!("boot/vmlinuz-{release}")),
        root.join(format!("usr/lib/modules/{release}/vmlinuz")),
    ];
    let image = images.iter().find(|image| image.exists()).context("no vmlinuz in the packages")?;
    fs::rename(image, into.join("vmlinuz"))?;
    let trees = ["lib", "usr/lib"].map(|lib| root.join(lib).join("modules").join(&release).join("kernel"));
    let tree = trees.iter().find(|tree| tree.exists()).context("no modules in the packages")?;
    modules::unpack(tree, &into.join("modules"))?;
    fs::remove_dir_all(&root)?;
    fs::write(into.join("release"), format!("{release}\n"))?;
    Ok(())
}

/// The newest kernel of the series, or, where the suite has gone on to others, of the suite; and the packages that it
/// consists of. (Backports keep the newest few releases, each with its number in the package's name.)
fn newest(series: &Series, packages: &[String]) -> Result<(String, Vec<String>)> {
    let has = |name: &str| packages.iter().any(|package| package == name);
    // One package with everything; or, from 6.19 on, one with the image, and from 7.1 on another with the modules.
    let candidates = |wanted: &dyn Fn(&str) -> bool| {
        packages
            .iter()
            .filter_map(|package| {
                package.strip_prefix("linux-binary-").or_else(|| package.strip_prefix("linux-image-"))
            })
            .filter(|release| release.ends_with(FLAVOUR) && release.starts_with(|c: char| c.is_ascii_digit()))
            .filter(|release| wanted(release))
            .max_by_key(|release| numbers(release))
    };
    let of_series =
        |release: &str| release.strip_prefix(series.name).is_some_and(|rest| rest.starts_with('.'));
    let release = if let Some(release) = candidates(&of_series) {
        release
    } else {
        let release = candidates(&|_| true).with_context(|| format!("no kernel in {}", series.suite))?;
        eprintln!("xtask: {} has no kernel {} any more; its newest: {release}", series.suite, series.name);
        release
    };
    let (image, binary) = (format!("linux-image-{release}"), format!("linux-binary-{release}"));
    let modules = format!("linux-modules-{release}");
    let mut parts = vec![if has(&binary) { binary } else { image }];
    parts.extend(has(&modules).then_some(modules));
    Ok((release.to_owned(), parts))
}

/// The numbers in a release, most significant first: 6.12.95 is newer than 6.12.9.
fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).flat_map(str::parse).collect()
}

/// An apt of one suite, with no connection to that of the host but its mirror and its keys.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn update(suite: &str) -> Result<Self> {
        let dir = dir().join("apt").join(suite);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let sources = dir.join("sources.list");
        let (keyring, mirror) = (host::KEYRING, host::mirror()?);
        let line =
            format!("deb [arch=amd64 lang=none target=Packages signed-by={keyring}] {mirror} {suite} main\n");
        fs::write(&sources, line)?;
        let options = [
            ("Dir::State", dir.join("state")),
            ("Dir::Cache", dir.join("cache")),
            ("Dir::Etc::SourceList", sources),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            // Pins of the host would choose another version.
            ("Dir::Etc::Preferences", "/dev/null".into()),
            ("Dir::Etc::PreferencesParts", "/dev/null".into()),
            ("APT::Architecture", "amd64".into()),
            // Another user could not write here.
            ("APT::Sandbox::User", "root".into()),
        ];
        let options = options.map(|(key, value)| format!("--option={key}={}", value.display())).to_vec();
        let apt = Self { options };
        eprintln!("xtask: reading the package list of {suite}");
        succeed(apt.command("apt-get").args(["update", "--quiet=2", "--error-on=any"])).with_context(|| {
            format!("cannot read the packages of {suite} (an unknown key? `apt-get install debian-archive-keyring`)")
        })?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// The names of all packages.
    fn packages(&self) -> Result<Vec<String>> {
        let names = output(self.command("apt-cache").args(["pkgnames", "linux-"]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads a package; apt checks it against the signed list.
    fn download(&self, package: &str, into: &Path) -> Result<PathBuf> {
        succeed(self.command("apt-get").args(["download", "--quiet=2", package]).current_dir(into))?;
        let prefix = format!("{package}_");
        for entry in fs::read_dir(into)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                return Ok(entry.path());
            }
        }
        bail!("apt-get has not downloaded {package}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("linux-{name}-cloud-amd64")).collect()
    }

    #[test]
    fn newest_of_a_series() -> Result<()> {
        let mut packages = packages(&[
            "image-6.12.9+deb12",
            "image-6.12.95+deb12",
            "image-6.12.90+deb12.1",
            "image-6.1.0-50",
        ]);
        packages.extend(["linux-image-6.12.99-amd64".to_owned(), "linux-image-cloud-amd64".to_owned()]);
        let (release, parts) = newest(&SERIES[2], &packages)?;
        assert_eq!(release, "6.12.95+deb12-cloud-amd64");
        assert_eq!(parts, ["linux-image-6.12.95+deb12-cloud-amd64"]);
        let (release, _) = newest(&SERIES[1], &packages)?;
        assert_eq!(release, "6.1.0-50-cloud-amd64");
        Ok(())
    }

    #[test]
    fn image_and_modules_apart() -> Result<()> {
        let packages =
            packages(&["image-7.2.12", "binary-7.2.12", "modules-7.2.12", "binary-unsigned-7.3.4"]);
        let (release, parts) = newest(&SERIES[3], &packages)?;
        assert_eq!(release, "7.2.12-cloud-amd64");
        assert_eq!(parts, ["linux-binary-7.2.12-cloud-amd64", "linux-modules-7.2.12-cloud-amd64"]);
        Ok(())
    }

    #[test]
    fn a_suite_that_has_gone_on() -> Result<()> {
        let (release, _) = newest(&SERIES[3], &packages(&["image-8.1.2", "image-8.0.9"]))?;
        assert_eq!(release, "8.1.2-cloud-amd64");
        Ok(())
    }
}
