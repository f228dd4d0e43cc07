//! How much of what.

use std::num::{NonZeroU32, NonZeroUsize};

use super::scenes::Scene;

const S: u64 = 1_000_000_000;

/// How much there is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Connections that are open at a time, about.
    pub connections: NonZeroUsize,
    /// Events a second, about.
    pub rate: NonZeroU32,
}

/// Events a second of the scenes that do not depend on the load.
const FIXED_RATE: u64 = 4;

/// Their connections.
const FIXED_CONNECTIONS: u64 = 160;

/// What the load decides: of a thousand connections so many, and how many events each of them makes, in tenths.
const SHARES: [(Scene, u64, u64); 4] =
    [(Scene::Web, 700, 97), (Scene::Upstream, 100, 160), (Scene::Cache, 150, 80), (Scene::Pool, 50, 95)];

/// The half of connections that last for some seconds is open at a time, roughly: their mean stay, in milliseconds.
const SHORT_STAYS: [(Scene, u64); 2] = [(Scene::Web, 1_700), (Scene::Upstream, 2 * 14_000)];

/// What follows from a load.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Connections of the load's scenes that begin in a thousand seconds.
    births: u64,
    /// Of a thousand browsers' connections, those that nginx closes first.
    pub(super) web_server_closes: u64,
    /// Long connections that are open.
    pub(super) pool: u64,
    /// How long they are, on average.
    pub(super) pool_stay_ns: u64,
}

impl Plan {
    pub(super) fn of(load: Load) -> Self {
        let connections = load.connections.get() as u64;
        let rate = u64::from(load.rate.get()).saturating_sub(FIXED_RATE).max(1);
        let tenths: u64 = SHARES.iter().map(|(_, share, events)| share * events).sum::<u64>() / 1000;
        let births = rate * 10_000 / tenths;
        let plan = Self { births, web_server_closes: 0, pool: 0, pool_stay_ns: S };
        // At most a third of all in TIME_WAIT.
        let web = plan.births_of(Scene::Web) * 60 / 1000;
        let web_server_closes = (connections * 1000 / 3 / web.max(1)).min(600);
        let time_wait = web * web_server_closes / 1000 + plan.births_of(Scene::Upstream) * 60 / 1000;
        let short: u64 = SHORT_STAYS.iter().map(|(scene, ms)| plan.births_of(*scene) * ms / 1_000_000).sum();
        let pool =
            connections.saturating_sub(time_wait + short + FIXED_CONNECTIONS).max(connections / 10).max(1);
        let pool_stay_ns = pool.saturating_mul(1000 * S) / plan.births_of(Scene::Pool).max(1);
        Self { web_server_closes, pool, pool_stay_ns, ..plan }
    }

    /// Connections of a scene that begin in a thousand seconds.
    pub(super) fn births_of(&self, scene: Scene) -> u64 {
        let share = SHARES.iter().find(|(of, ..)| *of == scene).map_or(0, |(_, share, _)| *share);
        self.births * share / 1000
    }

    /// The mean time between two connections of a scene.
    pub(super) fn pause_ns(&self, scene: Scene) -> u64 {
        scene.pause_ns().unwrap_or_else(|| 1000 * S / self.births_of(scene).max(1))
    }

    /// Connections of a scene that are in TIME_WAIT.
    pub(super) fn time_wait(&self, scene: Scene) -> u64 {
        let share = if scene == Scene::Web { self.web_server_closes } else { 1000 };
        self.births_of(scene) * 60 / 1000 * share / 1000
    }
}
