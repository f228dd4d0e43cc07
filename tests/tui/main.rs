//! The full-screen view on a terminal: the real program, on a pseudo-terminal, as a person has it.

mod terminal;

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use self::terminal::{Place, Result, Start, Terminal};

/// The pages that have a number.
const PAGES: [&str; 6] = ["Overview", "Connections", "Ports", "Processes", "Findings", "Diagram"];

/// The attribute that the tab of the page that is shown has and the others have not, looked up by the program's own words.
fn has_page(terminal: &Terminal, page: &str) -> Result {
    terminal.wait_for(page, |terminal| Ok(terminal.inverse().contains(page).then_some(())))
}

#[test]
fn the_first_screen_has_the_tabs_and_q_ends_it() -> Result {
    let mut terminal = Terminal::open(Start::default())?;
    for page in PAGES {
        terminal.shows(page)?;
    }
    assert!(terminal.is_on_other_screen());
    terminal.type_keys(b"q")?;
    terminal.ended_in_order(0)?;
    terminal.shows("tcptrace: ").map(|_| ())
}

#[test]
fn keys_and_clicks_change_pages() -> Result {
    let mut terminal = Terminal::open(Start::default())?;
    for (number, page) in (b'1'..).zip(PAGES) {
        terminal.type_keys(&[number])?;
        has_page(&terminal, page)?;
    }
    terminal.type_keys(b"\t")?;
    has_page(&terminal, "Overview")?;
    terminal.type_keys(b"\x1b[Z")?;
    has_page(&terminal, "Diagram")?;
    // The first columns of the first line.
    terminal.type_keys(b"\x1b[<0;4;1M\x1b[<0;4;1m")?;
    has_page(&terminal, "Overview")
}

#[test]
fn what_is_selected_is_said_and_the_filter_line_takes_the_same_language() -> Result {
    let mut terminal = Terminal::open(Start { args: &["--state", "estab,listen"], ..Start::default() })?;
    terminal.resize(200, 40)?;
    terminal.shows("--state estab,listen")?;
    terminal.type_keys(b"/--sport 1\r")?;
    terminal.shows("unexpected")?;
    terminal.type_keys(b"\x1b")?;
    // Together, Esc and a character are Alt and the character.
    terminal.wait_for("no line", |terminal| Ok((!terminal.screen().contains("unexpected")).then_some(())))?;
    terminal.type_keys(b"/--state listen\r")?;
    has_page(&terminal, "Connections")
}

#[test]
fn any_size_and_back() -> Result {
    let mut terminal = Terminal::open(Start::default())?;
    for (columns, rows) in [(300, 100), (20, 5), (1, 1), (80, 24), (9, 60), (200, 2), (80, 24)] {
        let before = terminal.bytes().len();
        terminal.resize(columns, rows)?;
        // Not only what has changed: all of it.
        terminal.wait_for(&format!("{columns}x{rows}"), |terminal| {
            let is_cleared = terminal.bytes()[before..].windows(4).any(|bytes| bytes == b"\x1b[2J");
            Ok(is_cleared.then_some(()))
        })?;
    }
    terminal.shows("Connections")?;
    for (columns, rows) in (1..=200).map(|step| (step * 7 % 250 + 1, step * 11 % 80 + 1)) {
        terminal.resize(columns, rows)?;
    }
    terminal.resize(120, 40)?;
    terminal.type_keys(b"3")?;
    has_page(&terminal, "Ports")?;
    terminal.type_keys(b"q")?;
    terminal.ended_in_order(0)
}

#[test]
fn signals_and_ctrl_c_leave_the_terminal_as_it_was() -> Result {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut terminal = Terminal::open(Start::default())?;
        terminal.signal(signal)?;
        terminal.ended_in_order(0)?;
    }
    let mut terminal = Terminal::open(Start::default())?;
    terminal.type_keys(b"\x03")?;
    terminal.ended_in_order(0)
}

