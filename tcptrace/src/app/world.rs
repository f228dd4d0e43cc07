//! The world of the full-screen view: what is gathered of a session, and when walks over the table are made.

use std::{
    cell::{Ref, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use super::{pipeline::Pipeline, rows::Entry};
use crate::{
    model::{Filter, KtimeNs, Owner, SocketKey},
    output::{
        Moment, Names, Sink,
        tui::{
            data::{Data, DataOptions, DataSink, Outside},
            world::{About, Arrow, Found, Kind, Overview, PortRow, ProcessRow, Row, World},
        },
    },
    source::clock,
};

/// A walk that counts is followed by a pause of so many times its own length: 0.2 % of a processor at most.
const WALK_PAUSE: u64 = 500;

/// And one that looks for findings: 0.4 %.
const LOOK_PAUSE: u64 = 250;

/// A look goes through so many places of the table at a time, so that a key never waits for all of it.
const LOOK_PART: usize = 8_000;

/// What is between two parts of it: other work.
const LOOK_REST_NS: u64 = 10_000_000;

/// And of so long at least.
const PAUSE_NS: u64 = 1_000_000_000;

/// Our own share of a processor is that of so many seconds.
const CPU_SECONDS: usize = 5;

/// When a walk may be made again.
#[derive(Clone, Copy, Debug)]
struct Pace(KtimeNs);

impl Pace {
    fn is_due(self, now: KtimeNs) -> bool {
        now >= self.0
    }

    /// One that was made at `now` has taken so many nanoseconds.
    fn done(&mut self, now: KtimeNs, took: u64, factor: u64) {
        let pause = took.saturating_mul(factor).max(PAUSE_NS);
        self.0 = KtimeNs(now.0.saturating_add(took).saturating_add(pause));
    }
}

/// What a walk has gone through.
#[derive(Clone, Copy, Debug, Default)]
struct Walked {
    /// Rows.
    rows: usize,
    /// What was in the table, asked for or not, and counted twice where it was there twice.
    in_table: usize,
}

/// Gathers what the view shows.
pub(super) struct Gathering {
    data: Rc<RefCell<Data>>,
    /// The walk that counts.
    walking: Pace,
    /// The walk that looks for what is wrong.
    looking: Pace,
    /// The look that is under way: where it goes on, and how long it has taken so far.
    look: Option<(usize, u64)>,
    /// What the last walk has gone through.
    walked: Walked,
    /// CPU time that was used by some moments, the oldest first.
    cpu: VecDeque<(KtimeNs, f64)>,
    /// When something is due next.
    due: KtimeNs,
}

impl Gathering {
    /// Begins, with what is to be given to the pipeline.
    pub(super) fn begin(options: DataOptions) -> (Self, Box<dyn Sink>) {
        let data = Rc::new(RefCell::new(Data::new(options)));
        let sink = DataSink::new(Rc::clone(&data));
        let gathering = Self {
            data,
            walking: Pace(KtimeNs(0)),
            looking: Pace(KtimeNs(0)),
            look: None,
            walked: Walked::default(),
            cpu: VecDeque::new(),
            due: KtimeNs(0),
        };
        (gathering, Box::new(sink))
    }

    /// Sets where it comes from.
    pub(super) fn set_about(&mut self, about: About) {
        self.data.borrow_mut().set_about(about);
    }

    /// Does what is due: closes seconds, walks over the table, looks for what is wrong. Returns whether anything that is shown is new.
    pub(super) fn refresh(&mut self, pipeline: &mut Pipeline, now: KtimeNs) -> bool {
        pipeline.naming.get_mut().begin();
        let at = pipeline.moment(now);
        let mut is_new = false;
        if self.looking.0 == KtimeNs(0) {
            // What was open before the start is not known at once.
            self.looking.0 = KtimeNs(now.0.saturating_add(PAUSE_NS));
        }
        // A second that is over ends with the counts that are known by then.
        if self.walking.is_due(now) {
            self.walk(pipeline, now);
            is_new = true;
        }
        if self.look.is_some() || self.looking.is_due(now) {
            is_new |= self.look(pipeline, at);
        }
        let mut data = self.data.borrow_mut();
        if now >= data.next_second() {
            self.cpu.push_back((clock::now(), clock::own_cpu_seconds()));
            if self.cpu.len() > CPU_SECONDS + 1 {
                self.cpu.pop_front();
            }
        }
        let outside = Outside {
            counters: *pipeline.table().counters(),
            held: pipeline.has_no_filter().then(|| pipeline.table().held().len() as u64),
            syncookies: pipeline.syncookies,
            own_cpu: own_cpu(&self.cpu),
        };
        is_new |= data.refresh(at, &outside);
        let looking = match self.look {
            None => self.looking.0,
            Some(_) => KtimeNs(now.0.saturating_add(LOOK_REST_NS)),
        };
        self.due = data.next_second().min(self.walking.0).min(looking);
        is_new
    }

    /// When [`Self::refresh`] wants to be called next; what has changed is new at any time.
    pub(super) const fn due(&self) -> KtimeNs {
        self.due
    }

    /// What is known now.
    pub(super) fn present<'a>(&'a self, pipeline: &'a Pipeline, now: KtimeNs) -> Present<'a> {
        Present { data: self.data.borrow(), walked: self.walked, pipeline, now }
    }

    fn walk(&mut self, pipeline: &Pipeline, now: KtimeNs) {
        let began = clock::now();
        let table = pipeline.table();
        let mut rows = 0;
        self.data.borrow_mut().walk(
            now,
            |tell| {
                pipeline.each_entry(|entry| {
                    rows += usize::from(!entry.is_beside);
                    if entry.kind != Kind::Closed {
                        let number = table.owner_number(entry.connection);
                        let owner = number.zip(table.owner_of(entry.connection));
                        tell(entry.kind == Kind::Held, entry.connection, owner);
                    }
                });
            },
            &mut |owner: &Owner| pipeline.cgroup_of(Some(owner)),
        );
        self.walked = Walked { rows, in_table: in_table(pipeline) };
        self.walking.done(now, clock::now().since(began).unwrap_or(0), WALK_PAUSE);
    }

    /// Goes on with a look, or begins one. Returns whether it is over.
    fn look(&mut self, pipeline: &Pipeline, at: Moment) -> bool {
        let began = clock::now();
        let (start, took) = self.look.take().unwrap_or_default();
        let mut data = self.data.borrow_mut();
        let table = pipeline.table();
        let nameless = Names::default();
        let mut tell = |entry: Entry<'_>| {
            let owner = table.owner_of(entry.connection);
            let mut names = None;
            if data.wants_names(entry.connection, owner.as_ref()) {
                names = Some(pipeline.names(entry.connection, owner.as_ref()));
            }
            let names = names.as_ref().unwrap_or(&nameless);
            match entry.held {
                Some(held) => data.held(at, entry.key, held, owner.as_ref(), names),
                None => data.open(at, entry.key, entry.connection, owner.as_ref(), names),
            }
        };
        let next = pipeline.each_open(start, LOOK_PART, &mut tell);
        if let Some(next) = next {
            self.look = Some((next, took + clock::now().since(began).unwrap_or(0)));
            return false;
        }
        pipeline.each_held(&mut tell);
        let sees = table.sees();
        data.look(at, table.counters().lost, sees.minis || sees.samples);
        let took = took + clock::now().since(began).unwrap_or(0);
        self.looking.done(at.ktime, took, LOOK_PAUSE);
        true
    }
}

fn in_table(pipeline: &Pipeline) -> usize {
    pipeline.table().len() + pipeline.table().held().len()
}

/// The share of one processor between the first and the last of some moments.
fn own_cpu(cpu: &VecDeque<(KtimeNs, f64)>) -> Option<f64> {
    let ((from, before), (to, after)) = (cpu.front()?, cpu.back()?);
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let elapsed = to.since(*from).filter(|elapsed| *elapsed > 0)? as f64 / 1e9;
    Some((after - before) / elapsed)
}

/// What is known at one moment.
pub(super) struct Present<'a> {
    data: Ref<'a, Data>,
    walked: Walked,
    pipeline: &'a Pipeline,
    now: KtimeNs,
}

