//! What tcptrace does at its start about connections that are open: reads them all and takes them into its table.

use std::{sync::mpsc::channel, time::Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use tcptrace::{
    model::{Limits, Sampled, Table},
    source::{
        clock,
        diag::{DiagRequest, DiagSocket, DiagWorker, Scope, StateMask},
    },
};

use crate::nanos;

pub(crate) fn run() -> Result<()> {
    let (sender, replies) = channel();
    let worker = DiagWorker::start(Box::new(move |reply| drop(sender.send(reply))))?;
    let mut table = Table::new(clock::now(), Limits::default());
    let start = Instant::now();
    worker
        .request(DiagRequest {
            tag: 0,
            states: StateMask::ALL,
            with_times: false,
            with_counters: true,
            with_settings: false,
            with_holders: false,
            scope: Scope::All,
            lookups: Vec::new(),
        })
        .map_err(|reason| anyhow!("not asked: {reason}"))?;
    let reply = replies.recv().context("no answer")?;
    let read = start.elapsed();
    let sampled: Vec<Sampled> = reply.sockets.iter().filter_map(DiagSocket::sampled).collect();
    table.seed(&sampled);
    let took = start.elapsed();
    println!("{}", json!({ "sockets": table.len(), "read_ns": nanos(read), "total_ns": nanos(took) }));
    Ok(())
}