#[test]
fn a_second_signal_ends_what_is_stuck_and_leaves_the_terminal_as_it_was() -> Result {
    if !cfg!(debug_assertions) {
        eprintln!("SKIPPED: no faults in what is released");
        return Ok(());
    }
    let mut terminal = Terminal::open(Start { env: &[("TCPTRACE_FAULT", "stuck")], ..Start::default() })?;
    terminal.type_keys(b"\x1b[24~")?;
    terminal.shows("STUCK")?;
    terminal.signal(Signal::TERM)?;
    std::thread::sleep(Duration::from_millis(100));
    assert!(terminal.is_on_other_screen(), "it is stuck");
    terminal.signal(Signal::INT)?;
    terminal.ended_in_order(128 + 2)
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was_and_is_to_be_read() -> Result {
    if !cfg!(debug_assertions) {
        eprintln!("SKIPPED: no faults in what is released");
        return Ok(());
    }
    for (fault, code) in [("panic", 101), ("panic elsewhere", 2)] {
        let mut terminal = Terminal::open(Start { env: &[("TCPTRACE_FAULT", fault)], ..Start::default() })?;
        terminal.type_keys(b"\x1b[24~")?;
        terminal.ended_in_order(code)?;
        terminal.shows("a test wanted this")?;
    }
    Ok(())
}

#[test]
fn a_terminal_that_is_gone_ends_it_soon() -> Result {
    for place in [Place::InShell, Place::Leader, Place::Stranger] {
        gone(place)?;
    }
    Ok(())
}

fn gone(place: Place) -> Result {
    let mut terminal = Terminal::open(Start { place, ..Start::default() })?;
    let before = terminal.cpu_ticks().ok_or("it runs")?;
    let start = Instant::now();
    terminal.close();
    let mut ticks = before;
    while let Some(now) = terminal.cpu_ticks() {
        ticks = now;
        assert!(start.elapsed() < Duration::from_secs(5), "{place:?}: it goes on without a terminal");
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{place:?}: gone after {:?}, with {} ticks of CPU time", start.elapsed(), ticks - before);
    // A hundred of them are a second of one processor.
    assert!(ticks - before < 100, "it spins");
    Ok(())
}

#[test]
fn a_terminal_that_takes_nothing_keeps_nobody_from_ending_it() -> Result {
    let mut terminal = Terminal::open(Start { args: &["--duration", "60s"], ..Start::default() })?;
    terminal.stall();
    for step in 0..40 {
        // More than the terminal has room for.
        terminal.type_keys(if step % 2 == 0 { b"1\x0c" } else { b"2\x0c" })?;
        std::thread::sleep(Duration::from_millis(100));
    }
    terminal.signal(Signal::TERM)?;
    let start = Instant::now();
    terminal.wait_for("the end", |terminal| Ok(terminal.state().is_none().then_some(())))?;
    println!("ended after {:?}", start.elapsed());
    Ok(())
}

#[test]
fn ctrl_z_stops_it_and_it_goes_on() -> Result {
    let mut terminal = Terminal::open(Start::default())?;
    for is_key in [true, false] {
        if is_key {
            terminal.type_keys(b"\x1a")?;
        } else {
            terminal.signal(Signal::TSTP)?;
        }
        terminal.wait_for("the stop", |terminal| Ok((terminal.state() == Some('T')).then_some(())))?;
        terminal.is_as_it_was()?;
        terminal.signal(Signal::CONT)?;
        terminal.wait_for("the other screen", |terminal| Ok(terminal.is_on_other_screen().then_some(())))?;
        terminal.shows("Connections")?;
        terminal.type_keys(b"2")?;
        has_page(&terminal, "Connections")?;
    }
    // What cannot be caught: whoever lets it go on finds it on its screen.
    terminal.signal(Signal::STOP)?;
    terminal.wait_for("the stop", |terminal| Ok((terminal.state() == Some('T')).then_some(())))?;
    let before = terminal.bytes().len();
    terminal.signal(Signal::CONT)?;
    terminal.wait_for("the other screen", |terminal| {
        let is_taken = terminal.bytes()[before..].windows(8).any(|bytes| bytes == b"\x1b[?1049h");
        Ok(is_taken.then_some(()))
    })?;
    terminal.type_keys(b"q")?;
    terminal.ended_in_order(0)
}

#[test]
fn ctrl_z_without_a_shell_does_nothing() -> Result {
    let mut terminal = Terminal::open(Start { place: Place::Leader, ..Start::default() })?;
    terminal.type_keys(b"\x1a")?;
    terminal.shows("there is no shell to go back to")?;
    terminal.type_keys(b"q")?;
    terminal.ended_in_order(0)
}

#[test]
fn e_writes_a_new_file_that_only_we_may_read() -> Result {
    let dir = tempfile::tempdir()?;
    let mut terminal = Terminal::open(Start { dir: Some(dir.path()), ..Start::default() })?;
    terminal.type_keys(b"e")?;
    terminal.shows("written: tcptrace-overview-")?;
    let files: Vec<_> = fs::read_dir(dir.path())?.collect::<std::io::Result<_>>()?;
    assert_eq!(files.len(), 1);
    let text = fs::read_to_string(files[0].path())?;
    serde_json::from_str::<serde_json::Value>(&text)?;
    fs::remove_dir_all(dir.path())?;
    terminal.type_keys(b"e")?;
    terminal.shows("cannot create tcptrace-overview-")?;
    Ok(())
}

#[test]
fn a_warning_does_not_tear_the_screen_and_is_there_at_the_end() -> Result {
    if !cfg!(debug_assertions) {
        eprintln!("SKIPPED: no faults in what is released");
        return Ok(());
    }
    let mut terminal = Terminal::open(Start { env: &[("TCPTRACE_FAULT", "warn")], ..Start::default() })?;
    terminal.type_keys(b"\x1b[24~")?;
    terminal.shows("WARN a test wanted this warning")?;
    terminal.type_keys(b"1")?;
    terminal.wait_for("the next key", |terminal| Ok((!terminal.screen().contains("WARN")).then_some(())))?;
    terminal.type_keys(b"q")?;
    terminal.ended_in_order(0)?;
    terminal.shows("WARN a test wanted this warning").map(|_| ())
}

#[test]
fn no_colours_where_none_are_wanted() -> Result {
    for start in [
        Start { env: &[("NO_COLOR", "1")], ..Start::default() },
        Start { args: &["--color", "never"], ..Start::default() },
        Start { args: &["--theme", "mono"], ..Start::default() },
    ] {
        let colors = colors_of(start)?;
        assert!(colors.is_empty(), "{start:?} {colors:?}");
    }
    assert!(!colors_of(Start::default())?.is_empty(), "otherwise there are some");
    let colors = colors_of(Start { env: &[("COLORTERM", "truecolor")], ..Start::default() })?;
    assert!(colors.iter().any(|color| color.starts_with("38;2;")), "{colors:?}");
    Ok(())
}

/// Colours of all pages, as they were selected.
fn colors_of(start: Start<'_>) -> Result<Vec<String>> {
    let mut terminal = Terminal::open(start)?;
    for (number, page) in (b'1'..).zip(PAGES) {
        terminal.type_keys(&[number])?;
        has_page(&terminal, page)?;
    }
    terminal.type_keys(b"?q")?;
    terminal.type_keys(b"q")?;
    terminal.ended()?;
    let text = String::from_utf8_lossy(&terminal.bytes()).into_owned();
    let selected = text.split("\x1b[").skip(1).filter_map(|part| {
        let (sequence, _) = part.split_once(|c: char| c.is_ascii_alphabetic())?;
        part[sequence.len()..].starts_with('m').then(|| sequence.to_owned())
    });
    // 39 and 49 are the colours that the terminal has by itself.
    let is_color = |number: u16| matches!(number, 30..=38 | 40..=48 | 90..=107);
    Ok(selected
        .filter(|sequence| sequence.split(';').filter_map(|part| part.parse().ok()).any(is_color))
        .collect())
}

#[test]
fn ascii_where_there_is_nothing_else() -> Result {
    for start in [
        Start { args: &["--ascii"], ..Start::default() },
        Start { env: &[("LANG", "C")], ..Start::default() },
    ] {
        let mut terminal = Terminal::open(start)?;
        for (number, page) in (b'1'..).zip(PAGES) {
            terminal.type_keys(&[number])?;
            has_page(&terminal, page)?;
        }
        terminal.type_keys(b"q")?;
        terminal.ended_in_order(0)?;
        let bytes = terminal.bytes();
        let other = bytes.iter().position(|byte| !byte.is_ascii());
        let near = other.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(40)..]).into_owned());
        assert_eq!(other, None, "{start:?}: {near:.80?}");
    }
    Ok(())
}

