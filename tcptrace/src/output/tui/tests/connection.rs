//! The page Connection.

use crossterm::event::{Event, KeyCode};

use super::{
    super::{
        Effect, Tui,
        page::PageId,
        still::Still,
        world::{Kind, Row},
    },
    fixture::{MS, Scene, moment, world},
    picture, pictures, typed, view,
};
use crate::model::TcpState;

const SIZE: (u16, u16) = (80, 24);

/// A world in which there is but one connection, and what its page looks like.
fn only(pick: impl Fn(&&Row) -> bool) -> (Still, Tui, String) {
    let mut one = world(Scene::Busy);
    let row = *one.rows.iter().find(pick).expect("there is one");
    one.rows = vec![row];
    one.places = [(row.key, 0)].into_iter().collect();
    let mut tui = view(false);
    picture(&mut tui, &one, SIZE);
    typed(&mut tui, "2<Enter>", &one);
    let text = picture(&mut tui, &one, SIZE);
    (one, tui, text)
}

#[test]
fn drawn() {
    pictures(PageId::Connection, "2/--state time-wait<Enter><Enter>");
}

#[test]
fn one_that_ended() {
    let (_, _, text) = only(|row| row.kind == Kind::Closed && row.connection.history().iter().count() > 2);
    insta::assert_snapshot!("connection_closed", text);
}

#[test]
fn one_that_is_held_after_it_was_refused() {
    let refused = Some(crate::model::EndCause::Refused);
    let (_, _, text) = only(|row| row.kind == Kind::Held && row.connection.end_cause == refused);
    insta::assert_snapshot!("connection_held", text);
}

#[test]
fn a_stack() {
    let busy = world(Scene::Busy);
    let with_stack = busy.rows[0].key;
    let (mut world, mut tui, text) = only(|row| row.key == with_stack);
    assert!(text.contains("stack    connect+0x4f (libc.so.6)\n         Pool::open+0x12"), "{text}");
    world.stacks.clear();
    let text = picture(&mut tui, &world, SIZE);
    assert!(text.contains("stack    that of no call on this socket is known"), "{text}");
    world.about.has_stacks = false;
    let text = picture(&mut tui, &world, SIZE);
    assert!(text.contains("stack    stacks are not taken"), "{text}");
}

#[test]
fn what_is_gone_stays_as_it_was() {
    let (mut world, mut tui, before) = only(|row| row.state() == TcpState::CloseWait);
    assert!(!before.contains("GONE"), "{before}");
    world.rows.clear();
    world.places.clear();
    world.now = moment(world.now.elapsed_ns + 5_000 * MS);
    let gone = picture(&mut tui, &world, SIZE);
    let lines: Vec<&str> = gone.lines().skip(2).collect();
    assert_eq!(lines[0], "GONE: nothing is known of it any more. So it was when it was last seen, 5.00 s");
    let kept: Vec<&str> = before.lines().skip(2).take(12).collect();
    assert_eq!(&lines[2..14], kept, "{gone}");
    let Effect::Export { json, .. } = tui.input(&Event::Key(KeyCode::Char('e').into()), &world) else {
        panic!("is exported")
    };
    assert_eq!((&json["is_gone"], &json["connection"]["state"]), (&true.into(), &"CLOSE_WAIT".into()));
}

#[test]
fn one_that_was_never_seen_is_said_to_be_gone() {
    let (mut world, mut tui, _) = only(|row| row.state() == TcpState::CloseWait);
    typed(&mut tui, "<Esc>", &world);
    picture(&mut tui, &world, SIZE);
    world.rows.clear();
    world.places.clear();
    typed(&mut tui, "<Enter>", &world);
    let text = picture(&mut tui, &world, SIZE);
    assert!(text.contains("\nNothing is known of this connection any more."), "{text}");
}

#[test]
fn what_does_not_fit_is_scrolled() {
    let (world, mut tui, _) = only(|row| row.state() == TcpState::TimeWait);
    let size = (80, 12);
    let lines = |tui: &mut Tui| picture(tui, &world, size).lines().map(str::to_owned).collect::<Vec<_>>();
    let first = lines(&mut tui);
    assert!(first[10].ends_with("more lines"), "{first:#?}");
    typed(&mut tui, "<Down>", &world);
    let second = lines(&mut tui);
    assert_eq!(second[2..9], first[3..10]);
    typed(&mut tui, "G<Down><Down>", &world);
    let last = lines(&mut tui);
    assert!(!last[10].contains("more lines"), "{last:#?}");
    typed(&mut tui, "g", &world);
    assert_eq!(lines(&mut tui), first);
}

#[test]
fn exported() {
    let (world, mut tui, _) = only(|row| row.state() == TcpState::TimeWait);
    let Effect::Export { json, .. } = tui.input(&Event::Key(KeyCode::Char('e').into()), &world) else {
        panic!("is exported")
    };
    let text = serde_json::to_string_pretty(&json).expect("can be written");
    insta::assert_snapshot!("connection_exported", text);
}
