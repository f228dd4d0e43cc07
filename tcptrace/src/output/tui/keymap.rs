//! Which key does what: one table, for the dispatch and for the help.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// Columns further to the left.
    Left,
    /// Columns further to the right.
    Right,
    /// The first line.
    Top,
    /// The last line.
    Bottom,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// The next page.
    NextPage,
    /// The page before.
    PreviousPage,
    /// The page with this number, from 1.
    Page(u8),
    /// Opens what is selected.
    Open,
    /// Back to where one came from.
    Back,
    /// Edits the filter.
    Filter,
    /// Sorts by the next column.
    Sort,
    /// Sorts the other way round.
    Reverse,
    /// Stops the picture, or lets it go on.
    Pause,
    /// Keeps a row in sight, or lets it go.
    Freeze,
    /// Takes closed connections out of the list.
    Clear,
    /// Writes what is shown to a file.
    Export,
    /// Shows the keys.
    Help,
    /// Draws everything anew.
    Redraw,
    /// Stops the process, as a shell expects.
    Suspend,
    /// Ends.
    Quit,
}

/// Keys and what they do.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Any of these.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// The keys as people write them.
    pub label: &'static str,
    /// What they do, in words.
    pub help: &'static str,
    /// A word for the line at the bottom, where there is room.
    pub short: Option<&'static str>,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    /// CONTROL or nothing; SHIFT is in the character.
    modifiers: KeyModifiers,
}

const fn plain(code: KeyCode) -> Key {
    Key { code, modifiers: KeyModifiers::NONE }
}

const fn letter(c: char) -> Key {
    plain(KeyCode::Char(c))
}

const fn control(c: char) -> Key {
    Key { code: KeyCode::Char(c), modifiers: KeyModifiers::CONTROL }
}

const fn binding(
    keys: &'static [Key],
    action: Action,
    label: &'static str,
    help: &'static str,
    short: Option<&'static str>,
) -> Binding {
    Binding { keys, action, label, help, short }
}

/// All of them, in the order of the help.
pub const BINDINGS: &[Binding] = &[
    binding(&[plain(KeyCode::Up), letter('k'), control('p')], Action::Up, "up k", "one line up", None),
    binding(
        &[plain(KeyCode::Down), letter('j'), control('n')],
        Action::Down,
        "down j",
        "one line down",
        None,
    ),
    binding(&[plain(KeyCode::Left), letter('h')], Action::Left, "left h", "columns to the left", None),
    binding(&[plain(KeyCode::Right), letter('l')], Action::Right, "right l", "columns to the right", None),
    binding(&[letter('g'), plain(KeyCode::Home)], Action::Top, "g Home", "the first line", None),
    binding(&[letter('G'), plain(KeyCode::End)], Action::Bottom, "G End", "the last line", None),
    binding(&[plain(KeyCode::PageUp), control('b')], Action::PageUp, "PgUp", "a screen up", None),
    binding(
        &[plain(KeyCode::PageDown), control('f'), letter(' ')],
        Action::PageDown,
        "PgDn Space",
        "a screen down",
        None,
    ),
    binding(&[plain(KeyCode::Tab)], Action::NextPage, "Tab", "the next page", Some("page")),
    binding(&[plain(KeyCode::BackTab)], Action::PreviousPage, "Shift-Tab", "the page before", None),
    binding(&[letter('1')], Action::Page(1), "1", "Overview", None),
    binding(&[letter('2')], Action::Page(2), "2", "Connections", None),
    binding(&[letter('3')], Action::Page(3), "3", "Ports", None),
    binding(&[letter('4')], Action::Page(4), "4", "Processes", None),
    binding(&[letter('5')], Action::Page(5), "5", "Findings", None),
    binding(&[letter('6')], Action::Page(6), "6", "Diagram", None),
    binding(&[plain(KeyCode::Enter)], Action::Open, "Enter", "open what is selected", Some("open")),
    binding(
        &[plain(KeyCode::Esc), plain(KeyCode::Backspace)],
        Action::Back,
        "Esc",
        "back to where one came from; a filter that was typed goes first",
        Some("back"),
    ),
    binding(
        &[letter('/')],
        Action::Filter,
        "/",
        "filter the connections, in the language of the flags",
        Some("filter"),
    ),
    binding(&[letter('s')], Action::Sort, "s", "sort by the next column", Some("sort")),
    binding(&[letter('S')], Action::Reverse, "S", "sort the other way round", None),
    binding(
        &[letter('p')],
        Action::Pause,
        "p",
        "stop the picture, or let it go on; events are collected all the same",
        Some("pause"),
    ),
    binding(
        &[letter('f')],
        Action::Freeze,
        "f",
        "keep a connection at the top, or let it go",
        Some("freeze"),
    ),
    binding(&[letter('c')], Action::Clear, "c", "take the closed connections out of the list", Some("clear")),
    binding(&[letter('e')], Action::Export, "e", "write what this page shows to a JSON file", Some("export")),
    binding(
        &[letter('?'), plain(KeyCode::F(1))],
        Action::Help,
        "?",
        "these keys, and what is on this page",
        Some("help"),
    ),
    binding(&[control('l')], Action::Redraw, "Ctrl-L", "draw everything anew", None),
    binding(&[control('z')], Action::Suspend, "Ctrl-Z", "back to the shell; `fg` goes on", None),
    binding(&[letter('q'), control('c')], Action::Quit, "q", "end", Some("quit")),
];

/// What a key does.
pub fn action(event: KeyEvent) -> Option<Action> {
    let modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
    // With some terminals Shift-Tab comes as Tab with SHIFT.
    let code = match event.code {
        KeyCode::Tab if event.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        code => code,
    };
    let key = Key { code, modifiers };
    BINDINGS.iter().find(|binding| binding.keys.contains(&key)).map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things_and_each_has_words() {
        let keys: Vec<Key> = BINDINGS.iter().flat_map(|binding| binding.keys).copied().collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{key:?} is there twice");
        }
        for binding in BINDINGS {
            assert!(!binding.label.is_empty() && !binding.help.is_empty());
            for key in binding.keys {
                let event = KeyEvent::new(key.code, key.modifiers);
                assert_eq!(action(event), Some(binding.action));
            }
        }
    }

    #[test]
    fn other_keys_do_nothing() {
        for event in [
            KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT),
            KeyEvent::new(KeyCode::Char('7'), KeyModifiers::NONE),
            KeyEvent::new(KeyCode::Char('\u{202e}'), KeyModifiers::NONE),
        ] {
            assert_eq!(action(event), None);
        }
        let shift_tab = KeyEvent::new(KeyCode::Tab, KeyModifiers::SHIFT);
        assert_eq!(action(shift_tab), Some(Action::PreviousPage));
    }
}
