//! Addresses of kernel functions.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

const KALLSYMS: &str = "/proc/kallsyms";

/// The address of a function of the kernel itself (not of a module).
///
/// # Errors
///
/// It is not there, or the kernel hides addresses from us (`kernel.kptr_restrict`, CAP_SYSLOG).
pub(super) fn address_of(function: &str) -> Result<u64, String> {
    let file = File::open(KALLSYMS).map_err(|error| format!("{KALLSYMS} cannot be read ({error})"))?;
    match find(BufReader::new(file), function) {
        Ok(Some(0)) => Err(format!("{KALLSYMS} hides addresses (kernel.kptr_restrict, CAP_SYSLOG)")),
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(format!("{KALLSYMS} has no {function}")),
        Err(error) => Err(format!("{KALLSYMS} cannot be read ({error})")),
    }
}

/// `ffffffff82006070 t tw_timer_handler`
fn find(mut lines: impl BufRead, function: &str) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if let Ok(text) = std::str::from_utf8(&line) {
            let mut words = text.split_ascii_whitespace();
            if let (Some(address), Some("t" | "T"), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
                && name == function
            {
                return Ok(u64::from_str_radix(address, 16).ok());
            }
        }
        line.clear();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_by_its_whole_name_and_kind() {
        let text = b"0000 A first\nffffffff82006000 d tw_timer_handler\n\xff\xff t x\nffffffff82006060 t tw_timer_handler2\n\
            ffffffffc0000000 t tw_timer_handler\t[module]\nffffffff82006070 t tw_timer_handler\n";
        assert_eq!(find(&text[..], "tw_timer_handler").ok(), Some(Some(0xffff_ffff_8200_6070)));
        assert_eq!(find(&text[..], "handler").ok(), Some(None));
        assert_eq!(
            find(&b"0000000000000000 t tw_timer_handler\n"[..], "tw_timer_handler").ok(),
            Some(Some(0))
        );
    }
}
