//! The filter line.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    super::{
        filter_line::{Edited, FilterLine, History},
        glyphs,
        page::{Context, PageId},
        theme::Theme,
    },
    Few,
    fixture::{Scene, world},
    picture, typed, view,
};

/// A line after some keys, `^` before those with Ctrl.
fn edited(line: &str, keys: &str) -> FilterLine {
    let mut line = FilterLine::open(line, &History::default(), &Few);
    let mut modifiers = KeyModifiers::NONE;
    for c in keys.chars() {
        let code = match c {
            '^' => {
                modifiers = KeyModifiers::CONTROL;
                continue;
            }
            '<' => KeyCode::Left,
            '>' => KeyCode::Right,
            '\t' => KeyCode::Tab,
            '\u{8}' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        assert_eq!(line.key(KeyEvent::new(code, modifiers), &Few), Edited::GoesOn);
        modifiers = KeyModifiers::NONE;
    }
    line
}

/// Its picture, so wide, and where the cursor is.
fn drawn(line: &FilterLine, width: u16, height: u16) -> (String, Option<Position>) {
    let world = world(Scene::Empty);
    let context = Context { world: &world, theme: Theme::default(), glyphs: &glyphs::UNICODE };
    let area = Rect { x: 0, y: 0, width, height };
    let mut buffer = Buffer::empty(area);
    let cursor = line.draw(area, &mut buffer, &context);
    let rows = buffer.content.chunks(usize::from(width));
    let text = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    (text.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n"), cursor)
}

/// What it holds after some keys.
fn value(line: &str, keys: &str) -> String {
    let (text, _) = drawn(&edited(line, keys), 200, 1);
    text.strip_prefix("/ ").unwrap_or_default().to_owned()
}

#[test]
fn pictures() {
    for (name, keys) in [
        ("empty", "/"),
        ("candidates", "/--p"),
        ("chosen", "/--p<Tab><Tab>"),
        ("wrong", "/--port 80 --x"),
        ("entered", "/--port<Enter>"),
    ] {
        for size in [(80, 24), (120, 40)] {
            let world = world(Scene::Busy);
            let mut tui = view(false);
            typed(&mut tui, &format!("2{keys}"), &world);
            let text = picture(&mut tui, &world, size);
            // What is above it is others'.
            let bottom = text.lines().skip(usize::from(size.1) - 8).collect::<Vec<_>>().join("\n");
            insta::assert_snapshot!(format!("filter_line_{name}_{}", size.0), bottom);
        }
    }
}

#[test]
fn accepted_lines_are_the_filter_and_come_back() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "/--port 80 <Enter>", &world);
    assert_eq!((tui.page(), tui.pages.connections.filter_line()), (PageId::Connections, "--port 80"));
    typed(&mut tui, "/ --state close<Enter>", &world);
    assert_eq!(tui.pages.connections.filter_line(), "--port 80 --state close");
    typed(&mut tui, "/<Up><Enter>", &world);
    assert_eq!(tui.pages.connections.filter_line(), "--port 80");
    typed(&mut tui, "/<Up>x<Down>1<Esc>", &world);
    assert_eq!(tui.pages.connections.filter_line(), "--port 80", "cancelled");
    // What is wrong stays in the line.
    typed(&mut tui, "/1x<Enter>", &world);
    assert!(tui.editing.is_some());
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("/ --port 801x\n  ^^^^^^\n"), "it is marked: {text}");
    typed(&mut tui, "<Esc>", &world);
    assert!(tui.editing.is_none());
    tui.input(&Event::Key(KeyEvent::new(KeyCode::Char('/'), KeyModifiers::NONE)), &world);
    tui.input(&Event::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)), &world);
    typed(&mut tui, "<Enter>", &world);
    assert_eq!(tui.pages.connections.filter_line(), "", "no filter");
}

