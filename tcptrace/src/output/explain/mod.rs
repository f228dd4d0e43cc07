//! `tcptrace explain`: pages about states and findings, with the values of this host.

mod page;
mod pages;
mod rules;
pub(in crate::output) mod wrap;

use std::io::{self, Write};

use anstyle::Style;

pub use self::{
    page::{Heading, Page, Section},
    rules::{RulePage, rule_ids, rule_page},
};
use super::diagram;
use crate::model::TcpState;

/// Columns of what is not broken into lines already.
const COLUMNS: usize = 80;

/// In which language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English
    #[default]
    En,
    /// Chinese
    Zh,
}

/// Tells the value of a setting by its name, such as `net.ipv4.tcp_fin_timeout`; `None` where the kernel does not have it, or
/// does not show it.
pub type Setting<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Tells the value of a threshold by the id of its rule and its name.
pub type Threshold<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

/// The page of a state.
pub fn state_page(state: TcpState, language: Language) -> Page<'static> {
    Page::parse(pages::of(state, language))
}

/// Writes the page of a state.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_state(
    out: &mut impl Write,
    state: TcpState,
    language: Language,
    setting: Setting<'_>,
    has_color: bool,
) -> io::Result<()> {
    let page = state_page(state, language);
    write_page(out, page.title, &page.sections, language, setting, &|_| None, has_color)
}

/// Writes the page of a rule. What its commands leave open is shown in capitals.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_rule(
    out: &mut impl Write,
    page: &RulePage,
    language: Language,
    setting: Setting<'_>,
    threshold: Threshold<'_>,
    has_color: bool,
) -> io::Result<()> {
    let threshold = |key: &str| threshold(page.id(), key);
    write_page(out, page.id(), page.sections(), language, setting, &threshold, has_color)
}

/// Writes the state machine and what else can be asked for.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_diagram(out: &mut impl Write, language: Language) -> io::Result<()> {
    let (before, more) = match language {
        Language::En => (
            "The TCP states (RFC 9293, figure 5, and what Linux makes of it). On the left the side that \
             closes first, on the right the other. Every state can also end in CLOSE: by a reset, or when \
             segments were sent again in vain.",
            "`tcptrace explain STATE` tells about one of them, `tcptrace explain all` about everything, and \
             `tcptrace explain RULE` about what `tcptrace leaks` finds:",
        ),
        Language::Zh => (
            "TCP 的状态（RFC 9293 图 5，以及 Linux 的做法）。左边是先关闭的一方，右边是另一方。任何状态也都可能直接以 CLOSE \
             结束：被重置，或者重发全部无效。图中：we close 我们关闭，the peer closes 对端关闭，both open 双方同时打开，both \
             close 双方同时关闭，our FIN is ACKed 我们的 FIN 得到确认，60 s are over, or reused 60 秒已过，或被再次使用。",
            "`tcptrace explain STATE` 解释其中一个状态，`tcptrace explain all` 解释全部，`tcptrace explain RULE` 解释 `tcptrace \
             leaks` 的发现：",
        ),
    };
    write_wrapped(out, before, 0)?;
    writeln!(out, "\n{}", diagram::plain())?;
    write_wrapped(out, more, 0)?;
    write_wrapped(out, &rule_ids().collect::<Vec<_>>().join(" "), 2)
}

fn write_page(
    out: &mut impl Write,
    title: &str,
    sections: &[Section<'_>],
    language: Language,
    setting: Setting<'_>,
    threshold: &dyn Fn(&str) -> Option<String>,
    has_color: bool,
) -> io::Result<()> {
    let bold = if has_color { Style::new().bold() } else { Style::new() };
    writeln!(out, "{bold}{title}{bold:#}")?;
    for section in sections {
        writeln!(out, "\n{bold}{}{bold:#}", section.heading)?;
        for line in &section.lines {
            let line = rules::filled(line, &|name| Some(name.to_uppercase())).unwrap_or_default();
            writeln!(out, "{}", format!("  {line}").trim_end())?;
        }
        for (key, reason) in &section.thresholds {
            match threshold(key) {
                Some(value) => writeln!(out, "  {key} = {value}")?,
                None => writeln!(out, "  {key}")?,
            }
            write_wrapped(out, reason, 6)?;
        }
        for (name, meaning) in &section.settings {
            let value = setting(name).unwrap_or_else(|| "-".to_owned());
            let value = match language {
                Language::En if value.is_empty() => "(empty)",
                Language::Zh if value.is_empty() => "（空）",
                _ => &value,
            };
            writeln!(out, "  {name} = {value}")?;
            write_wrapped(out, meaning, 6)?;
        }
    }
    Ok(())
}

/// In lines that begin with so many blanks.
fn write_wrapped(out: &mut impl Write, text: &str, blanks: usize) -> io::Result<()> {
    wrap::wrap(text, COLUMNS - blanks).iter().try_for_each(|line| writeln!(out, "{:blanks$}{line}", ""))
}

#[cfg(test)]
mod tests;
