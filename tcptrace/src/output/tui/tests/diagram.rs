//! The page Diagram.

use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{
    super::page::{Context, PageId},
    fixture::{MS, Scene, world},
    picture, pictures, typed, view,
};
use crate::{
    model::TcpState,
    output::tui::{glyphs, still::Still, theme::Theme, world::Arrow},
};

#[test]
fn drawn() {
    pictures(PageId::Diagram, "6");
}

/// All transitions that a kernel makes, many times.
fn everything(still: &mut Still) {
    let pairs = TcpState::ALL.into_iter().flat_map(|from| TcpState::ALL.map(|to| (from, to)));
    let legal = pairs.filter(|(from, to)| from.leads_to(*to));
    let number = |at: usize| u64::try_from(at).expect("a few");
    let arrow = |(at, (from, to)): (usize, (TcpState, TcpState))| Arrow {
        from,
        to,
        count: 987_654_321 * (number(at) + 1),
        p50_ns: Some(750_000 * MS + number(at)),
    };
    still.arrows = legal.enumerate().map(arrow).collect();
    for state in &mut still.overview.states {
        state.count = 1_234_567_890;
    }
}

#[test]
fn with_large_numbers_everywhere() {
    let mut world = world(Scene::Busy);
    everything(&mut world);
    for size in [(80, 24), (120, 40)] {
        let mut tui = view(false);
        typed(&mut tui, "6GG", &world);
        insta::assert_snapshot!(
            format!("diagram_full_{}x{}", size.0, size.1),
            picture(&mut tui, &world, size)
        );
    }
}

#[test]
fn what_has_no_arrow_is_listed_and_what_has_no_room_is_counted() {
    let mut world = world(Scene::Busy);
    everything(&mut world);
    let mut tui = view(false);
    typed(&mut tui, "6", &world);
    let text = picture(&mut tui, &world, (80, 24));
    let others = text.lines().find(|line| line.starts_with("others")).expect("a line");
    assert!(others.contains(" → "), "{text}");
    assert!(text.contains(" more"), "{text}");
    world.arrows.retain(|arrow| arrow.to != TcpState::Close && arrow.from != TcpState::SynRecv);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("no reset"), "{text}");
}

#[test]
fn the_line_below_follows_the_selection_and_enter_leads_to_the_connections() {
    let world = world(Scene::Busy);
    for (keys, below, filter) in [
        ("6", "LISTEN  0 now", "--state listen"),
        ("6<Right><Down>", "SYN_RECV  0 now", "--state syn-recv"),
        ("6G<Up><Up>", "CLOSE_WAIT  30 now, +3 in 10 s", "--state close-wait"),
        ("6G", "CLOSE  7 closed", "--state close"),
    ] {
        let mut tui = view(false);
        typed(&mut tui, keys, &world);
        let text = picture(&mut tui, &world, (80, 24));
        assert!(text.contains(below), "{text}");
        typed(&mut tui, "<Enter>", &world);
        assert_eq!((tui.page(), tui.pages.connections.filter_line()), (PageId::Connections, filter));
    }
}

#[test]
fn a_click_selects_a_box_and_a_second_one_opens_it() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "6", &world);
    let kind = MouseEventKind::Down(MouseButton::Left);
    let click = Event::Mouse(MouseEvent { kind, column: 70, row: 10, modifiers: KeyModifiers::NONE });
    picture(&mut tui, &world, (80, 24));
    tui.input(&click, &world);
    let text = picture(&mut tui, &world, (80, 24));
    assert!(text.contains("ESTABLISHED  50 now"), "{text}");
    tui.input(&click, &world);
    assert_eq!(tui.pages.connections.filter_line(), "--state established");
}

#[test]
fn where_there_is_no_room_for_the_picture_there_is_a_list() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "6G<Up>", &world);
    insta::assert_snapshot!("diagram_small", picture(&mut tui, &world, (60, 16)));
    let text = picture(&mut tui, &world, (40, 8));
    assert!(text.contains("LAST_ACK"), "the selected one is in sight: {text}");
}

#[test]
fn exported() {
    let world = world(Scene::Busy);
    let tui = view(false);
    let context = Context { world: &world, theme: Theme::default(), glyphs: &glyphs::UNICODE };
    let json = tui.pages.get(PageId::Diagram).export(&context);
    assert_eq!(json["page"], "Diagram");
    assert_eq!(json["states"]["CLOSE_WAIT"], 30);
    assert_eq!(json["held"], 7);
    let first = &json["transitions"][1];
    assert_eq!((&first["from"], &first["to"]), (&"SYN_RECV".into(), &"ESTABLISHED".into()));
    assert_eq!((&first["count"], &first["p50_ns"]), (&130.into(), &MS.into()));
    assert_eq!(json["transitions"][0]["p50_ns"], serde_json::Value::Null);
}
