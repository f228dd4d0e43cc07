//! `cargo xtask picture`: the pictures of the full-screen view, of the real program on a terminal of ours.
//!
//! The connections are synthetic (`--demo`), so that the pictures show the same whoever takes them, and nothing of a host.

use std::{fs, thread, time::Duration};

use anstyle_svg::Term;
use anyhow::{Context as _, Result};

use crate::{
    pty::{OnTerminal, Size},
    workspace::{cargo, root, succeed, target_dir},
};

const SIZE: Size = Size { columns: 120, lines: 36 };

/// Until something is on the screen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A picture: its name, the keys to get there from the overview, how long to wait.
const PICTURES: [(&str, &[&str], u64); 5] = [
    ("overview", &["1"], 45),
    ("connections", &["2"], 1),
    ("connection", &["2", "/", "close-wait", "\r", "S", "\r"], 1),
    ("findings", &["5"], 1),
    ("diagram", &["6"], 1),
];

/// Takes them.
pub(crate) fn run() -> Result<()> {
    succeed(cargo().args(["build", "--release", "--locked", "--package", "tcptrace"]))?;
    let dir = root().join("docs/pictures");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let program = target_dir().join("release/tcptrace");
    let mut view = OnTerminal::start(&program, &["watch", "--demo", "--theme", "dark"], SIZE)?;
    view.wait_for("1 Overview", PATIENCE)?;
    for (name, keys, seconds) in PICTURES {
        for key in keys {
            view.press(key)?;
            thread::sleep(Duration::from_millis(700));
        }
        thread::sleep(Duration::from_secs(seconds));
        let svg = Term::new().min_width_px(1080).render_svg(&view.colored());
        let file = dir.join(format!("{name}.svg"));
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("xtask: {}", file.display());
    }
    view.quit(PATIENCE).map(drop)
}
