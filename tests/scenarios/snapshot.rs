//! `snapshot`: every format.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use rustc_hash::FxHashMap;
use tcptrace::{
    model::{
        Endpoint, SampledKind, Task, TcpState,
        snapshot::{By, Key, Seen, Snapshot},
    },
    output::snapshot::{
        Comparison, SnapshotReport, write_comparison, write_csv, write_json, write_json_comparison,
        write_text,
    },
};

use crate::{Result, script::process};

/// 2026-11-21T00:00:00Z
const NOW: i128 = 1_795_219_200_000_000_000;

fn seen(state: TcpState, (local, remote): (u16, u16), owner: Option<Task>) -> Seen {
    let is_listener = state == TcpState::Listen;
    let endpoint = |addr: &str, port| Endpoint { addr: addr.parse().ok(), port: NonZeroU16::new(port) };
    Seen {
        netns: NonZeroU32::MIN,
        local: endpoint(if is_listener { "" } else { "192.0.2.1" }, local),
        remote: endpoint(if is_listener { "" } else { "2001:db8::9" }, remote),
        state,
        kind: SampledKind::Full,
        age_ns: None,
        idle_ns: None,
        rqueue: 0,
        wqueue: 0,
        owner,
        is_unheld: owner.is_none(),
        cgroup: owner.is_some().then_some(NonZeroU64::MIN),
    }
}

/// A server, its connections, a hostile name, one whose holder is not seen.
fn sockets() -> Result<Vec<Seen>> {
    let (nginx, hostile) = (process("7", "nginx")?, process("10", "a,\u{1b}[2J\"")?);
    Ok(vec![
        Seen { rqueue: 129, wqueue: 128, ..seen(TcpState::Listen, (80, 0), Some(nginx)) },
        Seen { rqueue: 5, wqueue: 9, ..seen(TcpState::Established, (80, 50_001), Some(nginx)) },
        Seen { idle_ns: Some(7_204_000_000_000), ..seen(TcpState::CloseWait, (80, 50_002), Some(nginx)) },
        Seen { age_ns: Some(59_004_000_000), ..seen(TcpState::TimeWait, (80, 50_003), None) },
        Seen { age_ns: None, ..seen(TcpState::TimeWait, (80, 50_004), None) },
        seen(TcpState::SynSent, (50_005, 5432), Some(hostile)),
        Seen { is_unheld: false, ..seen(TcpState::Established, (50_006, 5432), None) },
    ])
}

fn report(by: By, sockets: &[Seen], shown: usize) -> SnapshotReport {
    let snapshot = Snapshot::new(by, sockets);
    let names =
        FxHashMap::from_iter([(Key::Cgroup(Some(NonZeroU64::MIN)), "/system.slice/a.service".into())]);
    SnapshotReport {
        took_s: 0.0125,
        namespaces: 2,
        missing: vec!["the descriptors of 3 processes of other users (run it with sudo)".into()],
        ..SnapshotReport::new(&snapshot, &names, shown)
    }
}

#[test]
fn snapshots_are_as_reviewed() -> Result<()> {
    let sockets = sockets()?;
    let mut printed: Vec<(String, Vec<u8>)> = Vec::new();
    for by in [By::State, By::Port, By::Process, By::Peer, By::Cgroup] {
        let mut text = Vec::new();
        write_text(&mut text, &report(by, &sockets, 20))?;
        printed.push((format!("snapshot_{}", by.name()), text));
    }
    let (mut json, mut csv) = (Vec::new(), Vec::new());
    write_json(&mut json, NOW, &report(By::Process, &sockets, 1))?;
    write_csv(&mut csv, &report(By::Process, &sockets, 20), true)?;
    // Then there were fewer, and a key that is gone; of ports that were not shown nothing is known.
    let before = [&sockets[..3], &[seen(TcpState::FinWait2, (50_007, 6379), None)]].concat();
    let (now, before) = (report(By::Port, &sockets, 20), report(By::Port, &before, 20));
    let (mut compared, mut compared_json) = (Vec::new(), Vec::new());
    write_comparison(&mut compared, &Comparison::new(&now, &before))?;
    write_json_comparison(&mut compared_json, NOW, &Comparison::new(&now, &before))?;
    let mut partly = Vec::new();
    write_comparison(&mut partly, &Comparison::new(&now, &report(By::Port, &sockets, 1)))?;
    printed.extend([
        ("snapshot_json".to_owned(), json.clone()),
        ("snapshot_csv".to_owned(), csv),
        ("snapshot_compare".to_owned(), compared),
        ("snapshot_compare_json".to_owned(), compared_json),
        ("snapshot_compare_partly".to_owned(), partly),
    ]);
    for (name, printed) in printed {
        let printed = String::from_utf8(printed)?;
        assert!(!printed.contains('\u{1b}'), "{name}");
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, printed);
        });
    }
    let again = SnapshotReport::read(std::str::from_utf8(&json)?, By::Process)?;
    assert_eq!(again.all.total, 7);
    Ok(())
}

/// A file to compare with that is none, or of another key.
#[test]
fn what_cannot_be_compared_is_said() -> Result<()> {
    let mut json = Vec::new();
    write_json(&mut json, NOW, &report(By::Port, &sockets()?, 20))?;
    let json = String::from_utf8(json)?;
    for (text, wanted) in
        [("\n \n", "nothing to compare with"), ("\nnot json\n", "line 2"), (json.as_str(), "say --by port")]
    {
        let error = SnapshotReport::read(text, By::State).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    Ok(())
}
