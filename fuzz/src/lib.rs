//! What the fuzz targets have in common: the way back, from what was read to the bytes and words that say it.

pub mod formats;
pub mod record;
pub mod reply;
pub mod words;

/// Whether a character must not reach a terminal: it moves the cursor, or reorders or hides what is around it. Put down
/// here once more, on purpose: the product has its own list.
pub fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
