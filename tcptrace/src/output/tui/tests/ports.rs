//! The page Ports.

use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{
    super::page::{Context, PageId},
    fixture::{Scene, world},
    picture, pictures, typed, view,
};
use crate::output::tui::{glyphs, theme::Theme, world::World as _};

#[test]
fn drawn() {
    pictures(PageId::Ports, "3");
}

/// Clicks the left button.
fn click(tui: &mut super::Tui, (column, row): (u16, u16), world: &crate::output::tui::still::Still) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    tui.input(&Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }), world);
}

#[test]
fn enter_and_a_second_click_lead_to_the_connections_of_the_port() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "3", &world);
    picture(&mut tui, &world, (80, 24));
    typed(&mut tui, "<Down><Enter>", &world);
    assert_eq!((tui.page(), tui.pages.connections.filter_line()), (PageId::Connections, "--port 8080"));

    typed(&mut tui, "3", &world);
    picture(&mut tui, &world, (80, 24));
    click(&mut tui, (5, 5), &world);
    assert_eq!(tui.page(), PageId::Ports, "the first click selects");
    picture(&mut tui, &world, (80, 24));
    click(&mut tui, (5, 5), &world);
    assert_eq!((tui.page(), tui.pages.connections.filter_line()), (PageId::Connections, "--port 23"));
}

#[test]
fn the_selected_port_stays_selected_when_the_order_changes() {
    let mut world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "3", &world);
    picture(&mut tui, &world, (80, 24));
    typed(&mut tui, "<Down>", &world);
    // 8080 was the second; now it has the fewest, and the list another order.
    world.ports.reverse();
    let row = world.ports.iter_mut().find(|row| row.port.is_some_and(|port| port.get() == 8080));
    row.expect("it is there").counts = Default::default();
    world.walked = Some(world.now.ktime);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("8080 stays"), "{text}");
    typed(&mut tui, "<Enter>", &world);
    assert_eq!(tui.pages.connections.filter_line(), "--port 8080");
}

#[test]
fn sorted_by_any_column_the_unknown_last() {
    let mut world = world(Scene::Busy);
    world.ports[1].owner = None;
    let mut tui = view(false);
    typed(&mut tui, "3", &world);
    picture(&mut tui, &world, (80, 24));
    let first = |tui: &mut super::Tui, keys: &str| {
        typed(tui, keys, &world);
        let text = picture(tui, &world, (80, 24));
        text.lines().skip(3).take(5).map(|line| line[..4].trim().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(first(&mut tui, ""), "443 8080 23 5432 25");
    assert_eq!(first(&mut tui, "S"), "25 5432 23 8080 443");
    // By PORT, after the last of all columns.
    let all = "s".repeat(20);
    assert_eq!(first(&mut tui, &all), "23 25 443 5432 8080");
    assert_eq!(first(&mut tui, "S"), "8080 5432 443 25 23");
    // By OWNER: where none is known, last both ways.
    assert_eq!(first(&mut tui, "s"), "23 5432 443 25 8080");
    assert_eq!(first(&mut tui, "S"), "25 443 5432 23 8080");
}

#[test]
fn where_the_port_is_not_known_it_says_why_it_does_not_open() {
    let mut world = world(Scene::Busy);
    world.ports[0].port = None;
    let mut tui = view(false);
    typed(&mut tui, "3", &world);
    picture(&mut tui, &world, (80, 24));
    typed(&mut tui, "<Enter>", &world);
    assert_eq!(tui.page(), PageId::Ports);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("no --port picks them out"), "{text}");
}

#[test]
fn exported() {
    let world = world(Scene::Busy);
    let tui = view(false);
    let context = Context { world: &world, theme: Theme::default(), glyphs: &glyphs::UNICODE };
    let json = tui.pages.get(PageId::Ports).export(&context);
    assert_eq!(json["page"], "Ports");
    assert_eq!(json["at"], "2026-11-21T00:01:40.000000000Z");
    assert_eq!(json["counted_at"], "2026-11-21T00:01:39.300000000Z");
    let rows = json["ports"].as_array().expect("a list");
    assert_eq!(rows.len(), world.ports().len());
    insta::assert_snapshot!("ports_export", format!("{:#}", rows[0]));
}
