//! Synthetic connections: what a kernel would report of the programs of a host that there is not. The same each time.

mod agenda;
mod cast;
mod life;
mod plan;
mod random;
mod scenes;
mod start;
mod tell;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU64},
};

use self::{
    agenda::Agenda,
    cast::{Cast, Who},
    life::{Life, Stage},
    plan::Plan,
    random::Random,
    scenes::{Place, Scene, Script},
    tell::{End, Teller},
};
pub use self::{
    cast::{cgroups, namespaces},
    plan::Load,
};
use super::Batch;
use crate::model::{
    Family, KtimeNs, Lost, LostAt, ResetReason, Sampled, Sees, SocketKey, Task, findings::host::Host,
};

const S: u64 = 1_000_000_000;

/// `ip_local_port_range` as it is by default.
const FIRST_PORT: u16 = 32_768;
const PORTS: u32 = 28_232;

/// No records are lost before.
const FIRST_LOSS_NS: u64 = 25 * S;

/// Between two losses, on average and after a while in any case.
const LOSS_NS: u64 = 45 * S;

/// The leaking service is started again so often, and soon after the start for the first time.
const RESTART_NS: u64 = 600 * S;
const FIRST_RESTART_NS: u64 = 480 * S;

/// Places that are free, and their ports, are left alone for a while.
const RESTING: usize = 1024;

/// Before that it takes no more orders, and all that are under way are done.
const DONE_NS: u64 = 17 * S;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The connection at this place makes its next step.
    Step(u32),
    /// Another connection begins.
    Begin(Scene),
    /// Records are lost.
    Loss,
    /// The leaking service is started again.
    Restart,
}

/// The host that there is not.
#[derive(Debug)]
pub struct Demo {
    plan: Plan,
    random: Random,
    cast: Cast,
    agenda: Agenda<What>,
    /// By place, which also decides about ports, so that no two open ones are alike.
    lives: Vec<Option<Life>>,
    /// Places that are free, the one that has been so for longest first.
    free: VecDeque<u32>,
    /// Connections that wait for the restart.
    leaked: Vec<u32>,
    restart_at: u64,
    cookies: u64,
    started: KtimeNs,
    /// The moment of the last event.
    last: u64,
    reset_reason: Option<ResetReason>,
    /// What was open before.
    before: (Vec<Sampled>, Vec<(SocketKey, Task)>),
}

impl Demo {
    /// A host that is busy already at `started`.
    pub fn new(load: Load, seed: u64, started: KtimeNs) -> Self {
        let mut demo = Self {
            plan: Plan::of(load),
            random: Random::new(seed),
            cast: Cast::new(),
            agenda: Agenda::new(),
            lives: Vec::new(),
            free: VecDeque::new(),
            leaked: Vec::new(),
            restart_at: started.0 + FIRST_RESTART_NS,
            cookies: 0x1000,
            started,
            last: started.0,
            reset_reason: tell::reset_reason(),
            before: Default::default(),
        };
        demo.populate();
        for scene in Scene::ALL {
            let pause = demo.random.pause(demo.plan.pause_ns(scene));
            demo.agenda.add(started.0 + pause, What::Begin(scene));
        }
        demo.agenda.add(started.0 + FIRST_LOSS_NS, What::Loss);
        demo.agenda.add(demo.restart_at, What::Restart);
        demo
    }

    /// What of it can be seen.
    pub const fn sees() -> Sees {
        Sees { minis: true, samples: false, resets: true, destruction: true, tables: false }
    }

    /// What was open before the start, and who holds it. Told once.
    pub fn before(&mut self) -> (Vec<Sampled>, Vec<(SocketKey, Task)>) {
        std::mem::take(&mut self.before)
    }

    /// All that has happened until `now`.
    pub fn until(&mut self, now: KtimeNs, batch: &mut Batch) {
        while let Some((at, what)) = self.agenda.take(now.0) {
            match what {
                What::Step(place) => self.step(place, at, batch),
                What::Begin(scene) => {
                    if scene != Scene::Leak || at + DONE_NS < self.restart_at {
                        self.begin(scene, at, batch);
                    }
                    let pause = self.random.pause(self.plan.pause_ns(scene));
                    self.agenda.add(at + pause, What::Begin(scene));
                }
                What::Loss => {
                    let count = 1 + self.random.below(9);
                    let noticed = KtimeNs(at.max(self.last));
                    batch.lost.push(Lost { noticed, count, at: LostAt::Ring });
                    let pause = self.random.pause(LOSS_NS);
                    self.agenda.add(at + LOSS_NS + pause, What::Loss);
                }
                What::Restart => self.restart(at),
            }
        }
        batch.taken = batch.taken.max(now).max(KtimeNs(self.last));
    }

    /// What a look at the host shows besides connections.
    pub fn host(&self, now: KtimeNs) -> Host {
        self.cast.host(now, self.leaked.len() as u64)
    }

    /// Another connection of a scene begins.
    fn begin(&mut self, scene: Scene, at: u64, batch: &mut Batch) {
        let script = scene.script(&mut self.random, &self.plan);
        if let Some((place, life)) = self.life(&script) {
            self.put(place, life);
            self.step(place, at, batch);
        }
    }

