//! The page Connections.

use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{
    super::{
        Effect, Tui,
        page::PageId,
        still::Still,
        world::{Kind, World as _, judged},
    },
    fixture::{MS, Scene, moment, world},
    picture, pictures, typed, view,
};
use crate::model::{Filter, Owner, OwnerIs, TcpState};

const SIZE: (u16, u16) = (120, 40);

/// The page after these keys, in a world; and what it looks like.
fn shown(keys: &str, world: &Still) -> (Tui, Vec<String>) {
    let mut tui = view(false);
    picture(&mut tui, world, SIZE);
    typed(&mut tui, keys, world);
    let lines = lines(&mut tui, world);
    (tui, lines)
}

/// The page's own lines: the heading, the names of the columns, the rows.
fn lines(tui: &mut Tui, world: &Still) -> Vec<String> {
    let text = picture(tui, world, SIZE);
    let lines = text.lines().map(str::to_owned).collect::<Vec<_>>();
    lines[2..lines.len() - 1].to_vec()
}

fn click(tui: &mut Tui, world: &Still, (column, row): (u16, u16)) -> Effect {
    let kind = MouseEventKind::Down(MouseButton::Left);
    tui.input(&Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }), world)
}

/// The same world so much later.
fn later(world: &Still, ns: u64) -> Still {
    Still { now: moment(world.now.elapsed_ns + ns), ..world.clone() }
}

/// Takes a connection away.
fn without(world: &Still, at: usize) -> Still {
    let mut less = world.clone();
    less.rows.remove(at);
    less.places = less.rows.iter().enumerate().map(|(at, row)| (row.key, at)).collect();
    less
}

#[test]
fn drawn() {
    pictures(PageId::Connections, "2");
}

#[test]
fn a_filter_keeps_some_and_escape_shows_all_again() {
    let world = world(Scene::Busy);
    let (mut tui, filtered) = shown("2/--state close-wait<Enter>", &world);
    assert!(filtered[0].starts_with("30 of 190  --state close-wait"), "{}", filtered[0]);
    assert!(filtered[2..32].iter().all(|line| line.contains("CLOSE_WAIT")), "{filtered:#?}");
    assert!(filtered[32..].iter().all(String::is_empty));
    typed(&mut tui, "<Esc>", &world);
    assert_eq!((tui.page(), &lines(&mut tui, &world)[0][..15]), (PageId::Connections, "190 connections"));
    typed(&mut tui, "<Esc>", &world);
    assert_eq!(tui.page(), PageId::Overview);
    let (_, nothing) = shown("2/--port 99<Enter>", &world);
    assert_eq!(nothing[2], "None of the 190 connections is as `--port 99` asks for. Esc shows all.");
}

#[test]
fn the_next_column_sorts_and_so_does_a_click() {
    let world = world(Scene::Busy);
    let (mut tui, lines_) = shown("2sSs", &world);
    assert!(lines_[1].contains("PEER▲"), "{}", lines_[1]);
    assert!(lines_[2].contains("192.0.2.1:23"), "{}", lines_[2]);
    // OWNER is at the left, below the two lines around the page and the page's own.
    assert_eq!(click(&mut tui, &world, (1, 3)), Effect::Draw);
    let first = |tui: &mut Tui| lines(tui, &world)[2].clone();
    assert!(first(&mut tui).starts_with("curl"));
    click(&mut tui, &world, (1, 3));
    assert!(first(&mut tui).starts_with("scan"));
}

#[test]
fn a_row_is_opened_by_the_second_click() {
    let world = world(Scene::Busy);
    let (mut tui, _) = shown("2", &world);
    click(&mut tui, &world, (1, 7));
    assert_eq!(tui.page(), PageId::Connections);
    click(&mut tui, &world, (1, 7));
    assert_eq!(tui.page(), PageId::Connection);
}

