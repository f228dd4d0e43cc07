//! The help.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::{
    super::Effect,
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
