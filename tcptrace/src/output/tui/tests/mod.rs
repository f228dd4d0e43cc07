//! The view drawn, at all sizes and in all situations.

mod chaos;
mod connection;
mod connections;
mod diagram;
mod filter_line;
mod findings;
pub(super) mod fixture;
mod help;
mod overview;
mod ports;
mod processes;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};

use self::fixture::{SCENES, Scene, world};
use super::{
    Options, Tui, glyphs,
    page::PageId,
    theme::Theme,
    world::{Completion, FilterError, FilterLanguage, World},
};
use crate::model::Filter;

/// The sizes of the pictures.
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Knows `--port N` and `--state S`.
#[derive(Debug, Default)]
pub(super) struct Few;

impl FilterLanguage for Few {
    fn parse(&self, line: &str) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        let mut words = line.split_whitespace();
        while let Some(flag) = words.next() {
            let at = line.find(flag).unwrap_or(0);
            let error = |message: String| FilterError { at: at..at + flag.len(), message };
            if !matches!(flag, "--port" | "--pid" | "--state") {
                return Err(error(format!("`{flag}` is no condition")));
            }
            let value = words.next().ok_or_else(|| error(format!("{flag} needs a value")))?;
            match flag {
                "--port" => {
                    filter.service_ports = Some(value.parse().map_err(|bad| error(format!("{bad}")))?);
                }
                "--state" => filter.states = Some(value.parse().map_err(|bad| error(format!("{bad}")))?),
                _ => {
                    let pids = value.parse::<crate::model::filter_lists::PidList>();
                    filter.processes = Some((&pids.map_err(|bad| error(format!("{bad}")))?).into());
                }
            }
        }
        Ok(filter)
    }

    fn note(&self, line: &str) -> Option<String> {
        line.contains("--pid").then(|| "a process".to_owned())
    }

    fn wrong_for_good(&self, line: &str) -> Option<FilterError> {
        let error = self.parse(line).err()?;
        let is_unfinished = error.at.end == line.trim_end().len() && !error.message.contains("no condition");
        (!is_unfinished && self.complete(line).is_empty()).then_some(error)
    }

    fn last_word(&self, line: &str) -> usize {
        line.rfind(' ').map_or(0, |at| at + 1)
    }

    fn complete(&self, line: &str) -> Vec<Completion> {
        let word = line.rsplit(' ').next().unwrap_or_default();
        let all = [("--port", "service ports"), ("--pid", "processes"), ("--state", "states")];
        let fitting = all.into_iter().filter(|(name, _)| name.starts_with(word) && !word.is_empty());
        fitting.map(|(name, help)| Completion { word: name.to_owned(), help: help.to_owned() }).collect()
    }
}

/// A view that is not on any terminal.
pub(super) fn view(is_ascii: bool) -> Tui {
    let glyphs = if is_ascii { &glyphs::ASCII } else { &glyphs::UNICODE };
    Tui::new(Options { theme: Theme::default(), glyphs }, Box::new(Few))
}

/// What is typed: characters, and `<Enter>`, `<Esc>`, `<Tab>`, `<Up>`, `<Down>`, `<Right>`.
pub(super) fn typed(tui: &mut Tui, keys: &str, world: &dyn World) {
    let mut rest = keys;
    while let Some(c) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let code = if let Some((name, after)) = named {
            rest = after;
            match name {
                "Enter" => KeyCode::Enter,
                "Esc" => KeyCode::Esc,
                "Tab" => KeyCode::Tab,
                "Up" => KeyCode::Up,
                "Down" => KeyCode::Down,
                "Right" => KeyCode::Right,
                name => panic!("no key is called {name}"),
            }
        } else {
            rest = &rest[c.len_utf8()..];
            KeyCode::Char(c)
        };
        tui.input(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), world);
    }
}

/// What is on the screen, line by line, without spaces at their ends.
pub(super) fn picture(tui: &mut Tui, world: &dyn World, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("draws into memory");
    terminal.draw(|frame| tui.draw(frame, world)).expect("draws into memory");
    let buffer = terminal.backend().buffer();
    let lines = buffer.content.chunks(usize::from(width)).map(|cells| {
        let mut text = String::new();
        let mut skip = 0;
        for cell in cells {
            if skip == 0 {
                text.push_str(cell.symbol());
                skip = super::table::unicode_width(cell.symbol()).saturating_sub(1);
            } else {
                skip -= 1;
            }
        }
        text.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Pictures of a page in all scenes and sizes, reached by these keys; one without Unicode.
pub(super) fn pictures(page: PageId, keys: &str) {
    let name = page.name().to_lowercase();
    for scene in SCENES {
        let world = world(scene);
        for size in SIZES {
            let mut tui = view(false);
            // The size is known before the first key.
            picture(&mut tui, &world, size);
            typed(&mut tui, keys, &world);
            let text = picture(&mut tui, &world, size);
            let scene = format!("{scene:?}").to_lowercase();
            insta::assert_snapshot!(format!("{name}_{scene}_{}x{}", size.0, size.1), text);
        }
    }
    let world = world(Scene::Findings);
    let mut tui = view(true);
    picture(&mut tui, &world, (80, 24));
    typed(&mut tui, keys, &world);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(format!("{name}_ascii"), text);
}
