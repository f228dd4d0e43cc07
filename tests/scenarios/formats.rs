//! `watch`: every format.

use tcptrace::{
    model::KtimeNs,
    output::{Csv, Json, Sink, Text, TextOptions},
};

use crate::{Result, script::read};

/// Every format on the same events: a hostile name, a loss, a lower bound, an end with a cause.
#[test]
fn formats_are_as_reviewed() -> Result<()> {
    let input = "
        started 1.0
        at 1.5 c1 4 0.0.0.0/80 -/- CLOSE LISTEN task=7/nginx uid=33 netns=4026531840 err=0
        at 2.0 c2 6 2001:db8::1/- 2001:db8::2/443 CLOSE SYN_SENT task=10/a,\"b\"\x1b[2J uid=1000 netns=4026531840 err=0
        at 2.1 c2 6 2001:db8::1/50001 2001:db8::2/443 SYN_SENT CLOSE uid=1000 netns=4026531840 err=111
        lost 3.0 12
        at 4.25 c3 6 192.0.2.1/22 192.0.2.9/51000 ESTABLISHED CLOSE_WAIT uid=0 netns=4026531840 err=0
        at 5.0 a99 4 192.0.2.1/22 -/- LISTEN SYN_RECV
    "
    .replace("\\x1b", "\u{1b}");
    let scenario = read(&input)?;
    let text = |header, color, wide, wall_clock| {
        move |out| Box::new(Text::new(out, TextOptions { header, color, wide, wall_clock })) as Box<dyn Sink>
    };
    let utc = || Some(jiff::tz::TimeZone::UTC);
    for (name, (printed, mut pipeline)) in [
        ("text", scenario.play(text(true, false, false, None))?),
        ("text_wide_wall_clock", scenario.play(text(true, false, true, utc()))?),
        ("text_color_no_header", scenario.play(text(false, true, false, None))?),
        ("json", scenario.play(|out| Box::new(Json::new(out)))?),
        ("csv", scenario.play(|out| Box::new(Csv::new(out, true)))?),
        ("csv_no_header", scenario.play(|out| Box::new(Csv::new(out, false)))?),
    ] {
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, printed);
        });
        let control = printed
            .chars()
            .find(|c| c.is_control() && *c != '\n' && (*c != '\u{1b}' || !name.contains("color")));
        assert_eq!(control, None, "{name}");
        if name == "text" {
            let summary = pipeline.end(KtimeNs(9_000_000_000), |summary| summary)?;
            let both = format!("{summary}\n{}", serde_json::to_string_pretty(&summary)?);
            insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!("summary", both);
            });
        }
    }
    Ok(())
}
