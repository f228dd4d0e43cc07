//! Random keys, clicks, resizes and worlds: whatever comes, nothing panics, and what is drawn fits.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;

use super::{
    super::{Effect, keymap::BINDINGS},
    fixture::{SCENES, world},
    picture, view,
};

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// A key, most often one that means something.
    Key(KeyEvent),
    /// The mouse, perhaps out of the screen.
    Mouse(MouseEvent),
    /// Pasted text.
    Paste(String),
    /// Another size of the terminal.
    Resize(u16, u16),
    /// Another world: what was selected may be gone.
    World(usize),
}

fn key() -> impl Strategy<Value = KeyEvent> {
    let codes = [
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Backspace,
        KeyCode::Delete,
    ];
    let letters = "hjkgGslSpfce?/ 123456-portstae,".chars().map(KeyCode::Char);
    let all: Vec<KeyCode> = codes.into_iter().chain(letters).collect();
    assert!(all.len() > BINDINGS.len());
    prop_oneof![
        9 => prop::sample::select(all).prop_map(|code| KeyEvent::new(code, KeyModifiers::NONE)),
        1 => any::<char>().prop_map(|c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)),
        1 => prop::sample::select(vec!['a', 'e', 'k', 'u', 'w', 'f', 'b']).prop_map(|c| {
            KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)
        }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let kinds = vec![
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Moved,
    ];
    let mouse = (prop::sample::select(kinds), 0..310_u16, 0..110_u16).prop_map(|(kind, column, row)| {
        Happening::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
    });
    prop_oneof![
        12 => key().prop_map(Happening::Key),
        3 => mouse,
        1 => ".{0,40}".prop_map(Happening::Paste),
        2 => (1..=300_u16, 1..=100_u16).prop_map(|(width, height)| Happening::Resize(width, height)),
        1 => (0..SCENES.len()).prop_map(Happening::World),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(is_ascii: bool, happenings in prop::collection::vec(happening(), 0..60)) {
        let mut tui = view(is_ascii);
        let worlds = SCENES.map(world);
        let (mut shown, mut size) = (1, (80, 24));
        picture(&mut tui, &worlds[shown], size);
        for happening in happenings {
            let effect = match happening {
                Happening::Key(key) => tui.input(&Event::Key(key), &worlds[shown]),
                Happening::Mouse(mouse) => tui.input(&Event::Mouse(mouse), &worlds[shown]),
                Happening::Paste(text) => tui.input(&Event::Paste(text), &worlds[shown]),
                Happening::Resize(width, height) => {
                    size = (width, height);
                    tui.input(&Event::Resize(width, height), &worlds[shown])
                }
                Happening::World(number) => {
                    shown = number;
                    Effect::Draw
                }
            };
            if effect != Effect::Nothing {
                let text = picture(&mut tui, &worlds[shown], size);
                prop_assert!(!text.contains('\u{1b}'), "nothing escapes: {text}");
            }
        }
    }
}