#[test]
fn a_key_is_answered_at_once() -> Result {
    let mut terminal = Terminal::open(Start::default())?;
    let mut times = Vec::new();
    for step in 0..20 {
        let (key, page) = [(b'3', "Ports"), (b'4', "Processes")][step % 2];
        std::thread::sleep(Duration::from_millis(200 + 13 * step as u64));
        let start = Instant::now();
        terminal.type_keys(&[key])?;
        has_page(&terminal, page)?;
        times.push(start.elapsed());
    }
    times.sort();
    let median = times[times.len() / 2];
    println!("a key is answered within {median:?} (median), {:?} (worst)", times[times.len() - 1]);
    assert!(median < Duration::from_millis(500));
    Ok(())
}

#[test]
fn keys_in_a_burst_are_taken_together() -> Result {
    let mut terminal = Terminal::open(Start::default())?;
    let before = frames(&terminal.bytes());
    let start = Instant::now();
    for _ in 0..100 {
        terminal.type_keys(b"\t\x1b[B")?;
        std::thread::sleep(Duration::from_millis(10));
    }
    terminal.type_keys(b"6")?;
    has_page(&terminal, "Diagram")?;
    let (frames, elapsed) = (frames(&terminal.bytes()) - before, start.elapsed());
    println!("{frames} frames in {elapsed:?}");
    assert!(frames as u64 <= 10 * (elapsed.as_secs() + 1), "{frames} frames in {elapsed:?}");
    Ok(())
}

/// Frames that are complete.
fn frames(bytes: &[u8]) -> usize {
    bytes.windows(8).filter(|bytes| bytes == b"\x1b[?2026l").count()
}
