//! The full-screen view: what is known, in pages. It knows no terminal: whoever has one hands in what was typed, and
//! draws.

pub mod data;
pub mod export;
pub mod filter_line;
pub mod frame;
pub mod glyphs;
pub mod help;
pub mod keymap;
pub mod page;
pub mod pages;
pub mod spark;
pub mod still;
pub mod table;
pub mod text;
pub mod theme;
pub mod world;

use crossterm::event::{Event, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::{
    Frame,
    layout::{Position, Rect},
};

use self::{
    filter_line::{Edited, FilterLine, History},
    frame::Areas,
    glyphs::Glyphs,
    help::Help,
    keymap::Action,
    page::{Context, Outcome, Page, PageId, Target},
    pages::Pages,
    still::Still,
    theme::Theme,
    world::{FilterLanguage, World},
};
use crate::model::Filter;

/// Lines that a step of the mouse wheel scrolls.
const WHEEL: usize = 3;

/// Places to come back to.
const MOST_BACK: usize = 32;

/// How it looks.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Colours.
    pub theme: Theme,
    /// Characters.
    pub glyphs: &'static Glyphs,
}

/// What whoever has the terminal is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Nothing has changed.
    Nothing,
    /// Draw.
    Draw,
    /// Clear the screen and draw.
    DrawAnew,
    /// Write this to a file whose name has `name` in it, and tell with [`Tui::say`] how it went.
    Export {
        /// Of the page.
        name: &'static str,
        /// What it shows.
        json: serde_json::Value,
    },
    /// Give the terminal back and stop, as Ctrl-Z does.
    Suspend,
    /// End.
    Quit,
}

/// A page that was left.
#[derive(Clone, Debug)]
struct Left {
    page: PageId,
    /// The filter of the connections, where it was left for others.
    filter: Option<(String, Filter)>,
}

/// The view.
pub struct Tui {
    options: Options,
    language: Box<dyn FilterLanguage>,
    pages: Pages,
    page: PageId,
    /// Pages that were left for another one, the last at the end.
    back: Vec<Left>,
    /// Where the filter is edited.
    editing: Option<FilterLine>,
    /// Filters that were accepted.
    history: History,
    help: Option<Help>,
    paused: Option<Box<Still>>,
    /// What there is to say until the next key.
    said: Option<String>,
    areas: Areas,
}

impl Tui {
    /// Opens with the overview.
    pub fn new(options: Options, language: Box<dyn FilterLanguage>) -> Self {
        Self {
            options,
            language,
            pages: Pages::default(),
            page: PageId::Overview,
            back: Vec::new(),
            editing: None,
            history: History::default(),
            help: None,
            paused: None,
            said: None,
            areas: Areas::default(),
        }
    }

    /// Something to tell the person, until the next key.
    pub fn say(&mut self, text: String) {
        self.said = Some(text);
    }

    /// The page that is shown.
    pub const fn page(&self) -> PageId {
        self.page
    }

