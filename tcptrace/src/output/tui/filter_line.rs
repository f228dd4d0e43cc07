//! The line in which the filter is edited, with what can follow and what is wrong with it.

mod draw;
mod history;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

pub use self::history::History;
use self::history::Walk;
use super::world::{Completion, FilterError, FilterLanguage};
use crate::{model::Filter, output::escape};

/// Characters that a line can have.
const LONGEST: usize = 1000;

/// What became of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Edited {
    /// It is still edited.
    GoesOn,
    /// The filter stays as it was.
    Cancelled,
    /// This is the filter from now on, as typed and as meant.
    Accepted(String, Box<Filter>),
}

/// A line that is edited.
#[derive(Clone, Debug, Default)]
pub struct FilterLine {
    input: Input,
    walk: Walk,
    error: Option<FilterError>,
    /// What the word at the cursor can become.
    candidates: Vec<Completion>,
    /// They are gone through, one after the other.
    choice: Option<Choice>,
}

/// One of the candidates stands in the line.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// Which.
    candidate: usize,
    /// Where it begins, in bytes.
    start: usize,
}

impl FilterLine {
    /// Begins with this.
    pub fn open(line: &str, history: &History, language: &dyn FilterLanguage) -> Self {
        let input = Input::new(harmless(line).take(LONGEST).collect());
        let mut opened = Self { input, walk: Walk::of(history), ..Self::default() };
        opened.changed(language);
        opened
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent, language: &dyn FilterLanguage) -> Edited {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Esc => return Edited::Cancelled,
            KeyCode::Char('c') if is_control => return Edited::Cancelled,
            KeyCode::Enter => return self.accept(language),
            KeyCode::Tab if key.modifiers.contains(KeyModifiers::SHIFT) => self.complete(false, language),
            KeyCode::Tab => self.complete(true, language),
            KeyCode::BackTab => self.complete(false, language),
            code => {
                let is_up = code == KeyCode::Up || is_control && code == KeyCode::Char('p');
                let is_down = code == KeyCode::Down || is_control && code == KeyCode::Char('n');
                if is_up || is_down {
                    if let Some(line) = self.walk.step(is_up, self.input.value()) {
                        self.input = Input::new(line);
                    }
                } else if is_control && code == KeyCode::Char('w') {
                    self.delete_word();
                } else if let Some(request) = request(code, is_control, is_alt) {
                    let inserts = matches!(request, InputRequest::InsertChar(_) | InputRequest::Yank);
                    if !inserts || self.room() > 0 {
                        self.input.handle(request);
                    }
                }
                self.changed(language);
            }
        }
        Edited::GoesOn
    }

    /// Takes pasted text.
    pub fn paste(&mut self, text: &str, language: &dyn FilterLanguage) {
        let text: String = harmless(text).take(self.room()).collect();
        let at = self.cursor();
        self.replace(at, &text);
        self.changed(language);
    }

    /// Lines that it would have, the candidates and what is wrong included.
    pub const fn height(&self) -> u16 {
        draw::HEIGHT
    }

    fn accept(&mut self, language: &dyn FilterLanguage) -> Edited {
        match language.parse(self.input.value()) {
            Ok(filter) => Edited::Accepted(self.input.value().trim().to_owned(), Box::new(filter)),
            Err(error) => {
                self.choice = None;
                self.error = Some(error);
                Edited::GoesOn
            }
        }
    }

    /// How many characters more there can be.
    fn room(&self) -> usize {
        LONGEST.saturating_sub(self.input.value().chars().count())
    }

    /// The cursor's place in bytes.
    fn cursor(&self) -> usize {
        let value = self.input.value();
        value.char_indices().nth(self.input.cursor()).map_or(value.len(), |(at, _)| at)
    }

    fn before_cursor(&self) -> &str {
        self.input.value().get(..self.cursor()).unwrap_or_default()
    }

    /// Puts a text in the place of what stands from there to the cursor.
    fn replace(&mut self, start: usize, text: &str) {
        let value = self.input.value();
        let (Some(left), Some(right)) = (value.get(..start), value.get(self.cursor()..)) else { return };
        let cursor = left.chars().count() + text.chars().count();
        self.input = Input::new(format!("{left}{text}{right}")).with_cursor(cursor);
    }

    /// As a shell does: up to the white space before.
    fn delete_word(&mut self) {
        let word = self.before_cursor().trim_end();
        let start =
            word.char_indices().rfind(|(_, c)| c.is_whitespace()).map_or(0, |(at, c)| at + c.len_utf8());
        self.replace(start, "");
    }

    /// Something was typed, or the cursor has moved.
    fn changed(&mut self, language: &dyn FilterLanguage) {
        self.choice = None;
        self.candidates = language.complete(self.before_cursor());
        self.error = language.wrong_for_good(self.input.value());
    }

    /// As far as all candidates agree; where that is no further, the next of them, or the one before.
    fn complete(&mut self, is_forward: bool, language: &dyn FilterLanguage) {
        let count = self.candidates.len();
        let Some(first) = self.candidates.first() else { return };
        let start =
            self.choice.map_or_else(|| language.last_word(self.before_cursor()), |choice| choice.start);
        let candidate = match self.choice {
            None => {
                let typed = self.before_cursor().get(start..).unwrap_or_default().chars().count();
                let common = common_beginning(first.word.clone(), &self.candidates);
                if count == 1 {
                    self.replace(start, &format!("{common} "));
                    self.changed(language);
                    return;
                }
                if common.chars().count() > typed {
                    self.replace(start, &common);
                    self.changed(language);
                    return;
                }
                if is_forward { 0 } else { count - 1 }
            }
            Some(choice) => (choice.candidate + if is_forward { 1 } else { count - 1 }) % count,
        };
        if let Some(word) = self.candidates.get(candidate).map(|chosen| chosen.word.clone()) {
            self.replace(start, &word);
        }
        self.choice = Some(Choice { candidate, start });
        self.error = language.wrong_for_good(self.input.value());
    }
}

