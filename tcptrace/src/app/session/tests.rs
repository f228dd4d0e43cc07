//! The loop of a session: nobody in it can keep the others from their turn.

use std::{cell::Cell, io, rc::Rc};

use super::*;
use crate::{model::Limits, output::OnlySummary};

/// What happened.
#[derive(Debug, Default)]
struct Counts {
    begun: Cell<u32>,
    taken: Cell<u32>,
    acted: Cell<u32>,
    dropped: Cell<u32>,
}

fn add(count: &Cell<u32>) {
    count.set(count.get() + 1);
}

/// Events that never stop coming, or never come.
struct Events {
    counts: Rc<Counts>,
    never_stop: bool,
}

impl Feed for Events {
    fn about(&self) -> About {
        About { source: "test".to_owned(), ..About::default() }
    }

    fn tick(&mut self, _: &Pipeline, _: &mut Batch) -> Result<()> {
        Ok(())
    }

    async fn next(&mut self, batch: &mut Batch) -> Result<()> {
        if !self.never_stop {
            std::future::pending::<()>().await;
        }
        batch.missed += 1;
        Ok(())
    }

    fn take(&mut self, _: &mut Pipeline, batch: &mut Batch) -> Result<()> {
        if std::mem::take(&mut batch.missed) > 0 {
            add(&self.counts.taken);
        }
        Ok(())
    }

    async fn finish(self, pipeline: &mut Pipeline, _: &mut Batch, is_hurried: bool) -> Result<Summary> {
        assert!(is_hurried, "somebody waits for the end");
        assert_eq!(self.counts.dropped.get(), 1, "nothing is shown any more");
        Ok(pipeline.end(KtimeNs(1), |summary| summary)?)
    }
}

/// Keys that never stop coming, or a view that draws now and then; ends after so many.
struct View {
    counts: Rc<Counts>,
    pause: Option<Duration>,
    due: Instant,
    left: u32,
}

impl Front for View {
    fn begin(&mut self, about: About) -> Result<()> {
        assert_eq!((about.source.as_str(), self.counts.acted.get()), ("test", 0));
        add(&self.counts.begun);
        Ok(())
    }

    fn ready(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            if self.pause.is_some() {
                tokio::time::sleep_until(self.due).await;
            }
        })
    }

    fn act(&mut self, _: &mut Pipeline, _: KtimeNs) -> Result<bool> {
        add(&self.counts.acted);
        anyhow::ensure!(self.left > 0, "the terminal is gone");
        self.left -= 1;
        self.due = Instant::now() + self.pause.unwrap_or_default();
        Ok(self.left > 0)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        add(&self.counts.dropped);
    }
}

fn run(never_stop: bool, pause: Option<Duration>, left: u32) -> (Result<Ended>, Rc<Counts>) {
    let counts = Rc::new(Counts::default());
    let view = View { counts: Rc::clone(&counts), pause, due: Instant::now(), left };
    let events = Events { counts: Rc::clone(&counts), never_stop };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
    let ended = runtime.block_on(async {
        let sink = Box::new(OnlySummary::new(io::sink()));
        let pipeline =
            Pipeline::begin(KtimeNs(0), Limits::default(), Filter::default(), sink, WallClock::read())?;
        let mut stop = Stop::prepare(true)?;
        stop.after(Some(Duration::from_secs(20)));
        let company = Company { front: Some(Box::new(view)), ..Company::default() };
        trace(events, pipeline, None, stop, company).await
    });
    (ended, counts)
}

#[test]
fn keys_that_never_stop_leave_room_for_events() {
    let (ended, counts) = run(true, None, 100);
    assert!(ended.expect("it ends well").summary.is_some());
    assert_eq!((counts.begun.get(), counts.acted.get()), (1, 100));
    assert!(counts.taken.get() >= 50, "{counts:?}");
}

#[test]
fn events_that_never_stop_leave_room_for_the_view() {
    let (ended, counts) = run(true, Some(Duration::from_millis(5)), 10);
    assert!(ended.is_ok());
    assert_eq!(counts.acted.get(), 10, "{counts:?}");
}

#[test]
fn the_view_goes_on_when_nothing_happens_and_can_fail() {
    let (ended, counts) = run(false, Some(Duration::from_millis(1)), 3);
    assert!(ended.is_ok());
    assert_eq!((counts.acted.get(), counts.taken.get()), (3, 0));
    let (ended, counts) = run(true, None, 0);
    assert!(ended.is_err_and(|error| error.to_string().contains("the terminal is gone")));
    assert_eq!(counts.dropped.get(), 1);
}