    /// Whether the picture stands still, so that nothing but keys changes it.
    pub const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Takes what was typed, clicked or pasted.
    pub fn input(&mut self, event: &Event, world: &dyn World) -> Effect {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key, world),
            Event::Mouse(mouse) => self.mouse(*mouse, world),
            Event::Paste(text) => {
                if let Some(line) = &mut self.editing {
                    line.paste(text, &*self.language);
                    return Effect::Draw;
                }
                Effect::Nothing
            }
            Event::Resize(..) => Effect::Draw,
            _ => Effect::Nothing,
        }
    }

    fn key(&mut self, key: KeyEvent, world: &dyn World) -> Effect {
        self.said = None;
        if let Some(line) = &mut self.editing {
            match line.key(key, &*self.language) {
                Edited::GoesOn => {}
                Edited::Cancelled => self.editing = None,
                Edited::Accepted(text, filter) => {
                    self.editing = None;
                    self.said = self.language.note(&text);
                    self.filter(text, *filter);
                }
            }
            return Effect::Draw;
        }
        match keymap::action(key) {
            // It closes what is over the page first.
            Some(Action::Quit) if self.help.is_some() && key.modifiers.is_empty() => self.help = None,
            Some(action) => return self.act(action, world),
            // What was said is gone.
            None => self.help = None,
        }
        Effect::Draw
    }

    fn act(&mut self, action: Action, world: &dyn World) -> Effect {
        match action {
            Action::Quit => return Effect::Quit,
            Action::Suspend => return Effect::Suspend,
            Action::Redraw => return Effect::DrawAnew,
            _ => {}
        }
        if let Some(help) = &mut self.help {
            if !help.act(action) {
                self.help = None;
            }
            return Effect::Draw;
        }
        match action {
            Action::Help => self.help = Some(Help::default()),
            Action::Filter => {
                self.editing = Some(FilterLine::open(
                    self.pages.connections.filter_line(),
                    &self.history,
                    &*self.language,
                ));
            }
            Action::Pause => {
                self.paused = match self.paused {
                    Some(_) => None,
                    None => Some(Box::new(Still::of(world))),
                };
                self.pages.connections.order_anew();
            }
            Action::Page(number) => {
                if let Some(page) = PageId::NUMBERED.get(usize::from(number).wrapping_sub(1)) {
                    self.turn_to(*page);
                }
            }
            Action::NextPage | Action::PreviousPage => {
                let pages = PageId::NUMBERED;
                let at = pages.iter().position(|page| *page == self.page).unwrap_or(1);
                let step = if action == Action::NextPage { 1 } else { pages.len() - 1 };
                self.turn_to(pages[(at + step) % pages.len()]);
            }
            Action::Export => {
                let context = context(self.options, self.paused.as_deref(), world);
                let json = self.pages.get(self.page).export(&context);
                return Effect::Export { name: self.page.name(), json };
            }
            action => return self.on_page(world, |page, context| page.act(action, context), action),
        }
        Effect::Draw
    }

    /// Lets the page do something, and goes where it wants to.
    fn on_page(
        &mut self,
        world: &dyn World,
        work: impl FnOnce(&mut dyn Page, &Context<'_>) -> Outcome,
        action: Action,
    ) -> Effect {
        if action == Action::Back && self.page == PageId::Connections && self.came_for_these() {
            self.go_back();
            return Effect::Draw;
        }
        let context = context(self.options, self.paused.as_deref(), world);
        match work(self.pages.get_mut(self.page), &context) {
            Outcome::Ignored if action == Action::Back => self.go_back(),
            Outcome::Ignored => return Effect::Nothing,
            Outcome::Done => {}
            Outcome::Say(text) => self.said = Some(text),
            Outcome::Go(target) => self.go(target),
        }
        Effect::Draw
    }

    fn mouse(&mut self, mouse: MouseEvent, world: &dyn World) -> Effect {
        let at = Position { x: mouse.column, y: mouse.row };
        match mouse.kind {
            MouseEventKind::ScrollUp | MouseEventKind::ScrollDown if self.editing.is_none() => {
                let action = if mouse.kind == MouseEventKind::ScrollUp { Action::Up } else { Action::Down };
                for _ in 0..WHEEL {
                    self.act(action, world);
                }
                Effect::Draw
            }
            MouseEventKind::Down(MouseButton::Left) if self.editing.is_none() => {
                self.said = None;
                if self.help.take().is_some() {
                    return Effect::Draw;
                }
                if let Some(page) = self.areas.tab_at(at) {
                    self.turn_to(page);
                    return Effect::Draw;
                }
                self.on_page(world, |page, context| page.click(at, context), Action::Open)
            }
            _ => Effect::Nothing,
        }
    }

    fn turn_to(&mut self, page: PageId) {
        if page != self.page {
            self.leave(None);
            self.page = page;
        }
    }

    fn leave(&mut self, filter: Option<(String, Filter)>) {
        self.back.push(Left { page: self.page, filter });
        if self.back.len() > MOST_BACK {
            self.back.remove(0);
        }
    }

    /// Whether another page has led to these connections.
    fn came_for_these(&self) -> bool {
        self.back.last().is_some_and(|left| left.filter.is_some())
    }

    fn go_back(&mut self) {
        let Some(left) = self.back.pop() else { return };
        self.page = left.page;
        if let Some((line, filter)) = left.filter {
            self.pages.connections.set_filter(line, filter);
        }
    }

    fn go(&mut self, target: Target) {
        match target {
            Target::Page(page) => self.turn_to(page),
            Target::Connections(line) => match self.language.parse(&line) {
                Ok(filter) => {
                    let before = self.pages.connections.filter();
                    self.leave(Some(before));
                    self.page = PageId::Connections;
                    self.keep(line, filter);
                }
                Err(error) => self.said = Some(error.message),
            },
            Target::Connection(key) => {
                self.pages.connection.show(key);
                self.turn_to(PageId::Connection);
            }
        }
    }

    /// As somebody has typed.
    fn filter(&mut self, line: String, filter: Filter) {
        if self.page == PageId::Connections
            && let Some(left) = self.back.last_mut()
        {
            // Whoever led here did not ask for this: it goes first.
            left.filter = None;
        }
        self.keep(line, filter);
        self.turn_to(PageId::Connections);
    }

    fn keep(&mut self, line: String, filter: Filter) {
        self.history.push(&line);
        self.pages.connections.set_filter(line, filter);
    }

    /// Draws all of it.
    pub fn draw(&mut self, frame: &mut Frame<'_>, world: &dyn World) {
        let area = frame.area();
        let context = context(self.options, self.paused.as_deref(), world);
        // Half of the page stays in sight.
        let bottom = self.editing.as_ref().map_or(1, FilterLine::height).min(area.height / 2).max(1);
        self.areas = Areas::of(area, bottom, self.page);
        let buffer = frame.buffer_mut();
        frame::draw_tabs(&self.areas, buffer, &context, self.page);
        frame::draw_status(&self.areas, buffer, &context, self.is_paused().then_some(world));
        self.pages.get_mut(self.page).draw(self.areas.page, buffer, &context);
        if let Some(help) = &mut self.help {
            help.draw(self.areas.page, buffer, &context, self.page, self.pages.get(self.page));
        }
        let cursor = if let Some(line) = &self.editing {
            line.draw(self.areas.bottom, buffer, &context)
        } else {
            let ignored = self.pages.get(self.page).ignores();
            frame::draw_bottom(&self.areas, buffer, &context, self.said.as_deref(), ignored);
            None
        };
        if let Some(cursor) = cursor.filter(|cursor| area.contains(*cursor)) {
            frame.set_cursor_position(cursor);
        }
    }
}

/// Of the picture that stands still, where there is one.
fn context<'a>(options: Options, paused: Option<&'a Still>, world: &'a dyn World) -> Context<'a> {
    let world = paused.map_or(world, |still| still);
    Context { world, theme: options.theme, glyphs: options.glyphs }
}

/// A part of an area: so many lines from its top, and the rest.
pub fn split_top(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    (Rect { height, ..area }, Rect { y: area.y + height, height: area.height - height, ..area })
}

#[cfg(test)]
mod tests;
