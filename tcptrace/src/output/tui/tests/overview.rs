//! The page Overview.

use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{
    super::page::{Context, PageId},
    fixture::{Scene, world},
    picture, pictures, typed, view,
};
use crate::output::tui::{Tui, glyphs, still::Still, theme::Theme};

#[test]
fn drawn() {
    pictures(PageId::Overview, "1");
}

/// Where an answer leads to that begins here.
fn led(tui: &Tui) -> (PageId, &str) {
    (tui.page(), tui.pages.connections.filter_line())
}

fn click(tui: &mut Tui, (column, row): (u16, u16), world: &Still) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    tui.input(&Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }), world);
}

#[test]
fn a_state_leads_to_its_connections() {
    let world = world(Scene::Busy);
    for (keys, line) in [
        ("<Enter>", "--state listen"),
        ("<Down><Down><Down><Enter>", "--state established"),
        ("<Down><Up><Up><Enter>", "--state listen"),
        ("G<Up><Up><Enter>", "--state close-wait"),
        ("G<Down><Enter>", "--state close"),
    ] {
        let mut tui = view(false);
        typed(&mut tui, keys, &world);
        assert_eq!(led(&tui), (PageId::Connections, line), "{keys}");
    }
}

#[test]
fn a_second_click_opens_and_findings_lead_to_their_page() {
    let world = world(Scene::Findings);
    for (size, at) in [((80, 24), (3, 4)), ((120, 40), (5, 8))] {
        let mut tui = view(false);
        picture(&mut tui, &world, size);
        click(&mut tui, at, &world);
        assert_eq!(led(&tui), (PageId::Overview, ""), "the first selects");
        picture(&mut tui, &world, size);
        click(&mut tui, at, &world);
        assert_eq!(tui.page(), PageId::Connections);
    }
    for (size, at) in [((80, 24), (30, 16)), ((120, 40), (100, 30))] {
        let mut tui = view(false);
        picture(&mut tui, &world, size);
        click(&mut tui, at, &world);
        assert_eq!(tui.page(), PageId::Findings);
    }
}

#[test]
fn before_the_first_count_nothing_is_0() {
    let mut world = world(Scene::Empty);
    for size in [(80, 24), (120, 40)] {
        let text = picture(&mut view(false), &world, size);
        let mut lines = text.lines().map(|line| line.split("││").next().unwrap_or(line));
        let listen = lines.find(|line| line.contains("LISTEN"));
        let listen = listen.expect("a line");
        assert!(listen.contains("  -") && !listen.contains('0'), "{listen}");
        assert!(text.contains("not counted yet"), "{text}");
    }
    world.walked = Some(world.now.ktime);
    for size in [(80, 24), (120, 40)] {
        let text = picture(&mut view(false), &world, size);
        assert!(text.contains("no connection yet"), "{text}");
    }
}

#[test]
fn what_is_wrong_with_nothing_is_said_to_be_so() {
    let mut world = world(Scene::Busy);
    world.found.looked = Some(world.now.ktime);
    world.found.sockets = 190;
    for (size, words) in [
        ((80, 24), "nothing is wrong with the 190 sockets that were looked at 0 ns ago"),
        ((120, 40), "nothing is wrong with the 190 sockets"),
    ] {
        let text = picture(&mut view(false), &world, size);
        assert!(text.contains(words), "{text}");
    }
    world.found.not_seen = vec!["a process".to_owned()];
    let text = picture(&mut view(false), &world, (120, 40));
    assert!(text.contains("not all"), "{text}");
}

#[test]
fn the_selected_state_is_in_sight_on_a_small_screen() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "G", &world);
    for height in 5..12 {
        let text = picture(&mut tui, &world, (60, height));
        assert!(text.contains("CLOSE, held"), "{text}");
    }
}

#[test]
fn exported() {
    let tui = view(false);
    let export = |scene| {
        let world = world(scene);
        let context = Context { world: &world, theme: Theme::default(), glyphs: &glyphs::UNICODE };
        tui.pages.get(PageId::Overview).export(&context)
    };
    let json = export(Scene::Empty);
    assert_eq!(json["states"]["LISTEN"]["count"], serde_json::Value::Null);
    assert_eq!(json["counted_at"], serde_json::Value::Null);
    let json = export(Scene::Findings);
    assert_eq!(json["states"]["CLOSE_WAIT"]["count"], 30);
    assert_eq!(json["states"]["CLOSE_WAIT"]["by_second"].as_array().map(Vec::len), Some(100));
    assert_eq!(json["held"], 7);
    assert_eq!(json["endings"]["reset_local"], 3);
    assert_eq!(json["findings"][0]["rule"], "close-wait-leak");
    assert_eq!(json["own_cpu"], 0.0042);
}
