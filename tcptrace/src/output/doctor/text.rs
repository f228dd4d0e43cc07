//! For people: a line for each thing that was looked at, more where something is to be done.

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};

use super::{Check, DoctorReport, Field, Ladder, Outcome, SelfTest, Step, Verdict};
use crate::output::escape;

/// Columns that lines are broken at.
const WIDTH: usize = 110;

/// Columns of a name.
const NAME: usize = 19;

/// Where the text of a check or a step begins.
const TEXT: usize = NAME + 8;

/// Writes it.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_text(out: &mut impl Write, report: &DoctorReport, color: bool) -> io::Result<()> {
    let paint = Paint { color };
    let verdict = if report.works {
        paint.with(AnsiColor::Green, "`tcptrace watch` will work")
    } else {
        paint.with(AnsiColor::Red, "`tcptrace watch` will not work")
    };
    let kernel = escape::text(&report.kernel);
    writeln!(out, "tcptrace {}, Linux {kernel}: {verdict}", report.version)?;
    for problem in &report.problems {
        paragraph(out, "  - ", 4, problem)?;
    }
    writeln!(out)?;
    for check in &report.checks {
        write_check(out, check, paint)?;
    }
    // Of what there is in one way only, a line each.
    let (single, several): (Vec<&Ladder>, Vec<&Ladder>) =
        report.ladders.iter().partition(|ladder| ladder.steps.len() == 1);
    for ladder in several {
        writeln!(out)?;
        write_ladder(out, ladder, paint)?;
    }
    if !single.is_empty() {
        writeln!(out, "\ntold besides")?;
    }
    for step in single.iter().flat_map(|ladder| &ladder.steps) {
        write_step(out, step, paint)?;
    }
    writeln!(out)?;
    write_self_test(out, &report.self_test, paint)
}

fn write_check(out: &mut impl Write, check: &Check, paint: Paint) -> io::Result<()> {
    let (word, color) = match check.verdict {
        Verdict::Ok => ("ok", AnsiColor::Green),
        Verdict::Note => ("note", AnsiColor::Yellow),
        Verdict::Fail => ("FAIL", AnsiColor::Red),
        Verdict::Unknown => ("-", AnsiColor::Cyan),
    };
    let begin = format!("  {} {:<NAME$} ", paint.with(color, &format!("{word:<4}")), check.name);
    paragraph(out, &begin, TEXT, check.found.as_deref().unwrap_or("-"))?;
    match &check.todo {
        Some(todo) => paragraph(out, &blank(TEXT), TEXT, &format!("-> {todo}")),
        None => Ok(()),
    }
}

fn write_ladder(out: &mut impl Write, ladder: &Ladder, paint: Paint) -> io::Result<()> {
    let was_tried = ladder.steps.iter().any(|step| step.works.is_some());
    let used = match ladder.used {
        None => paint.with(AnsiColor::Red, if was_tried { "-" } else { "- (not tried)" }),
        Some(used) if ladder.is_below_the_best() => paint.with(AnsiColor::Yellow, used),
        Some(used) => paint.with(AnsiColor::Green, used),
    };
    writeln!(out, "{}: {used}", ladder.about)?;
    ladder.steps.iter().try_for_each(|step| write_step(out, step, paint))
}

fn write_step(out: &mut impl Write, step: &Step, paint: Paint) -> io::Result<()> {
    let (word, color) = match step.works {
        Some(true) => ("ok", AnsiColor::Green),
        Some(false) => ("no", AnsiColor::Yellow),
        None => ("-", AnsiColor::Cyan),
    };
    let mark = if step.used { '>' } else { ' ' };
    let begin = format!("  {mark} {} {:<NAME$} ", paint.with(color, &format!("{word:<2}")), step.name);
    paragraph(out, &begin, TEXT, &step.what)?;
    let more = [("not here: ", &step.why_not), ("-> needs ", &step.needs)];
    for (before, text) in more {
        if let Some(text) = text {
            paragraph(out, &blank(TEXT), TEXT, &format!("{before}{text}"))?;
        }
    }
    Ok(())
}

