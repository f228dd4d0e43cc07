//! `hist`: every format.

use tcptrace::{
    model::{KtimeNs, histogram::By},
    output::{
        diagram::{DiagramFormat, DiagramReporter},
        hist::{
            CompareJson, CompareText, Earlier, Hist, HistCsv, HistJson, HistOptions, HistText,
            HistTextOptions, Reporter,
        },
    },
};

use crate::{Result, Shared, script::read};

type MakeReporter = fn(Shared) -> Box<dyn Reporter>;

/// Histograms, diagrams and comparisons of the same events: two intervals and the total, in every format.
#[test]
fn histograms_are_as_reviewed() -> Result<()> {
    let scenario = read(
        "
        started 1.0
        sees minis
        at 1.5      c1 4 0.0.0.0/80   -/-           CLOSE       LISTEN      task=7/nginx netns=4026531840 err=0
        at 2.0      c2 4 127.0.0.1/-  127.0.0.1/80  CLOSE       SYN_SENT    task=10/a\x1b[2J netns=4026531840 err=0
        at 2.00002  c3 4 127.0.0.1/80 127.0.0.1/50001 LISTEN    SYN_RECV    netns=4026531840 err=0
        at 2.00003  c2 4 127.0.0.1/50001 127.0.0.1/80 SYN_SENT  ESTABLISHED netns=4026531840 err=0
        at 2.00004  c3 4 127.0.0.1/80 127.0.0.1/50001 SYN_RECV  ESTABLISHED netns=4026531840 err=0
        at 2.1      c2 4 127.0.0.1/50001 127.0.0.1/80 ESTABLISHED FIN_WAIT1 task=10/a\x1b[2J netns=4026531840 err=0
        at 2.10001  c3 4 127.0.0.1/80 127.0.0.1/50001 ESTABLISHED CLOSE_WAIT netns=4026531840 err=0
        at 2.10002  c2 4 127.0.0.1/50001 127.0.0.1/80 FIN_WAIT1 FIN_WAIT2   netns=4026531840 err=0
        lost 2.12 3
        at 2.15     c3 4 127.0.0.1/80 127.0.0.1/50001 CLOSE_WAIT LAST_ACK   task=7/nginx netns=4026531840 err=0
        at 2.1502   c3 4 127.0.0.1/80 127.0.0.1/50001 LAST_ACK  CLOSE       netns=4026531840 err=0
        at 3.0      c4 4 192.0.2.1/-     192.0.2.2/5432 CLOSE   SYN_SENT    task=10/b netns=4026531840 err=0
        at 3.1      c4 4 192.0.2.1/40000 192.0.2.2/5432 SYN_SENT CLOSE      netns=4026531840 err=111
        at 4.25     c5 4 192.0.2.1/22 192.0.2.9/51000 ESTABLISHED CLOSE     netns=4026531840 err=104
        "
        .replace("\\x1b", "\u{1b}")
        .as_str(),
    )?;
    let formats: [(&str, By, usize, MakeReporter); 7] = [
        ("hist_text", By::Port, 20, |out| {
            Box::new(HistText::new(out, HistTextOptions { width: 100, color: false }))
        }),
        ("hist_text_process", By::Process, 1, |out| {
            Box::new(HistText::new(out, HistTextOptions { width: 60, color: true }))
        }),
        ("hist_json", By::Port, 20, |out| Box::new(HistJson::new(out))),
        ("hist_csv", By::Role, 20, |out| Box::new(HistCsv::new(out, true))),
        ("hist_diagram", By::Port, 20, |out| Box::new(DiagramReporter::new(out, DiagramFormat::Text))),
        ("hist_compare", By::Port, 20, |out| Box::new(CompareText::new(out, earlier()))),
        ("hist_compare_json", By::Port, 20, |out| Box::new(CompareJson::new(out, earlier()))),
    ];
    for (name, by, shown, make) in formats {
        let out = Shared::default();
        let options = HistOptions { by, shown, states: None, has_intervals: true };
        let hist = Hist::new(options, make(out.clone()));
        let (_, mut pipeline) = scenario.play(move |_| Box::new(hist))?;
        pipeline.interval(KtimeNs(5_000_000_000))?;
        pipeline.end(KtimeNs(9_000_000_000), |summary| summary)?;
        let printed = String::from_utf8(out.0.borrow().clone())?;
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, printed);
        });
        assert!(!printed.contains("\u{1b}[2J"), "{name}");
        // A bar as wide as the terminal, and no wider.
        let bars = printed.lines().filter(|line| line.ends_with('|') && line.contains('*'));
        let width = bars.map(|line| line.chars().count()).max();
        match name {
            "hist_text" => assert_eq!(width, Some(100)),
            "hist_text_process" => assert_eq!(width, Some(60)),
            _ => {}
        }
    }
    Ok(())
}

