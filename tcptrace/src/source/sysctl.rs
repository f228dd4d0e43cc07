//! Settings of the kernel (`/proc/sys`), as the calling process sees them: those of `net.` are of its network namespace.

use std::{fs::File, io::Read as _, path::PathBuf};

/// The longest value that is read.
const LONGEST: u64 = 4096;

/// The value of a setting, such as `net.ipv4.tcp_fin_timeout`, its words with one blank between; `None` where the kernel does
/// not have it.
pub fn read(name: &str) -> Option<String> {
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if !name.split('.').all(is_name) {
        return None;
    }
    let path = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_setting() {
        let range = read("net.ipv4.ip_local_port_range").expect("every kernel has it");
        assert_eq!(range.split(' ').count(), 2, "{range}");
        assert_eq!(read("net.ipv4.no_such_setting"), None);
        assert_eq!(read("../../etc/passwd"), None);
        assert_eq!(read(""), None);
    }
}
