//! The guest's whole file system: a few programs of the host with their libraries, modules, tcptrace, its tests.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::BufWriter,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, host, kernels::Kernel, programs::Programs, verdict};

/// What runs in a VM.
pub(crate) struct Guest<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) programs: &'a Programs,
    /// For the shell.
    pub(crate) command: &'a str,
}

/// Programs of the host. Busybox has applets of most of these names, but not with all the options; and its shell prefers
/// them to what is in the PATH, so that it cannot be the guest's.
const PROGRAMS: &[&str] =
    &["busybox", "sh", "ip", "tc", "ss", "setpriv", "unshare", "mount", "umount", "nice"];

/// Before /bin, where busybox has its applets.
const BIN: &str = "usr/local/bin";

/// The device that the command writes to; the first one has the kernel's log.
const OUTPUT: &str = "/dev/ttyS1";

impl Guest<'_> {
    /// Writes the archive that the kernel unpacks. Not compressed: an emulated processor would take long to unpack it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut archive = Archive::new(BufWriter::new(file));
        let mut files = vec![
            ("usr/local/bin/tcptrace".to_owned(), fs::read(&self.programs.tcptrace)?),
            ("usr/local/bin/live-tests".to_owned(), fs::read(&self.programs.live_tests)?),
            ("command".to_owned(), format!("{}\n", self.command).into_bytes()),
            ("init".to_owned(), init().into_bytes()),
        ];
        let mut libraries = BTreeSet::new();
        for program in PROGRAMS {
            let path = host::find(program)?;
            libraries.extend(host::libraries(&path)?);
            files.push((format!("{BIN}/{program}"), fs::read(&path)?));
        }
        for library in libraries {
            let content = fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?;
            files.push((library.to_string_lossy().trim_start_matches('/').to_owned(), content));
        }
        for module in &self.kernel.modules {
            let name = module.file_name().context("a module has a name")?.to_string_lossy();
            files.push((format!("modules/{name}"), fs::read(module)?));
        }
        let mut directories: BTreeSet<String> =
            ["bin", "dev", "etc", "modules", "proc", "root", "run", "sys", "tmp"].map(str::to_owned).into();
        for (path, _) in &files {
            let parents = path.match_indices('/').map(|(end, _)| path[..end].to_owned());
            directories.extend(parents);
        }
        // Sorted: a directory comes before what is in it.
        for directory in directories {
            archive.directory(&directory)?;
        }
        for (path, content) in files {
            archive.file(&path, &content)?;
        }
        archive.finish().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The first program: prepares the guest, runs the command, says how it ended.
fn init() -> String {
    let marker = verdict::MARKER;
    format!(
        r#"#!/{BIN}/sh
export PATH=/{BIN}:/bin HOME=/root TCPTRACE_BIN=/{BIN}/tcptrace TCPTRACE_TEST_SLOW=1 RUST_BACKTRACE=1
/{BIN}/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec </dev/null >{OUTPUT} 2>&1
for module in /modules/*.ko; do
    insmod "$module" || echo "init: cannot load $module"
done
ip link set lo up
# Load tests have thousands of sockets open.
ulimit -n 65536
cd /root
# Through a pipe: for a terminal there would be colours.
{{ sh /command; status=$?; echo; echo "{marker} $status"; }} 2>&1 | cat
# The last close waits until the device has sent everything.
exec >/dev/console 2>&1
poweroff -f
"#
    )
}

/// One word for the shell.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_words() {
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
