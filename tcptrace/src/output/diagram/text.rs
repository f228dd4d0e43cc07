//! For terminals of 80 columns, in ASCII.

use std::fmt::Write as _;

use super::{Diagram, USUAL};
use crate::model::TcpState;

/// `@` and two letters: the place of an arrow's label, which is written over the blanks that follow.
const PICTURE: &str = "
                             +-------------+
                  +----------|    CLOSE    |----------+
                  | listen   +-------------+          | connect
                  | @cl                               | @cs
                  v                                   v
           +-------------+                     +-------------+
           |   LISTEN    |                     |  SYN_SENT   |
           +-------------+                     +-------------+
                  | SYN                            |     |
                  | @lr      +---------------------+     | SYN, ACK
                  v          | both open @sr             | @se
           +-------------+   |                           |
           |  SYN_RECV   |<--+                           |
           +-------------+                               |
                  | ACK                                  |
                  | @re                                  |
                  |          +-------------+             |
                  +--------->| ESTABLISHED |<------------+
                             +-------------+
          we close            |           |            the peer closes
          @ef                 |           |            @ec
                  +-----------+           +-----------+
                  v                                   v
           +-------------+                     +-------------+
  +--------|  FIN_WAIT1  |--------+            | CLOSE_WAIT  |
  |        +-------------+        |            +-------------+
  | FIN, ACK      | our FIN       | both close        | we close
  | @tt           | is ACKed      | @fc               | @wl
  |               | @ff           v                   v
  |               v         +-----------+      +-------------+
  |        +-------------+  |  CLOSING  |      |  LAST_ACK   |
  |        |  FIN_WAIT2  |  +-----------+      +-------------+
  |        +-------------+        |                   | our FIN
  |               | FIN           | our FIN is ACKed  | is ACKed
  |               | @ft           | @ct               | @lc
  v               v               v                   |
  +-------------------------------------+             |
  |              TIME_WAIT              |             |
  +-------------------------------------+             |
                  | 60 s are over, or reused          |
                  | @tc                               |
                  v                                   v
           +-----------------------------------------------+
           |                     CLOSE                     |
           +-----------------------------------------------+
";

/// Which arrow a place is for.
const PLACES: [(&str, (TcpState, TcpState)); 16] = [
    ("cl", USUAL[0]),
    ("cs", USUAL[1]),
    ("lr", USUAL[2]),
    ("sr", USUAL[3]),
    ("se", USUAL[4]),
    ("re", USUAL[5]),
    ("ef", USUAL[6]),
    ("ec", USUAL[7]),
    ("ff", USUAL[8]),
    ("fc", USUAL[9]),
    ("tt", USUAL[10]),
    ("ft", USUAL[11]),
    ("ct", USUAL[12]),
    ("tc", USUAL[13]),
    ("wl", USUAL[14]),
    ("lc", USUAL[15]),
];

/// The picture with what `label` says on each arrow.
pub(super) fn picture(label: impl Fn(TcpState, TcpState) -> String) -> String {
    let lines = PICTURE.lines().skip(1).map(|line| with_labels(line, &label).trim_end().to_owned() + "\n");
    lines.collect()
}

pub(super) fn draw(diagram: &Diagram) -> String {
    let mut text = diagram.title() + "\n\n";
    text.push_str(&picture(|from, to| diagram.arrow(from, to).label()));
    let others = diagram.others(&USUAL);
    if !others.is_empty() {
        text.push_str("\nNot on an arrow (resets, refusals, time-outs, listeners that end):\n");
    }
    for arrow in others {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<11} -> {:<11} {}", arrow.from.name(), arrow.to.name(), arrow.label());
    }
    text
}

fn with_labels(line: &str, label: &impl Fn(TcpState, TcpState) -> String) -> String {
    let mut line = line.to_owned();
    for (place, (from, to)) in PLACES {
        if let Some(at) = line.find(&format!("@{place}")) {
            let label = label(from, to);
            let rest = &line[at + 3..];
            // Only over blanks: what is drawn stays, and moves if it must.
            let blanks = 3 + rest.len() - rest.trim_start_matches(' ').len();
            let room = if rest.trim().is_empty() { label.len() } else { blanks.max(label.len() + 1) };
            line = format!("{}{label:<room$}{}", &line[..at], &line[at + blanks..]);
        }
    }
    line
}