/// What another run might have written.
fn earlier() -> Earlier {
    let text = r#"{"type":"histogram","schema_version":1,"span":"total","seconds":16.0,"by":"port","key":"80","complete":true,"count":9,"transitions":[],"states":[{"state":"ESTABLISHED","count":4,"p50_ns":50000000,"p90_ns":1,"p99_ns":200000000,"p999_ns":1,"max_ns":1,"sum_ns":1,"at_least":{"open":{"count":0,"oldest_ns":null,"oldest_is_at_least":false},"began_unseen":{"count":0,"max_ns":null}},"buckets":[]},{"state":"CLOSING","count":1,"p50_ns":1000,"p90_ns":1,"p99_ns":1000,"p999_ns":1,"max_ns":1,"sum_ns":1,"at_least":{"open":{"count":0,"oldest_ns":null,"oldest_is_at_least":false},"began_unseen":{"count":0,"max_ns":null}},"buckets":[]}],"endings":{"orderly":1,"reset_local":0,"reset_remote":0,"refused":0,"timeout":0,"overflow":0,"unknown":0},"closed_first":{"local":0,"remote":1,"unknown":0}}"#;
    Earlier::read(text, By::Port).expect("is a histogram")
}

/// A file to compare with that is none, or of another key.
#[test]
fn what_cannot_be_compared_is_said() {
    for (text, wanted) in [
        ("", "nothing to compare with"),
        ("{\"type\":\"summary\"}\n", "nothing to compare with"),
        ("not json", "line 1"),
        ("\n{\"type\":\"histogram\"}", "line 2"),
    ] {
        let error = Earlier::read(text, By::Port).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let other = r#"{"type":"histogram","span":"total","seconds":1.0,"by":"role\u001b","key":null,"complete":true,"count":0,"transitions":[],"states":[],"endings":{"orderly":0,"reset_local":0,"reset_remote":0,"refused":0,"timeout":0,"overflow":0,"unknown":0},"closed_first":{"local":0,"remote":0,"unknown":0}}"#;
    let error = Earlier::read(other, By::Port).expect_err("is another key").to_string();
    assert!(error.contains("role\\x1b"), "{error}");
}

/// A key that was summed up with others and came again is shown with a lower bound, and the others with an upper one.
#[test]
fn keys_that_come_again_are_marked() -> Result<()> {
    let mut script = vec!["started 1.0".to_owned()];
    for (i, port) in (1..).zip([1, 2, 3, 4, 5, 6, 7, 1, 1, 1, 1]) {
        script.push(format!("at {i}.5 c{i} 4 192.0.2.1/- 192.0.2.2/{port} CLOSE SYN_SENT netns=1"));
    }
    let scenario = read(&script.join("\n"))?;
    let out = Shared::default();
    let text = HistText::new(out.clone(), HistTextOptions { width: 80, color: false });
    let options = HistOptions { by: By::RemotePort, shown: 1, states: None, has_intervals: false };
    let hist = Hist::new(options, Box::new(text));
    let (_, mut pipeline) = scenario.play(move |_| Box::new(hist))?;
    pipeline.end(KtimeNs(20_000_000_000), |summary| summary)?;
    let printed = String::from_utf8(out.0.borrow().clone())?;
    let titles: Vec<&str> = printed.lines().filter(|line| line.contains(" transitions")).collect();
    assert_eq!(
        titles,
        ["rport 1, 19.0 s: >=4 transitions", "7 other rports, 19.0 s: <=7 transitions"],
        "{printed}"
    );
    Ok(())
}