#[test]
fn keys_of_shells() {
    assert_eq!(value("--port 80", "^ax"), "x--port 80");
    assert_eq!(value("--port 80", "^a^k"), "");
    assert_eq!(value("--port 80", "<<^u"), "80");
    assert_eq!(value("--port 80 ", "^w"), "--port");
    assert_eq!(value("--port 80", "^w^w^w"), "");
    assert_eq!(value("--port 80", "^<^<x"), "--xport 80");
    assert_eq!(value("--port 80", "<\u{8}"), "--port 0");
    assert_eq!(value("ab", "^a^d^e^x"), "b", "what means nothing does nothing");
    let line = edited("", "");
    assert_eq!(line.clone().key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), &Few), Edited::Cancelled);
    assert_eq!(
        line.clone().key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), &Few),
        Edited::Cancelled
    );
}

#[test]
fn tab_completes() {
    assert_eq!(value("", "--s\tclose"), "--state close");
    assert_eq!(value("", "-\t"), "--", "as far as they agree");
    assert_eq!(value("", "--p\t"), "--port");
    assert_eq!(value("", "--p\t\t"), "--pid");
    assert_eq!(value("", "--p\t\t\t"), "--port");
    assert_eq!(value("", "--p\t\t 1"), "--pid 1");
    assert_eq!(value("", "x\t"), "x");
    assert_eq!(value(" 1", "^a--s\t"), "--state  1", "at the cursor");
}

#[test]
fn what_is_pasted_is_one_harmless_line() {
    let mut line = FilterLine::open("--port 1", &History::default(), &Few);
    line.paste("\n\u{1b}[2J\t\u{202e}2", &Few);
    assert_eq!(drawn(&line, 60, 1).0, "/ --port 1  [2J  2");
    line.paste(&"é".repeat(5_000), &Few);
    line.paste("x", &Few);
    line.key(KeyEvent::new(KeyCode::Char('x'), KeyModifiers::NONE), &Few);
    let Edited::GoesOn = line.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), &Few) else {
        panic!("it is wrong")
    };
    let (text, cursor) = drawn(&line, 2_000, 1);
    assert_eq!(text.chars().count(), 1_002);
    assert_eq!(cursor, Some(Position { x: 1_002, y: 0 }));
}

#[test]
fn the_cursor_stands_behind_what_it_is_behind() {
    for (text, keys, x) in [
        ("", "", 2),
        ("abc", "", 5),
        ("abc", "<", 4),
        ("日本", "", 6),
        ("日本", "<", 4),
        ("e\u{301}e\u{301}", "", 4),
        ("e\u{301}e\u{301}", "<", 3),
    ] {
        let (_, cursor) = drawn(&edited(text, keys), 40, 3);
        assert_eq!(cursor, Some(Position { x, y: 0 }), "{text} {keys}");
    }
    // Too long: the end is seen, and room for the cursor.
    let (text, cursor) = drawn(&edited("0123456789日本", ""), 10, 1);
    assert_eq!((&*text, cursor), ("/ 789日 本", Some(Position { x: 9, y: 0 })));
}

#[test]
fn what_is_wrong_is_marked() {
    let (text, _) = drawn(&edited("", "日 --x 1 "), 60, 4);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("/ 日  --x 1"));
    assert_eq!(lines.next(), Some("  ^^"));
    assert!(lines.next().is_some_and(|line| line.ends_with("is no condition")));
    let (text, _) = drawn(&edited("", "--port 80 --x 1"), 60, 2);
    assert!(text.contains("`--x` is no condition"), "where there is no room for a mark: {text}");
    assert!(!drawn(&edited("", "--port "), 60, 8).0.contains('^'), "it goes on");
}

proptest! {
    #[test]
    fn any_text_at_any_size(
        text in ".{0,30}", keys in "[a-z^<> \t\u{8}日-]{0,20}", width in 1..60_u16, height in 1..9_u16,
    ) {
        let mut line = FilterLine::open(&text, &History::default(), &Few);
        line.paste(&keys, &Few);
        line.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), &Few);
        let (_, cursor) = drawn(&line, width, height);
        let cursor = cursor.expect("there is room");
        prop_assert!(cursor.x < width && cursor.y == 0);
    }
}
