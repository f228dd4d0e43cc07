//! A program of the bench object, attached, its ring read as tcptrace reads its own.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Btf, EbpfLoader,
    maps::{MapData, PerCpuArray, RingBuf},
    programs::BtfTracePoint,
};
use serde_json::json;
use tcptrace::source::poll;
use tokio::io::{AsyncReadExt as _, Interest};

/// As in `source/live/ring.rs`.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) fn run(object: &Path, program: &str) -> Result<()> {
    let bytes = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    let mut ebpf = EbpfLoader::new().btf(None).load(&bytes).context("cannot load the bench object")?;
    let btf = Btf::from_sys_fs().context("the kernel has no BTF")?;
    let typed: &mut BtfTracePoint =
        ebpf.program_mut(program).context("there is no such program")?.try_into()?;
    typed.load("inet_sock_set_state", &btf)?;
    typed.attach()?;
    let ring = RingBuf::try_from(ebpf.take_map("EVENTS").context("no ring")?)?;
    let lost = PerCpuArray::<MapData, u64>::try_from(ebpf.take_map("LOST").context("no counter")?)?;
    let read = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(read(ring))?;
    let lost: u64 = lost.get(&0, 0)?.iter().sum();
    println!("{}", json!({ "records": read, "lost": lost }));
    Ok(())
}

async fn read(ring: RingBuf<MapData>) -> Result<u64> {
    let mut ring = poll::register(ring, Interest::READABLE)?;
    let mut stdin = tokio::io::stdin();
    println!("ready");
    let mut records = 0;
    let mut is_busy = false;
    let mut byte = [0];
    let mut end = std::pin::pin!(stdin.read(&mut byte));
    loop {
        let before = records;
        while ring.get_mut().next().is_some() {
            records += 1;
        }
        if records != before {
            is_busy = true;
        } else if is_busy {
            is_busy = false;
            tokio::time::sleep(PAUSE).await;
        } else {
            tokio::select! {
                _ = &mut end => return Ok(records),
                guard = ring.readable_mut() => guard?.clear_ready(),
            }
        }
    }
}