#[test]
fn frozen_rows_stay_at_the_top_whatever_the_filter_and_the_place() {
    let world = world(Scene::Busy);
    let (mut tui, frozen) = shown("2<Down><Down>f", &world);
    assert!(frozen[2].starts_with("◆ scan") && frozen[2].contains("192.0.2.3:23"), "{}", frozen[2]);
    assert!(frozen[0].starts_with("190 connections"), "{}", frozen[0]);
    typed(&mut tui, "G", &world);
    let bottom = lines(&mut tui, &world);
    assert_eq!(bottom[2], frozen[2]);
    assert_ne!(bottom[3], frozen[3]);
    typed(&mut tui, "g", &world);
    assert_eq!(lines(&mut tui, &world), frozen, "the top of the list, not of the frozen rows only");
    typed(&mut tui, "/--port 25<Enter>", &world);
    let filtered = lines(&mut tui, &world);
    assert_eq!(filtered[2], frozen[2]);
    assert!(filtered[3].starts_with("mailer"), "{}", filtered[3]);
    typed(&mut tui, "gf", &world);
    let free = lines(&mut tui, &world);
    assert!(free[2].starts_with("mailer"), "{}", free[2]);
}

#[test]
fn the_order_is_kept_for_a_second_and_states_are_not() {
    let mut before = world(Scene::Busy);
    let (mut tui, first) = shown("2", &before);
    let at = before.places
        [&before.rows.iter().find(|row| row.state() == TcpState::SynSent).expect("is there").key];
    before.rows[at].kind = Kind::Closed;
    before.rows[at].closed = Some(before.now.ktime);
    let soon = later(&before, 900 * MS);
    let kept = lines(&mut tui, &soon);
    assert_eq!(kept[2][..18], first[2][..18]);
    assert!(kept[2].contains("CLOSE") && kept[2].contains("900 ms"), "{}", kept[2]);
    let next = lines(&mut tui, &later(&before, 1_000 * MS));
    assert!(!next[2..].iter().any(|line| line.contains(" CLOSE  ")), "{next:#?}");
    assert!(next[2].contains("192.0.2.2:23"), "{}", next[2]);
}

#[test]
fn the_selection_stays_with_the_connection() {
    let world = world(Scene::Busy);
    let (mut tui, lines_) = shown("2<Down><Down><Down>", &world);
    assert!(lines_[5].contains("192.0.2.4:23"), "{}", lines_[5]);
    let first = world.rows.iter().position(|row| {
        row.state() == TcpState::SynSent && row.connection.entered() == Some(moment(1_185 * MS).ktime)
    });
    let less = later(&without(&world, first.expect("the oldest SYN_SENT")), 2_000 * MS);
    let moved = lines(&mut tui, &less);
    assert!(moved[4].contains("192.0.2.4:23"), "{}", moved[4]);
    typed(&mut tui, "f", &less);
    let frozen = lines(&mut tui, &less);
    assert!(frozen[2].starts_with('◆') && frozen[2].contains("192.0.2.4:23"), "{}", frozen[2]);
}

#[test]
fn what_is_gone_is_shown_as_gone_until_the_next_order() {
    let before = world(Scene::Busy);
    let (mut tui, first) = shown("2", &before);
    let row = before.rows.iter().position(|row| row.connection.entered() == Some(moment(1_185 * MS).ktime));
    let after = without(&before, row.expect("the first row"));
    let gone = lines(&mut tui, &later(&after, 500 * MS));
    assert_eq!(gone[2][..18], first[2][..18]);
    assert!(gone[2].contains("gone") && gone[2].contains("192.0.2.1:23"), "{}", gone[2]);
    let next = lines(&mut tui, &later(&after, 1_500 * MS));
    assert!(next[2].contains("192.0.2.2:23"), "{}", next[2]);
}

#[test]
fn closed_ones_are_taken_out_and_brought_back() {
    let mut world = world(Scene::Busy);
    let closed = world.rows.iter().filter(|row| row.kind == Kind::Closed).count();
    let (mut tui, cleared) = shown("2c", &world);
    let expected = format!("{} connections", world.len() - closed);
    assert!(cleared[0].starts_with(&expected), "{}", cleared[0]);
    assert!(cleared[0].contains(&format!("{closed} closed not listed")), "{}", cleared[0]);
    // One closes later.
    world = later(&world, 5_000 * MS);
    let at = world.rows.iter().position(|row| row.kind == Kind::Open).expect("one is open");
    (world.rows[at].kind, world.rows[at].closed) = (Kind::Closed, Some(moment(world.now.elapsed_ns).ktime));
    assert!(lines(&mut tui, &world)[0].starts_with(&expected));
    typed(&mut tui, "c", &world);
    assert!(lines(&mut tui, &world)[0].contains(&format!("{} closed not listed", closed + 1)));
    typed(&mut tui, "c", &world);
    assert!(lines(&mut tui, &world)[0].starts_with("190 connections"));
}