    /// The connection at a place makes its next step.
    fn step(&mut self, place: u32, at: u64, batch: &mut Batch) {
        let Some(life) = index(place).and_then(|index| self.lives.get_mut(index)?.as_mut()) else { return };
        let mut teller = Teller {
            cast: &self.cast,
            events: &mut batch.events,
            last: &mut self.last,
            reset_reason: self.reset_reason,
        };
        match life.step(at, &mut teller) {
            Some(wait) => self.agenda.add(at + wait, What::Step(place)),
            None if life.next == Stage::Leaked => self.leaked.push(place),
            None => self.remove(place),
        }
    }

    /// All that it has forgotten is closed when its process ends.
    fn restart(&mut self, at: u64) {
        for place in std::mem::take(&mut self.leaked) {
            if let Some(life) = index(place).and_then(|index| self.lives.get_mut(index)?.as_mut()) {
                life.next = Stage::OtherCloses;
                self.agenda.add(at + self.random.below(40_000_000), What::Step(place));
            }
        }
        self.cast.restart(Who::Orders, KtimeNs(at));
        self.restart_at = at + RESTART_NS;
        self.agenda.add(self.restart_at, What::Restart);
    }

    /// A connection that is about to begin, and a place for it.
    fn life(&mut self, script: &Script) -> Option<(u32, Life)> {
        let rested = if self.free.len() > RESTING { self.free.pop_front() } else { None };
        let place = if let Some(place) = rested {
            place
        } else {
            self.lives.push(None);
            u32::try_from(self.lives.len() - 1).ok()?
        };
        let (client_addr, mut client) = self.end(script.client, place, 0)?;
        // Of connections from the same host those with the same port lead to different ones.
        let shift = if client.is_some() { block(place) } else { 0 };
        let (server_addr, mut server) = self.end(script.server, place, shift)?;
        // Whatever it listens with, it connects with what the address is.
        if let Some(client) = &mut client {
            client.family = Family::V4;
        }
        if client_addr.is_ipv6()
            && let Some(server) = &mut server
        {
            server.family = Family::V6;
        }
        let server_addr = match (client_addr, server_addr) {
            (IpAddr::V6(_), IpAddr::V4(addr)) => {
                let [a, b, c, d] = addr.octets().map(u16::from);
                IpAddr::V6(Ipv6Addr::new(0xfd00, a, b, c, 0, 0, 0, d))
            }
            (_, addr) => addr,
        };
        let next = if client.is_some() { Stage::Connect } else { Stage::SynArrives };
        let life = Life {
            client,
            server,
            client_at: (client_addr, port(place)?),
            server_at: (server_addr, NonZeroU16::new(script.port)?),
            opening: script.opening,
            ending: script.ending,
            next,
            stay_ns: script.stay_ns,
            linger_ns: script.linger_ns,
            rtt_ns: script.rtt_ns,
            entered: KtimeNs(0),
        };
        Some((place, life))
    }

    /// The address of an end, and the end, if it is on this host.
    fn end(&mut self, at: Place, place: u32, shift: u8) -> Option<(IpAddr, Option<End>)> {
        let block = block(place);
        let host = u8::try_from(1 + self.random.below(254)).unwrap_or(1);
        Some(match at {
            Place::Here(who) => {
                let count = self.cast.places(who).count() as u64;
                let chosen = usize::try_from(self.random.below(count)).ok()?;
                let process = self.cast.places(who).nth(chosen)?;
                let (addr, family) = self.cast.at(process).map(|process| (process.addr, process.family))?;
                self.cookies += 1;
                let cookie = NonZeroU64::new(self.cookies)?;
                (shifted(addr, shift), Some(End { cookie, process, family }))
            }
            Place::At(addr) => (shifted(addr, shift), None),
            // Addresses for documentation and for tests: nobody's.
            Place::Far if block == 0 => {
                let nets = [[203, 0, 113], [198, 51, 100], [192, 0, 2]];
                let [a, b, c] = nets[usize::from(host) % nets.len()];
                (Ipv4Addr::new(a, b, c, host).into(), None)
            }
            Place::Far => (Ipv4Addr::new(198, 18, block, host).into(), None),
            Place::FarV6 => {
                let net = 0x0a00 | u16::from(block);
                (Ipv6Addr::new(0x2001, 0xdb8, net, host.into(), 0, 0, 0, 0x10).into(), None)
            }
            Place::Near => (Ipv4Addr::new(10, 1, block, 10 + host % 24).into(), None),
        })
    }

    fn put(&mut self, place: u32, life: Life) {
        if let Some(slot) = index(place).and_then(|index| self.lives.get_mut(index)) {
            *slot = Some(life);
        }
    }

    fn remove(&mut self, place: u32) {
        if let Some(slot) = index(place).and_then(|index| self.lives.get_mut(index)) {
            *slot = None;
        }
        self.free.push_back(place);
    }
}

fn index(place: u32) -> Option<usize> {
    usize::try_from(place).ok()
}

/// Places whose ports are all different.
fn block(place: u32) -> u8 {
    u8::try_from(place / PORTS).unwrap_or(u8::MAX)
}

/// Neighbours have ports that are far from each other.
fn port(place: u32) -> Option<NonZeroU16> {
    let number = u64::from(place) * 7919 % u64::from(PORTS);
    NonZeroU16::new(FIRST_PORT + u16::try_from(number).ok()?)
}

/// The address of a host so many networks further.
fn shifted(addr: IpAddr, by: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            Ipv4Addr::new(a, b, c.wrapping_add(by), d).into()
        }
        IpAddr::V6(_) => addr,
    }
}

#[cfg(test)]
mod tests;
