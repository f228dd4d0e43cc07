//! The page Processes.

use super::{
    super::page::{Context, PageId},
    fixture::{Scene, world},
    picture, pictures, typed, view,
};
use crate::output::tui::{glyphs, theme::Theme, world::ProcessRow};

#[test]
fn drawn() {
    pictures(PageId::Processes, "4");
}

#[test]
fn enter_leads_to_the_connections_of_the_process() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "4", &world);
    picture(&mut tui, &world, (80, 24));
    typed(&mut tui, "<Down><Enter>", &world);
    assert_eq!((tui.page(), tui.pages.connections.filter_line()), (PageId::Connections, "--pid 3530"));
}

#[test]
fn connections_without_an_owner_have_a_row_that_says_so() {
    let mut world = world(Scene::Busy);
    let mut counts = [0; crate::output::tui::world::STATES];
    counts[0] = 1_000;
    world.processes.push(ProcessRow { counts, ..ProcessRow::default() });
    let mut tui = view(false);
    typed(&mut tui, "4", &world);
    let text = picture(&mut tui, &world, (80, 24));
    let first = text.lines().nth(3).expect("rows");
    assert!(first.trim_start().starts_with("- (no owner known) -"), "{first}");
    assert!(text.contains("6 processes"), "it is no process: {text}");
    typed(&mut tui, "<Enter>", &world);
    assert_eq!(tui.page(), PageId::Processes);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("no --pid picks them out"), "{text}");
}

#[test]
fn exported() {
    let world = world(Scene::Busy);
    let tui = view(false);
    let context = Context { world: &world, theme: Theme::default(), glyphs: &glyphs::UNICODE };
    let json = tui.pages.get(PageId::Processes).export(&context);
    assert_eq!(json["page"], "Processes");
    let orders = json["processes"].as_array().and_then(|rows| rows.iter().find(|row| row["pid"] == 3530));
    insta::assert_snapshot!("processes_export", format!("{:#}", orders.expect("it is there")));
}
