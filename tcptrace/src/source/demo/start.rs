//! What is open already at the start.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
};

use super::{
    Demo, What,
    life::{How, Life, Side, Stage, TIME_WAIT_NS},
    scenes::Scene,
};
use crate::model::{Endpoint, Family, KtimeNs, Sampled, SampledKind, SocketKey, TcpState};

/// Connections that have been forgotten before.
const LEAKED: usize = 30;

impl Demo {
    /// Fills it with what would be there if it had been on for long.
    pub(super) fn populate(&mut self) {
        self.listen();
        for _ in 0..self.plan.pool {
            let mut script = Scene::Pool.script(&mut self.random, &self.plan);
            // What is left of one that is open at any moment, where all lengths up to twice the mean are as frequent.
            let longest = self.plan.pool_stay_ns.saturating_mul(2);
            script.stay_ns = self.random.below(longest).min(self.random.below(longest));
            if let Some((place, mut life)) = self.life(&script) {
                life.next = Stage::Close;
                self.agenda.add(self.started.0 + script.stay_ns, What::Step(place));
                self.find(place, life);
            }
        }
        for scene in [Scene::Web, Scene::Upstream] {
            for _ in 0..self.plan.time_wait(scene) {
                self.add_time_wait(scene);
            }
        }
        for _ in 0..LEAKED {
            let script = Scene::Leak.script(&mut self.random, &self.plan);
            if let Some((place, mut life)) = self.life(&script) {
                life.next = Stage::Leaked;
                self.leaked.push(place);
                self.find(place, life);
            }
        }
    }

    fn add_time_wait(&mut self, scene: Scene) {
        let mut script = scene.script(&mut self.random, &self.plan);
        script.ending.by = if scene == Scene::Web { Side::Server } else { script.ending.by };
        script.ending.how = How::Fin;
        if let Some((place, mut life)) = self.life(&script) {
            life.next = Stage::TimeWaitExpires;
            life.entered = KtimeNs(self.started.0.saturating_sub(self.random.below(TIME_WAIT_NS)));
            self.agenda.add(life.entered.0 + TIME_WAIT_NS, What::Step(place));
            self.find(place, life);
        }
    }

    /// A look at the start finds it.
    fn find(&mut self, place: u32, life: Life) {
        for (side, end, state) in life.states() {
            let Some(process) = self.cast.at(end.process) else { continue };
            let is_time_wait = state == TcpState::TimeWait;
            let [local, remote] =
                life.ends(side).map(|(addr, port)| Endpoint { addr: Some(addr), port: Some(port) });
            self.before.0.push(Sampled {
                key: end.key(),
                family: end.family,
                local,
                remote,
                state,
                kind: if is_time_wait { SampledKind::TimeWait } else { SampledKind::Full },
                netns: process.netns,
                uid: (!is_time_wait).then_some(process.uid),
                entered: is_time_wait.then_some(life.entered),
            });
            if !is_time_wait {
                self.before.1.push((end.key(), process.task));
            }
        }
        self.put(place, life);
    }

    fn listen(&mut self) {
        for process in self.cast.listeners() {
            self.cookies += 1;
            let Some(cookie) = NonZeroU64::new(self.cookies) else { continue };
            let addr = match process.family {
                Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let key = SocketKey::from_cookie(cookie);
            self.before.0.push(Sampled {
                key,
                family: process.family,
                local: Endpoint { addr: Some(addr), port: process.port },
                remote: Endpoint { addr: Some(addr), port: None },
                state: TcpState::Listen,
                kind: SampledKind::Full,
                netns: process.netns,
                uid: Some(process.uid),
                entered: None,
            });
            self.before.1.push((key, process.task));
        }
    }
}
