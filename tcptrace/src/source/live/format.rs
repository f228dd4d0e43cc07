//! The `format` file of a tracepoint: where the fields of its record are.

use thiserror::Error;

/// A field of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    offset: u32,
    size: u32,
}

/// A `format` file that does not describe the record that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// A field is missing.
    #[error("it has no field `{0}`")]
    Missing(&'static str),
    /// A field has another size.
    #[error("its field `{name}` has {size} bytes")]
    Size {
        /// The field.
        name: &'static str,
        /// Its size in bytes.
        size: u32,
    },
}

/// Global of the kernel half, field, sizes that the kernel half can read.
const WANTED: [(&str, &str, &[u32]); 11] = [
    ("FMT_SKADDR", "skaddr", &[8]),
    ("FMT_OLDSTATE", "oldstate", &[4]),
    ("FMT_NEWSTATE", "newstate", &[4]),
    ("FMT_SPORT", "sport", &[2]),
    ("FMT_DPORT", "dport", &[2]),
    ("FMT_FAMILY", "family", &[2]),
    // u8 before Linux 5.6.
    ("FMT_PROTOCOL", "protocol", &[1, 2]),
    ("FMT_SADDR", "saddr", &[4]),
    ("FMT_DADDR", "daddr", &[4]),
    ("FMT_SADDR_V6", "saddr_v6", &[16]),
    ("FMT_DADDR_V6", "daddr_v6", &[16]),
];

/// Values for the globals of the kernel half, from the text of `events/sock/inet_sock_set_state/format`.
///
/// # Errors
///
/// Names the field that is missing or of another size. Never panics, whatever the text.
pub(crate) fn offsets(text: &str) -> Result<Vec<(&'static str, u32)>, FormatError> {
    let fields: Vec<Field> = text.lines().filter_map(parse_field).collect();
    let mut offsets = Vec::with_capacity(WANTED.len() + 1);
    for (global, name, sizes) in WANTED {
        let field = fields.iter().find(|field| field.name == name).ok_or(FormatError::Missing(name))?;
        if !sizes.contains(&field.size) {
            return Err(FormatError::Size { name, size: field.size });
        }
        offsets.push((global, field.offset));
        if name == "protocol" {
            offsets.push(("FMT_PROTOCOL_SIZE", field.size));
        }
    }
    Ok(offsets)
}

/// Place of the field `skaddr` in the record of another tracepoint, from the text of its `format` file.
pub(crate) fn offset_of_socket(text: &str) -> Option<u32> {
    let mut fields = text.lines().filter_map(parse_field);
    fields.find(|field| field.name == "skaddr" && field.size == 8).map(|field| field.offset)
}

/// `<tab>field:__u8 saddr[4];<tab>offset:32;<tab>size:4;<tab>signed:0;`
fn parse_field(line: &str) -> Option<Field> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let value = |part: &str, key: &str| part.strip_prefix(key)?.parse().ok();
    let offset = value(parts.next()?, "offset:")?;
    let size = value(parts.next()?, "size:")?;
    let name = declaration.rsplit([' ', '*']).next()?.split('[').next()?;
    Some(Field { name: name.to_owned(), offset, size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINUX_6_18: &str = "name: inet_sock_set_state
ID: 1517
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;

\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;
\tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;
\tfield:int newstate;\toffset:20;\tsize:4;\tsigned:1;
\tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;
\tfield:__u16 dport;\toffset:26;\tsize:2;\tsigned:0;
\tfield:__u16 family;\toffset:28;\tsize:2;\tsigned:0;
\tfield:__u16 protocol;\toffset:30;\tsize:2;\tsigned:0;
\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;
\tfield:__u8 daddr[4];\toffset:36;\tsize:4;\tsigned:0;
\tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:__u8 daddr_v6[16];\toffset:56;\tsize:16;\tsigned:0;

print fmt: \"family=%s\", REC->family
";

    #[test]
    fn the_present_layout_is_read() {
        let offsets = offsets(LINUX_6_18).expect("is understood");
        for wanted in
            [("FMT_SKADDR", 8), ("FMT_PROTOCOL", 30), ("FMT_PROTOCOL_SIZE", 2), ("FMT_DADDR_V6", 56)]
        {
            assert!(offsets.contains(&wanted), "{wanted:?} in {offsets:?}");
        }
    }

    #[test]
    fn the_layout_before_5_6_is_read() {
        let old = LINUX_6_18
            .replace("__u16 protocol;\toffset:30;\tsize:2", "__u8 protocol;\toffset:30;\tsize:1")
            .replace("saddr[4];\toffset:32", "saddr[4];\toffset:31");
        let offsets = offsets(&old).expect("is understood");
        assert!(
            offsets.contains(&("FMT_PROTOCOL_SIZE", 1)) && offsets.contains(&("FMT_SADDR", 31)),
            "{offsets:?}"
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(offsets(""), Err(FormatError::Missing("skaddr")));
        let without = LINUX_6_18.replace("sport;", "port;");
        assert_eq!(offsets(&without), Err(FormatError::Missing("sport")));
        let wide = LINUX_6_18.replace("family;\toffset:28;\tsize:2", "family;\toffset:28;\tsize:4");
        assert_eq!(offsets(&wide), Err(FormatError::Size { name: "family", size: 4 }));
    }

    #[test]
    fn the_socket_of_a_reset_is_found() {
        let text = "name: tcp_send_reset\n\tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:const void * skaddr;\toffset:16;\tsize:8;\tsigned:0;\n";
        assert_eq!(offset_of_socket(text), Some(16));
        assert_eq!(offset_of_socket("\tfield:int skaddr;\toffset:16;\tsize:4;\tsigned:1;"), None);
        assert_eq!(offset_of_socket(""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|[\\t\\n;:])*", cut in 0..LINUX_6_18.len()) {
            let _ = offsets(&text);
            let _ = offsets(&LINUX_6_18[cut..]);
        }
    }
}
