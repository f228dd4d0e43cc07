//! The picture of one moment, which stays as it is while events go on being collected.

use std::num::{NonZeroU32, NonZeroU64};

use rustc_hash::FxHashMap;

use super::world::{About, Arrow, Found, Overview, PortRow, ProcessRow, Row, World};
use crate::{
    model::{Filter, KtimeNs, SocketKey},
    output::{Moment, Names},
};

/// Cgroup and network namespace, which names are for.
type Place = (Option<NonZeroU64>, Option<NonZeroU32>);

/// A world that stands still.
#[derive(Clone, Debug)]
pub struct Still {
    pub(super) now: Moment,
    pub(super) about: About,
    pub(super) overview: Overview,
    pub(super) ports: Vec<PortRow>,
    pub(super) processes: Vec<ProcessRow>,
    pub(super) walked: Option<KtimeNs>,
    pub(super) left_out: (usize, usize),
    pub(super) arrows: Vec<Arrow>,
    pub(super) found: Found,
    pub(super) rows: Vec<Row>,
    pub(super) places: FxHashMap<SocketKey, usize>,
    pub(super) names: FxHashMap<Place, Names>,
    pub(super) stacks: FxHashMap<SocketKey, Vec<String>>,
}

fn place_of(row: &Row) -> Place {
    (row.owner.and_then(|owner| owner.task.cgroup), row.connection.netns)
}

impl Still {
    /// Copies all of it: 250 bytes a connection.
    pub fn of(world: &dyn World) -> Self {
        let mut rows = Vec::with_capacity(world.len());
        world.each(&Filter::default(), &mut |row| rows.push(row));
        let mut names: FxHashMap<Place, Names> = FxHashMap::default();
        for row in &rows {
            names.entry(place_of(row)).or_insert_with(|| world.names(row));
        }
        let places = rows.iter().enumerate().map(|(at, row)| (row.key, at)).collect();
        let stacks = if world.about().has_stacks {
            rows.iter().filter_map(|row| Some((row.key, world.stack(row.key)?))).collect()
        } else {
            FxHashMap::default()
        };
        Self {
            now: world.now(),
            about: world.about().clone(),
            overview: world.overview().clone(),
            ports: world.ports().to_vec(),
            processes: world.processes().to_vec(),
            walked: world.walked(),
            left_out: world.left_out(),
            arrows: world.arrows().to_vec(),
            found: world.found().clone(),
            rows,
            places,
            names,
            stacks,
        }
    }
}

impl World for Still {
    fn now(&self) -> Moment {
        self.now
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn overview(&self) -> &Overview {
        &self.overview
    }

    fn ports(&self) -> &[PortRow] {
        &self.ports
    }

    fn processes(&self) -> &[ProcessRow] {
        &self.processes
    }

    fn walked(&self) -> Option<KtimeNs> {
        self.walked
    }

    fn left_out(&self) -> (usize, usize) {
        self.left_out
    }

    fn arrows(&self) -> &[Arrow] {
        &self.arrows
    }

    fn found(&self) -> &Found {
        &self.found
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn each(&self, filter: &Filter, visit: &mut dyn FnMut(Row)) {
        let is_everything = *filter == Filter::default();
        for row in &self.rows {
            let cgroup = || self.names.get(&place_of(row)).and_then(|names| names.cgroup.as_deref());
            if is_everything || row.is_kept_by(filter, cgroup()) {
                visit(*row);
            }
        }
    }

    fn row(&self, key: SocketKey) -> Option<Row> {
        self.places.get(&key).and_then(|at| self.rows.get(*at)).copied()
    }

    fn names(&self, row: &Row) -> Names {
        self.names.get(&place_of(row)).cloned().unwrap_or_default()
    }

    fn stack(&self, key: SocketKey) -> Option<Vec<String>> {
        self.stacks.get(&key).cloned()
    }
}
