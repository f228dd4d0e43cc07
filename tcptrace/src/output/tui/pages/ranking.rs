//! A table whose rows are put in order, and whose selected row stays the same one when the order changes.

use std::cmp::Ordering;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{
    model::KtimeNs,
    output::{
        hist::units,
        tui::{
            keymap::Action,
            page::Context,
            table::{Cell, Clicked, Column, Table},
            world::World,
        },
    },
};

/// What a row is sorted by; `None` for what is not known, which comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A number.
    Number(u64),
    /// Words.
    Words(String),
}

/// What an order was made of.
type MadeOf = (Option<KtimeNs>, usize, usize, bool);

/// Rows of a list in order. `K` is what makes a row the same at another time.
#[derive(Debug)]
pub(super) struct Ranking<K> {
    /// How it is sorted, and where one is.
    pub(super) table: Table,
    /// Places in the list.
    order: Vec<usize>,
    made_of: Option<MadeOf>,
    /// The selected row; `None` is the first one, whichever that is.
    selected: Option<K>,
}

impl<K: Copy + Ord> Ranking<K> {
    /// The large first of that column.
    pub(super) fn by(column: usize) -> Self {
        Self { table: Table::sorted(column, true), order: Vec::new(), made_of: None, selected: None }
    }

    /// Puts the rows in order, if they were counted anew since, or another order is wanted: each with what makes it the same
    /// and what it is sorted by.
    pub(super) fn arrange<R>(
        &mut self,
        walked: Option<KtimeNs>,
        rows: &[R],
        key: impl Fn(&R) -> K,
        rank: impl Fn(&R, usize) -> Option<Rank>,
    ) {
        let (sort, is_descending) = (self.table.sort, self.table.is_descending);
        let made_of = Some((walked, rows.len(), sort, is_descending));
        if self.made_of != made_of {
            self.made_of = made_of;
            let mut ranked: Vec<_> =
                rows.iter().enumerate().map(|(at, row)| (rank(row, sort), key(row), at)).collect();
            ranked.sort_unstable_by(|(a, a_key, _), (b, b_key, _)| {
                let order = match (a, b) {
                    (None, None) => Ordering::Equal,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(_), None) => Ordering::Less,
                    (Some(a), Some(b)) if is_descending => b.cmp(a),
                    (Some(a), Some(b)) => a.cmp(b),
                };
                order.then_with(|| a_key.cmp(b_key))
            });
            self.order = ranked.into_iter().map(|(_, _, at)| at).collect();
        }
        match self.selected {
            None => self.table.selected = 0,
            Some(selected) => {
                let is_it = |at: &usize| rows.get(*at).is_some_and(|row| key(row) == selected);
                if let Some(line) = self.order.iter().position(is_it) {
                    self.table.selected = line;
                }
            }
        }
    }

    /// The place in the list of what stands in a line.
    pub(super) fn at(&self, line: usize) -> Option<usize> {
        self.order.get(line).copied()
    }

    /// The selected row.
    pub(super) fn row<'a, R>(&self, rows: &'a [R]) -> Option<&'a R> {
        rows.get(self.at(self.table.selected)?)
    }

    /// Moves or sorts. Returns whether the action was one of these.
    pub(super) fn act<R>(
        &mut self,
        action: Action,
        rows: &[R],
        columns: usize,
        key: impl Fn(&R) -> K,
    ) -> bool {
        if !self.table.act(action, self.order.len(), columns) {
            return false;
        }
        match action {
            // At the top again, wherever the row that was selected goes.
            Action::Top | Action::Sort | Action::Reverse => self.selected = None,
            Action::Left | Action::Right => {}
            _ => self.selected = self.row(rows).map(key),
        }
        true
    }

    /// Selects or sorts. Returns whether a row was clicked that was selected already.
    pub(super) fn click<R>(&mut self, at: Position, rows: &[R], key: impl Fn(&R) -> K) -> Option<bool> {
        match self.table.click(at)? {
            Clicked::Heading(_) => Some(false),
            Clicked::Row { is_selected, .. } => {
                self.selected = self.row(rows).map(key);
                Some(is_selected)
            }
        }
    }

    /// Draws what is in sight; `cell` makes what stands in a column of a row.
    pub(super) fn draw<R>(
        &mut self,
        area: Rect,
        buffer: &mut Buffer,
        context: &Context<'_>,
        columns: &[Column],
        rows: &[R],
        cell: impl Fn(&R, usize) -> Cell,
    ) {
        let Self { table, order, .. } = self;
        table.draw(area, buffer, context, columns, order.len(), &mut |line, column| {
            let row = order.get(line).and_then(|at| rows.get(*at));
            row.map_or_else(Cell::default, |row| cell(row, column))
        });
    }
}

/// When connections were counted, in words.
pub(super) fn counted(world: &dyn World) -> String {
    match world.walked() {
        None => "not counted yet".to_owned(),
        Some(walked) => match world.now().ktime.since(walked) {
            Some(ago) => format!("counted {} ago", units::time(ago)),
            None => "counted now".to_owned(),
        },
    }
}

/// What to say where there is no row.
pub(super) fn nothing(world: &dyn World) -> &'static str {
    if world.walked().is_none() { "Not counted yet" } else { "No connection yet" }
}
