//! Kernel lockdown (`security/lockdown/lockdown.c`, Linux 5.4): what even root is refused.

use std::{fs, io};

/// The file that tells.
pub(super) const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// The mode in force: `none`, `integrity` or `confidentiality`. Reading it needs no privilege.
///
/// # Errors
///
/// The kernel has none, or securityfs is not mounted.
pub(super) fn mode() -> io::Result<String> {
    let text = fs::read_to_string(LOCKDOWN)?;
    parse(&text)
        .map(str::to_owned)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has no word in brackets"))
}

/// `none [integrity] confidentiality`
fn parse(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_force_is_the_one_in_brackets() {
        assert_eq!(parse("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(parse("none integrity [confidentiality]\n"), Some("confidentiality"));
        assert_eq!(parse("none integrity confidentiality\n"), None);
        assert_eq!(parse(""), None);
    }
}