#[test]
fn what_is_not_known_comes_last_either_way() {
    let mut world = world(Scene::Busy);
    for row in world.rows.iter_mut().take(150) {
        row.owner = None;
    }
    for keys in ["2ssssssssssssss", "2ssssssssssssssS"] {
        let (mut tui, first) = shown(keys, &world);
        assert!(first[1].contains("▼PID") || first[1].contains("▲PID"), "{}", first[1]);
        assert!(!first[2].starts_with('-'), "{}", first[2]);
        typed(&mut tui, "G", &world);
        let last = lines(&mut tui, &world);
        assert!(last[36].starts_with('-'), "{}", last[36]);
    }
}

#[test]
fn exported() {
    let world = world(Scene::Busy);
    let (mut tui, _) = shown("2/--state close-wait<Enter>", &world);
    let effect = tui.input(&Event::Key(crossterm::event::KeyCode::Char('e').into()), &world);
    let Effect::Export { name, json } = effect else { panic!("{effect:?}") };
    assert_eq!((name, &json["page"], &json["left_out"]), ("Connections", &"connections".into(), &0.into()));
    let rows = json["connections"].as_array().expect("a list");
    assert_eq!(rows.len(), 30);
    let row = serde_json::to_string_pretty(&rows[0]).expect("can be written");
    insta::assert_snapshot!("connections_exported", row);
}

#[test]
fn of_somebodys_connections_none_is_of_nobody() {
    let busy = world(Scene::Busy);
    let mut filter = Filter::default();
    let pids: crate::model::filter_lists::PidList = "3530".parse().expect("is a list");
    filter.processes = Some((&pids).into());
    let (mut kept, mut theirs) = (0, 0);
    busy.each(&filter, &mut |row| {
        kept += 1;
        assert_eq!(row.owner.map(|owner| owner.task.pid.get()), Some(3530), "{row:?}");
    });
    busy.each(&Filter::default(), &mut |row| {
        theirs += usize::from(row.owner.is_some_and(|owner| owner.task.pid.get() == 3530));
    });
    assert!(kept > 0 && kept == theirs, "{kept} of {theirs}");
    let owner = busy.rows.first().and_then(|row| row.owner).expect("has one");
    let waits = Owner { is: OwnerIs::Listener, ..owner };
    assert_eq!(
        judged(&filter, Some(waits)),
        Some(Some(Owner { is: OwnerIs::Caller, ..owner })),
        "its listener's"
    );
    assert_eq!(judged(&filter, None), None);
    assert_eq!(judged(&Filter::default(), None), Some(None), "nobody is asked for");
}

#[test]
fn escape_goes_back_where_one_came_from_with_the_filter_that_was_there() {
    let world = world(Scene::Busy);
    // A filter of one's own, then a service of the page Ports.
    let (mut tui, filtered) = shown("2/--state established<Enter>", &world);
    assert!(filtered[0].contains("--state"));
    typed(&mut tui, "3<Enter>", &world);
    assert_eq!(tui.page(), PageId::Connections);
    assert!(lines(&mut tui, &world)[0].contains("--port "));
    // One of them, and back.
    typed(&mut tui, "<Enter><Esc>", &world);
    assert!(lines(&mut tui, &world)[0].contains("--port "));
    typed(&mut tui, "<Esc>", &world);
    assert_eq!(tui.page(), PageId::Ports);
    typed(&mut tui, "<Esc>", &world);
    assert_eq!(tui.page(), PageId::Connections);
    assert_eq!(lines(&mut tui, &world)[0], filtered[0]);

    // What was typed there goes first.
    typed(&mut tui, "3<Enter>/ --state listen<Enter><Esc>", &world);
    assert_eq!((tui.page(), lines(&mut tui, &world)[0].contains("--")), (PageId::Connections, false));
    typed(&mut tui, "<Esc>", &world);
    assert_eq!(tui.page(), PageId::Ports);
}

#[test]
fn what_may_not_have_been_meant_is_said_until_the_next_key() {
    let world = world(Scene::Busy);
    let mut tui = view(false);
    typed(&mut tui, "/--pid 3530<Enter>", &world);
    let bottom = |tui: &mut Tui| picture(tui, &world, SIZE).lines().last().map(str::to_owned);
    assert_eq!(bottom(&mut tui).as_deref(), Some("a process"));
    typed(&mut tui, "<Up>", &world);
    assert_ne!(bottom(&mut tui).as_deref(), Some("a process"));
}