/// What all words begin with.
fn common_beginning(first: String, candidates: &[Completion]) -> String {
    candidates.iter().fold(first, |common, candidate| {
        let both = common.chars().zip(candidate.word.chars());
        both.take_while(|(one, other)| one == other).map(|(c, _)| c).collect()
    })
}

/// Text in which what must not reach a terminal is a space.
fn harmless(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if escape::is_unsafe(c) { ' ' } else { c })
}

/// What a key does to the line, as shells have it.
fn request(code: KeyCode, is_control: bool, is_alt: bool) -> Option<InputRequest> {
    use InputRequest as Do;
    let by_word = is_control || is_alt;
    Some(match code {
        KeyCode::Left if by_word => Do::GoToPrevWord,
        KeyCode::Right if by_word => Do::GoToNextWord,
        KeyCode::Left => Do::GoToPrevChar,
        KeyCode::Right => Do::GoToNextChar,
        KeyCode::Home => Do::GoToStart,
        KeyCode::End => Do::GoToEnd,
        KeyCode::Backspace if by_word => Do::DeletePrevWord,
        KeyCode::Delete if by_word => Do::DeleteNextWord,
        KeyCode::Backspace => Do::DeletePrevChar,
        KeyCode::Delete => Do::DeleteNextChar,
        KeyCode::Char(c) if is_control && !is_alt => match c {
            'a' => Do::GoToStart,
            'b' => Do::GoToPrevChar,
            'd' => Do::DeleteNextChar,
            'e' => Do::GoToEnd,
            'f' => Do::GoToNextChar,
            'h' => Do::DeletePrevChar,
            'k' => Do::DeleteTillEnd,
            'u' => Do::DeleteFromStart,
            'y' => Do::Yank,
            _ => return None,
        },
        KeyCode::Char(c) if is_alt && !is_control => match c {
            'b' => Do::GoToPrevWord,
            'd' => Do::DeleteNextWord,
            'f' => Do::GoToNextWord,
            _ => return None,
        },
        // AltGr is both.
        KeyCode::Char(c) => Do::InsertChar(if escape::is_unsafe(c) { ' ' } else { c }),
        _ => return None,
    })
}
