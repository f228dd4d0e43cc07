//! The form of a page: a title, and sections of lines; some sections name settings or thresholds.

use super::Language;

/// `# TITLE`, then sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page<'a> {
    /// What it is about: the name of a state, or the id of a rule.
    pub title: &'a str,
    /// In the order of the file.
    pub sections: Vec<Section<'a>>,
}

/// `## HEADING`, lines of text, and lines of `NAME  MEANING`, where the name is that of a setting, or, below
/// `## Thresholds`, of a threshold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section<'a> {
    /// What the section tells.
    pub heading: &'a str,
    /// Text or commands.
    pub lines: Vec<&'a str>,
    /// Names of settings of the kernel, and what they do.
    pub settings: Vec<(&'a str, &'a str)>,
    /// Names of thresholds, and why they are what they are.
    pub thresholds: Vec<(&'a str, &'a str)>,
}

/// Sections that the program looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// What it is.
    Meaning,
    /// Where the lines are drawn, and why.
    Thresholds,
    /// What helps.
    Remedy,
    /// Commands.
    Commands,
}

impl Heading {
    /// As it is written.
    pub const fn name(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Meaning, Language::En) => "What it is",
            (Self::Meaning, Language::Zh) => "含义",
            (Self::Thresholds, Language::En) => "Thresholds",
            (Self::Thresholds, Language::Zh) => "阈值",
            (Self::Remedy, Language::En) => "What to do",
            (Self::Remedy, Language::Zh) => "怎么办",
            (Self::Commands, Language::En) => "Look further",
            (Self::Commands, Language::Zh) => "进一步查看",
        }
    }

    fn is(self, heading: &str) -> bool {
        [Language::En, Language::Zh].iter().any(|language| self.name(*language) == heading)
    }
}

impl Section<'_> {
    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.is_empty())
            && self.settings.is_empty()
            && self.thresholds.is_empty()
    }
}

impl<'a> Page<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                page.sections.push(Section { heading, ..Section::default() });
            } else if let Some(title) = line.strip_prefix("# ") {
                page.title = title;
            } else if let Some(section) = page.sections.last_mut() {
                match pair(line) {
                    Some(threshold) if Heading::Thresholds.is(section.heading) => {
                        section.thresholds.push(threshold);
                    }
                    Some(setting) if is_setting(setting.0) => section.settings.push(setting),
                    _ => section.lines.push(line),
                }
            }
        }
        for section in &mut page.sections {
            while section.lines.last().is_some_and(|line| line.is_empty()) {
                section.lines.pop();
            }
        }
        page
    }

    /// The section with this heading, in whatever language.
    pub fn section(&self, heading: Heading) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| heading.is(section.heading))
    }

    /// The text of a section, its lines joined.
    pub fn paragraph(&self, heading: Heading) -> String {
        let lines = self.section(heading).map_or(&[][..], |section| &section.lines);
        lines.iter().filter(|line| !line.is_empty()).fold(String::new(), |text, line| joined(text, line))
    }
}

/// `net.ipv4.tcp_fin_timeout   meaning`, `age  reason`
fn pair(line: &str) -> Option<(&str, &str)> {
    line.split_once("  ")
        .map(|(name, meaning)| (name, meaning.trim_start()))
        .filter(|(name, _)| !name.is_empty())
}

fn is_setting(name: &str) -> bool {
    ["net.", "fs."].iter().any(|tree| name.starts_with(tree)) && !name.contains(' ')
}

/// With a blank in between where words meet; Chinese has none between its own characters.
fn joined(mut text: String, line: &str) -> String {
    let is_word = |c: char| c.is_ascii() || c.is_alphanumeric();
    let has_blank = match (text.chars().next_back(), line.chars().next()) {
        (Some(before), Some(after)) => {
            (before.is_ascii() || after.is_ascii()) && is_word(before) && is_word(after)
        }
        _ => false,
    };
    if has_blank {
        text.push(' ');
    }
    text + line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_page() {
        let page = Page::parse(
            "# A\n\n## B\ntext\n\nmore\n\n## C\nfs.x  what it  is\nfs.y\n\n## Thresholds\nage    so  old\n",
        );
        let b = Section { heading: "B", lines: vec!["text", "", "more"], ..Section::default() };
        let c = Section {
            heading: "C",
            lines: vec!["fs.y"],
            settings: vec![("fs.x", "what it  is")],
            ..Section::default()
        };
        let d = Section { heading: "Thresholds", thresholds: vec![("age", "so  old")], ..Section::default() };
        assert_eq!(page, Page { title: "A", sections: vec![b, c, d] });
    }

    #[test]
    fn lines_become_a_paragraph() {
        let page = Page::parse("# A\n\n## What to do\none\n\ntwo.\nThree\n");
        assert_eq!(page.paragraph(Heading::Remedy), "one two. Three");
        assert_eq!(page.paragraph(Heading::Meaning), "");
        let page = Page::parse("# A\n\n## 含义\n读到末尾，\n程序调用\nclose()\n，关闭\n描述符。\nok\n");
        assert_eq!(page.paragraph(Heading::Meaning), "读到末尾，程序调用 close()，关闭描述符。ok");
    }
}
