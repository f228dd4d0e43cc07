//! The help.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{
    super::{Effect, page::PageId},
    fixture::{Scene, world},
    picture, typed, view,
};

#[test]
fn drawn() {
    let world = world(Scene::Busy);
    for size in [(80, 24), (120, 40), (200, 60), (40, 10)] {
        let mut tui = view(false);
        typed(&mut tui, "5?", &world);
        insta::assert_snapshot!(format!("help_{}x{}", size.0, size.1), picture(&mut tui, &world, size));
    }
    let mut tui = view(true);
    typed(&mut tui, "5?", &world);
    let text = picture(&mut tui, &world, (120, 90));
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn it_scrolls_and_any_other_key_closes_it() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "5?", &world);
    let size = (80, 24);
    let first = picture(&mut tui, &world, size);
    typed(&mut tui, "jj", &world);
    assert!(picture(&mut tui, &world, size).contains("lines 3 to "));
    typed(&mut tui, "G", &world);
    let last = picture(&mut tui, &world, size);
    assert!(last.contains("CLOSE  ") && last != first, "{last}");
    typed(&mut tui, " j", &world);
    assert_eq!(picture(&mut tui, &world, size), last);
    typed(&mut tui, "g", &world);
    assert_eq!(picture(&mut tui, &world, size), first);
    for key in ["x", "q", "?", "<Esc>", "<Enter>", "1"] {
        typed(&mut tui, key, &world);
        assert!(!picture(&mut tui, &world, size).contains(" Help "), "{key}");
        typed(&mut tui, "?", &world);
        assert!(picture(&mut tui, &world, size).contains(" Help "), "{key}");
    }
    assert!(picture(&mut tui, &world, size).contains("5 Findings"));
    let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(tui.input(&Event::Key(end), &world), Effect::Quit);
}

#[test]
fn the_line_at_the_bottom_offers_what_the_page_does() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    for (page, sorts, freezes) in
        [("1", false, false), ("2", true, true), ("3", true, false), ("4", true, false), ("5", false, false)]
    {
        typed(&mut tui, page, &world);
        let text = picture(&mut tui, &world, (200, 40));
        let bottom = text.lines().last().unwrap_or_default();
        assert_eq!((bottom.contains("s sort"), bottom.contains("f freeze")), (sorts, freezes), "{bottom}");
        assert!(bottom.contains("? help") && bottom.contains("q quit"), "{bottom}");
    }
}

#[test]
fn narrow_screens_have_the_numbers_of_all_pages() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    for (width, tabs) in [
        (80, "1 Overview  2 Connections  3 Ports  4 Processes  5 Findings  6 Diagram"),
        (70, "1 Overview  2 Connections  3 Ports  4 Processes  5 Findings  6 Diagram"),
        (69, "1  2  3 Ports  4  5  6"),
        (22, "1  2  3 Ports  4  5  6"),
    ] {
        typed(&mut tui, "3", &world);
        let text = picture(&mut tui, &world, (width, 24));
        let top = text.lines().next().unwrap_or_default();
        assert!(top.starts_with(tabs), "{top}");
    }
    // They are where they are clicked.
    picture(&mut tui, &world, (40, 24));
    let kind = MouseEventKind::Down(MouseButton::Left);
    tui.input(&Event::Mouse(MouseEvent { kind, column: 21, row: 0, modifiers: KeyModifiers::NONE }), &world);
    assert_eq!(tui.page(), PageId::Diagram);
}
