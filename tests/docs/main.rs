//! What is written about findings: docs/FINDINGS.md is made from the pages, and the settings that pages name exist.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes docs/FINDINGS.md anew.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use tcptrace::{
    model::{TcpState, findings::Thresholds},
    output::explain::{Heading, Language, RulePage, Section, rule_ids, rule_page, state_page},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const INTRODUCTION: &str = include_str!("../../tcptrace/pages/en/rules.md");

fn pages() -> impl Iterator<Item = RulePage> {
    rule_ids().filter_map(|id| rule_page(id, Language::En))
}

#[test]
fn findings_are_those_of_the_pages() -> Result {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/FINDINGS.md");
    let expected = findings()?;
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected)?;
    }
    let written = fs::read_to_string(&path)?;
    let differs = written.lines().zip(expected.lines()).position(|(written, expected)| written != expected);
    assert!(written == expected, "line {differs:?} differs: UPDATE_DOCS=1 cargo test --test docs");
    Ok(())
}

/// Names of settings that a kernel may not have say since which it does: `(Linux 6.14)`.
#[test]
fn settings_of_the_pages_exist() {
    let mut sections: Vec<Section<'_>> = pages().flat_map(|page| page.sections().to_vec()).collect();
    sections.extend(TcpState::ALL.into_iter().flat_map(|state| state_page(state, Language::En).sections));
    let settings = sections.iter().flat_map(|section| &section.settings);
    let missing: Vec<&str> = settings
        .filter(|(name, meaning)| {
            let path = Path::new("/proc/sys").join(name.replace('.', "/"));
            !meaning.contains("(Linux ") && !path.exists()
        })
        .map(|(name, _)| *name)
        .collect();
    assert!(missing.is_empty(), "this kernel has no {missing:?}");
}

/// The whole file.
fn findings() -> Result<String> {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("## Rules\n\n");
    for page in pages() {
        writeln!(text, "- [{0}](#{0})", page.id())?;
    }
    for page in pages() {
        rule(&mut text, &page)?;
    }
    Ok(text)
}

fn rule(text: &mut String, page: &RulePage) -> Result {
    writeln!(text, "\n### {}\n", page.id())?;
    for section in page.sections() {
        let is = |heading: Heading| section.heading == heading.name(Language::En);
        if is(Heading::Meaning) {
            writeln!(text, "{}\n", section.lines.join("\n"))?;
        } else if is(Heading::Commands) {
            let commands = page.commands(&|name| Some(name.to_uppercase()));
            writeln!(text, "**{}**\n\n```sh\n{}\n```\n", section.heading, commands.join("\n"))?;
        } else {
            writeln!(text, "**{}**\n", section.heading)?;
            lines(text, page.id(), section)?;
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(())
}

fn lines(text: &mut String, id: &str, section: &Section<'_>) -> Result {
    if !section.lines.is_empty() {
        writeln!(text, "{}\n", section.lines.join("\n"))?;
    }
    if !section.thresholds.is_empty() {
        let defaults = Thresholds::default().entries();
        writeln!(text, "| threshold | default | why |\n| --- | --- | --- |")?;
        for (key, reason) in &section.thresholds {
            let value = defaults.iter().find(|(rule, name, _)| (*rule, name) == (id, key));
            let value = value.map_or("-", |(.., value)| value);
            writeln!(text, "| `{key}` | {value} | {reason} |")?;
        }
        writeln!(text)?;
    }
    if !section.settings.is_empty() {
        for (name, meaning) in &section.settings {
            writeln!(text, "- `{name}`: {meaning}")?;
        }
        writeln!(text)?;
    }
    Ok(())
}
