//! The kernel modules that the live tests need.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

/// The guest has no modprobe that the kernel could ask: all are loaded at the boot.
const NEEDED: &[&str] = &["inet_diag", "tcp_diag", "mptcp_diag", "veth", "sch_tbf", "sch_netem"];

/// Writes the needed modules of a tree, and those that they need, to a directory, with names in the order of loading.
/// What has no file is built in, or the kernel does not have it: that is for the tests to say.
pub(crate) fn unpack(tree: &Path, into: &Path) -> Result<()> {
    let mut files = HashMap::new();
    index(tree, &mut files)?;
    let mut order = Order { files: &files, done: Vec::new() };
    for name in NEEDED {
        order.add(name)?;
    }
    fs::create_dir_all(into)?;
    for (i, (name, module)) in order.done.iter().enumerate() {
        fs::write(into.join(format!("{i:02}-{name}.ko")), module)?;
    }
    Ok(())
}

/// All modules by name; `_` and `-` are the same in it.
fn index(dir: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            index(&entry.path(), files)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            files.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

struct Order<'a> {
    files: &'a HashMap<String, PathBuf>,
    done: Vec<(String, Vec<u8>)>,
}

impl Order<'_> {
    fn add(&mut self, name: &str) -> Result<()> {
        let name = name.replace('-', "_");
        let is_done = self.done.iter().any(|(done, _)| *done == name);
        let Some(file) = self.files.get(&name).filter(|_| !is_done) else {
            return Ok(());
        };
        let module = read(file)?;
        for dependency in dependencies(&module).with_context(|| format!("in {}", file.display()))? {
            self.add(&dependency)?;
        }
        self.done.push((name, module));
        Ok(())
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz")
            .args(["--decompress", "--stdout"])
            .arg(file)
            .output()
            .context("cannot start xz")?;
        if !output.status.success() {
            bail!("xz {}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        }
        return Ok(output.stdout);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// `depends=a,b` in the strings of `.modinfo`.
fn dependencies(module: &[u8]) -> Result<Vec<String>> {
    let module = object::File::parse(module).context("not an ELF file")?;
    let info = module.section_by_name(".modinfo").context("no .modinfo")?.data()?;
    let depends =
        info.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"depends=")).unwrap_or_default();
    let names = String::from_utf8_lossy(depends).into_owned();
    Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