impl World for Present<'_> {
    fn now(&self) -> Moment {
        self.pipeline.moment(self.now)
    }

    fn about(&self) -> &About {
        self.data.about()
    }

    fn overview(&self) -> &Overview {
        self.data.overview()
    }

    fn ports(&self) -> &[PortRow] {
        self.data.ports()
    }

    fn processes(&self) -> &[ProcessRow] {
        self.data.processes()
    }

    fn left_out(&self) -> (usize, usize) {
        self.data.left_out()
    }

    fn walked(&self) -> Option<KtimeNs> {
        self.data.walked()
    }

    fn arrows(&self) -> &[Arrow] {
        self.data.arrows()
    }

    fn found(&self) -> &Found {
        self.data.found()
    }

    fn len(&self) -> usize {
        let Walked { rows, in_table: then } = self.walked;
        if !self.pipeline.has_no_filter() {
            return rows;
        }
        (rows + in_table(self.pipeline)).saturating_sub(then)
    }

    fn each(&self, filter: &Filter, visit: &mut dyn FnMut(Row)) {
        self.pipeline.each_row(filter, visit);
    }

    fn row(&self, key: SocketKey) -> Option<Row> {
        self.pipeline.row(key)
    }

    fn names(&self, row: &Row) -> Names {
        self.pipeline.names(&row.connection, row.owner.as_ref())
    }

    fn stack(&self, key: SocketKey) -> Option<Vec<String>> {
        self.pipeline.stack(key)
    }
}

#[cfg(test)]
mod tests;