fn write_self_test(out: &mut impl Write, test: &SelfTest, paint: Paint) -> io::Result<()> {
    let took = test.took_s.map(|seconds| format!(", {seconds:.1} s")).unwrap_or_default();
    let count = format!("{} of {} fields right", test.right, test.compared);
    let said = match (&test.why_not, test.fields.is_empty()) {
        (Some(_), true) => paint.with(AnsiColor::Red, "not made"),
        _ if test.is_right() => paint.with(AnsiColor::Green, &count),
        _ => paint.with(AnsiColor::Red, &count),
    };
    writeln!(out, "self-test, one loopback connection: {said}{took}")?;
    if let Some(why_not) = &test.why_not {
        paragraph(out, "  ", 2, why_not)?;
    }
    for field in &test.fields {
        write_wrong(out, field, paint)?;
    }
    let not_known: Vec<&Field> =
        test.fields.iter().filter(|field| field.outcome == Outcome::NotKnown).collect();
    let mut reasons: Vec<&str> = not_known.iter().map(|field| field.why.as_deref().unwrap_or("-")).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        let of_reason = not_known.iter().filter(|field| field.why.as_deref().unwrap_or("-") == reason);
        // Most often it is the same of all three sockets.
        let mut names: Vec<&str> = of_reason.map(|field| field.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        paragraph(out, "  - ", 4, &format!("not compared, {reason}: {}", names.join(", ")))?;
    }
    Ok(())
}

fn write_wrong(out: &mut impl Write, field: &Field, paint: Paint) -> io::Result<()> {
    let expected = field.expected.as_deref().unwrap_or("-");
    let (word, text) = match field.outcome {
        Outcome::Wrong => {
            ("wrong", format!("expected {expected}, found {}", field.found.as_deref().unwrap_or("-")))
        }
        Outcome::Missing => ("missing", format!("expected {expected}")),
        Outcome::Right | Outcome::NotKnown => return Ok(()),
    };
    let begin = format!("  {} ", paint.with(AnsiColor::Red, word));
    paragraph(out, &begin, 4, &format!("{} {}: {text}", field.of, field.name))
}

fn blank(width: usize) -> String {
    " ".repeat(width)
}

/// A text, made harmless, broken at blanks; its lines but the first are indented.
fn paragraph(out: &mut impl Write, begin: &str, indent: usize, text: &str) -> io::Result<()> {
    let text = escape::text(text);
    let mut line = String::new();
    let mut is_first = true;
    let mut flush = |line: &mut String| {
        let before = if std::mem::take(&mut is_first) { begin.to_owned() } else { blank(indent) };
        let result = writeln!(out, "{}", format!("{before}{line}").trim_end());
        line.clear();
        result
    };
    for word in text.split(' ') {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            flush(&mut line)?;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    flush(&mut line)
}

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn with(self, color: AnsiColor, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let style = Style::new().fg_color(Some(Color::Ansi(color)));
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_and_none_is_lost() {
        let text = "word ".repeat(60) + &"x".repeat(150) + " \u{1b}[2J";
        let mut out = Vec::new();
        paragraph(&mut out, "  ok   ", 7, &text).expect("memory can be written");
        let written = String::from_utf8(out).expect("is UTF-8");
        assert!(written.lines().skip(1).all(|line| line.starts_with("       ")), "{written}");
        assert!(
            written.lines().all(|line| line.chars().count() <= WIDTH || line.trim().starts_with("xxx")),
            "{written}"
        );
        let words: Vec<&str> = written.split_whitespace().skip(1).collect();
        let expected = text.replace('\u{1b}', "\\x1b");
        assert_eq!(words, expected.split_whitespace().collect::<Vec<_>>());
    }
}
