//! Lines that fit a terminal, in English and in Chinese.

/// Marks that begin no line.
const CLOSING: &str = "，。；：！？）】、”";

/// Columns of a text: those of other scripts than ASCII take two.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

/// The text in lines of at most so many columns, but for words that are longer. Breaks are at blanks, and before Chinese
/// characters.
pub(in crate::output) fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words(text) {
        if !line.is_empty() && columns(&line) + columns(word.trim_end()) > most {
            lines.push(line.trim_end().to_owned());
            line.clear();
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// What is not broken: a word with the blanks behind it, a character with the mark behind it.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut before) = (0, None::<char>);
    for (at, c) in text.char_indices() {
        let begins = match before {
            None | Some('（' | '“') => false,
            Some(' ') => c != ' ',
            Some(before) => !(c.is_ascii() && before.is_ascii()) && c != ' ' && !CLOSING.contains(c),
        };
        if begins {
            words.push(&text[start..at]);
            start = at;
        }
        before = Some(c);
    }
    words.push(&text[start..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable a", 4), ["unbreakable", "a"]);
        assert_eq!(wrap("", 4), Vec::<String>::new());
    }

    #[test]
    fn chinese() {
        assert_eq!(wrap("内核没有时限。", 6), ["内核没", "有时", "限。"]);
        assert_eq!(wrap("调用 close() 关闭", 8), ["调用", "close()", "关闭"]);
        assert_eq!(wrap("（abc）时", 8), ["（abc）", "时"]);
    }
}
