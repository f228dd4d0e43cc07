//! The version of the running kernel, for what nothing else tells.

/// `uname -r`
pub(super) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether it is this one or newer.
pub(super) fn is_at_least(major: u32, minor: u32) -> bool {
    version(&release()).is_some_and(|version| version >= (major, minor))
}

/// The first two numbers of `uname -r`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(version("7.2.12+deb13-cloud-amd64"), Some((7, 2)));
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("10.0-rc1"), Some((10, 0)));
        assert_eq!(version("next"), None);
    }
}
