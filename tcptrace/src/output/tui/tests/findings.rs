//! The page Findings.

use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{
    super::{Effect, page::PageId, world::Found},
    fixture::{Scene, moment, world},
    picture, pictures, typed, view,
};

#[test]
fn drawn() {
    pictures(PageId::Findings, "5");
}

#[test]
fn opened() {
    let world = world(Scene::Findings);
    for size in [(80, 24), (120, 40), (200, 60), (260, 50)] {
        let mut tui = view(false);
        typed(&mut tui, "5<Enter>", &world);
        insta::assert_snapshot!(
            format!("findings_opened_{}x{}", size.0, size.1),
            picture(&mut tui, &world, size)
        );
    }
}

#[test]
fn one_that_is_over() {
    let world = world(Scene::Findings);
    let mut tui = view(false);
    typed(&mut tui, "5<Down><Down><Down><Enter>", &world);
    insta::assert_snapshot!("findings_over", picture(&mut tui, &world, (80, 24)));
}

#[test]
fn a_long_page_scrolls_as_far_as_it_goes_and_esc_goes_back() {
    let world = world(Scene::Findings);
    let mut tui = view(false);
    let size = (80, 16);
    typed(&mut tui, "5<Enter>", &world);
    let first = picture(&mut tui, &world, size);
    assert!(first.contains("lines 1 to "), "{first}");
    typed(&mut tui, "<Down>", &world);
    assert!(picture(&mut tui, &world, size).contains("lines 2 to "));
    typed(&mut tui, "G", &world);
    let last = picture(&mut tui, &world, size);
    typed(&mut tui, "<Down> ", &world);
    assert_eq!(picture(&mut tui, &world, size), last);
    typed(&mut tui, "g", &world);
    assert_eq!(picture(&mut tui, &world, size), first);
    typed(&mut tui, "<Esc>", &world);
    assert!(picture(&mut tui, &world, size).contains("SEVERITY"));
}

#[test]
fn enter_twice_lists_the_sockets() {
    let world = world(Scene::Findings);
    let mut tui = view(false);
    typed(&mut tui, "5<Enter><Enter>", &world);
    assert_eq!(tui.page(), PageId::Connections);
    assert_eq!(tui.pages.connections.filter_line(), "--port 8080 --pid 3530 --state CLOSE_WAIT");
    typed(&mut tui, "5", &world);
    assert!(picture(&mut tui, &world, (80, 24)).contains("Esc: the list"), "it is still open");
}

#[test]
fn a_click_selects_and_another_one_opens() {
    let world = world(Scene::Findings);
    let mut tui = view(false);
    typed(&mut tui, "5", &world);
    let mut click = |column, row| {
        picture(&mut tui, &world, (80, 24));
        let kind = MouseEventKind::Down(MouseButton::Left);
        tui.input(&Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }), &world);
        picture(&mut tui, &world, (80, 24))
    };
    let text = click(3, 4);
    assert!(text.contains("syn-sent-fanout ─") && text.contains("Enter: read it"), "{text}");
    let text = click(3, 4);
    assert!(text.contains("Esc: the list"), "{text}");
    let line = text.lines().position(|line| line.contains("--port 23")).expect("leads to its sockets");
    click(20, u16::try_from(line).expect("is on the screen"));
    assert_eq!(tui.page(), PageId::Connections);
}

#[test]
fn who_reads_a_finding_goes_on_reading_it() {
    let mut world = world(Scene::Findings);
    let mut tui = view(false);
    typed(&mut tui, "5<Down><Enter>", &world);
    let is_read = |text: &str| text.contains("syn-sent-fanout ─") && text.contains("Esc: the list");
    assert!(is_read(&picture(&mut tui, &world, (80, 24))));
    // It becomes the worst.
    world.found.findings.reverse();
    assert!(is_read(&picture(&mut tui, &world, (80, 24))));
    // It is over.
    let (_, finding) = world.found.findings.remove(0);
    world.found.over.insert(0, (moment(99_000_000_000), finding));
    let text = picture(&mut tui, &world, (80, 24));
    assert!(is_read(&text) && text.contains("over since"), "{text}");
    // It is forgotten.
    world.found.over.clear();
    assert!(picture(&mut tui, &world, (80, 24)).contains("close-wait-leak ─"));
    world.found = Found::default();
    assert!(picture(&mut tui, &world, (80, 24)).contains("Nothing was looked at yet"));
}

#[test]
fn what_was_not_seen_is_said_or_counted() {
    let mut world = world(Scene::Findings);
    world.found.not_seen = (0..20).map(|number| format!("thing {number}\x1b[2J")).collect();
    let mut tui = view(false);
    typed(&mut tui, "5", &world);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("Not seen: thing 0\\x1b[2J") && text.contains("18 more things"), "{text}");
    let text = picture(&mut tui, &world, (120, 8));
    assert!(text.contains("; 20 things could not be seen"), "{text}");
}

#[test]
fn exported() {
    let world = world(Scene::Findings);
    let mut tui = view(false);
    typed(&mut tui, "5", &world);
    let key = crossterm::event::KeyEvent::new(crossterm::event::KeyCode::Char('e'), KeyModifiers::NONE);
    let Effect::Export { json, .. } = tui.input(&Event::Key(key), &world) else { panic!("it is exported") };
    insta::assert_snapshot!(
        "findings_exported",
        serde_json::to_string_pretty(&json).expect("is a tree of values")
    );
}

#[test]
fn nothing_is_wrong() {
    let mut world = world(Scene::Findings);
    (world.found.findings, world.found.over) = (Vec::new(), Vec::new());
    let mut tui = view(false);
    typed(&mut tui, "5<Enter>", &world);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("Nothing is wrong with the 190 sockets that were looked at 900 ms ago"), "{text}");
    assert!(text.contains("Not seen: the descriptors"), "{text}");
    world.found.sockets = 0;
    assert!(picture(&mut tui, &world, (80, 24)).contains("There was no socket to look at 900 ms ago"));
}
