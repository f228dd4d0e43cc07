//! A line cut into words as a shell does it, each with its place.

use std::ops::Range;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Where it is in the line, quotes included, in bytes.
    pub(super) at: Range<usize>,
    /// What it is without quotes.
    pub(super) text: String,
}

/// All words of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// In their order.
    pub(super) words: Vec<Word>,
    /// Where a quote begins that does not end; what follows it is in the last word.
    pub(super) open_quote: Option<usize>,
}

/// Cuts it. Words are separated by white space; `'` and `"` quote; a backslash does so with the character that follows, and
/// between two `"` with `"` and `\` alone.
pub(super) fn split(line: &str) -> Words {
    let mut cut = Words::default();
    let mut word: Option<Word> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            cut.words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word { at: at..at, text: String::new() });
        let mut end = at + c.len_utf8();
        match (c, quote) {
            ('\'' | '"', None) => quote = Some((c, at)),
            (c, Some((begun, _))) if c == begun => quote = None,
            ('\\', None | Some(('"', _))) => {
                let is_quoted = |next: char| quote.is_none() || matches!(next, '"' | '\\');
                match chars.next_if(|(_, next)| is_quoted(*next)) {
                    Some((at, next)) => {
                        word.text.push(next);
                        end = at + next.len_utf8();
                    }
                    None => word.text.push('\\'),
                }
            }
            (c, _) => word.text.push(c),
        }
        word.at.end = end;
    }
    cut.words.extend(word);
    cut.open_quote = quote.map(|(_, at)| at);
    cut
}

/// The same text as one word of a line.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.,:/=+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn as_a_shell_does() {
        assert_eq!(texts("  --port 80\t--comm=nginx "), ["--port", "80", "--comm=nginx"]);
        assert_eq!(texts(r#"a'b c'd "e \" \\ \n" f\ g"#), ["ab cd", r#"e " \ \n"#, "f g"]);
        assert_eq!(texts("'' x"), ["", "x"]);
        assert_eq!(texts("a\\"), ["a\\"]);
        assert_eq!(split("ab 'c d' é").words[1].at, 3..8);
        assert_eq!(split("ab 'c d").open_quote, Some(3));
        assert_eq!(split("ab 'c d").words[1], Word { at: 3..7, text: "c d".to_owned() });
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_one_word(text in any::<String>()) {
            prop_assert_eq!(texts(&quoted(&text)), [text]);
        }

        #[test]
        fn words_are_where_they_are_said_to_be(line in any::<String>()) {
            let cut = split(&line);
            let mut before = 0;
            for Word { at, .. } in &cut.words {
                prop_assert!(before <= at.start && at.start < at.end);
                prop_assert!(line.get(at.clone()).is_some());
                before = at.end;
            }
            prop_assert!(before <= line.len());
            prop_assert!(cut.open_quote.is_none_or(|at| line.is_char_boundary(at)));
        }
    }
}
