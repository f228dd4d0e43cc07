//! Addresses of kernel functions.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

const KALLSYMS: &str = "/proc/kallsyms";

/// The addresses of functions of the kernel itself (not of a module), in one pass.
///
/// # Errors
///
/// One is not there, or the kernel hides addresses from us (`kernel.kptr_restrict`, CAP_SYSLOG).
pub(super) fn addresses_of<const N: usize>(functions: [&str; N]) -> Result<[u64; N], String> {
    let file = File::open(KALLSYMS).map_err(|error| format!("{KALLSYMS} cannot be read ({error})"))?;
    let found = find(BufReader::new(file), functions)
        .map_err(|error| format!("{KALLSYMS} cannot be read ({error})"))?;
    let mut addresses = [0; N];
    for ((name, found), address) in functions.iter().zip(found).zip(&mut addresses) {
        *address = match found {
            Some(0) => return Err(format!("{KALLSYMS} hides addresses (kernel.kptr_restrict, CAP_SYSLOG)")),
            Some(found) => found,
            None => return Err(format!("{KALLSYMS} has no {name}")),
        };
    }
    Ok(addresses)
}

/// `ffffffff82006070 t tw_timer_handler`
pub(crate) fn find<const N: usize>(
    mut lines: impl BufRead,
    functions: [&str; N],
) -> io::Result<[Option<u64>; N]> {
    let mut found = [None; N];
    let mut line = Vec::new();
    while found.contains(&None) && lines.read_until(b'\n', &mut line)? > 0 {
        if let Ok(text) = std::str::from_utf8(&line) {
            let mut words = text.split_ascii_whitespace();
            if let (Some(address), Some("t" | "T"), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
                && let Some(place) = functions.iter().position(|function| *function == name)
            {
                found[place] = u64::from_str_radix(address, 16).ok();
            }
        }
        line.clear();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_by_its_whole_name_and_kind() {
        let text = b"0000 A first\nffffffff82006000 d tw_timer_handler\n\xff\xff t x\nffffffff82006060 t tw_timer_handler2\n\
            ffffffffc0000000 t tw_timer_handler\t[module]\nffffffff82006070 t tw_timer_handler\n";
        let both = ["tw_timer_handler", "handler"];
        assert_eq!(find(&text[..], both).ok(), Some([Some(0xffff_ffff_8200_6070), None]));
        assert_eq!(
            find(&b"0000000000000000 t tw_timer_handler\n"[..], ["tw_timer_handler"]).ok(),
            Some([Some(0)])
        );
    }
}
