//! The pages of the rules, a file each.

use super::{
    Language,
    page::{Heading, Page, Section},
};

/// Id, English, Chinese.
macro_rules! pages {
    ($($id:literal),* $(,)?) => {
        [$((
            $id,
            include_str!(concat!("../../../pages/en/rules/", $id, ".txt")),
            include_str!(concat!("../../../pages/zh/rules/", $id, ".txt")),
        )),*]
    };
}

/// In the order in which they are told.
const PAGES: [(&str, &str, &str); 20] = pages![
    "close-wait-leak",
    "closed-fd-held",
    "fd-exhaustion",
    "time-wait-pileup",
    "port-exhaustion",
    "time-wait-overflow",
    "syn-sent-fanout",
    "syn-sent-stuck",
    "port-reuse-collision",
    "half-open-pileup",
    "accept-queue-overflow",
    "never-accepted",
    "fin-wait2-stuck",
    "last-ack-stuck",
    "fin-wait1-stuck",
    "closing-stuck",
    "reset-storm",
    "refused-storm",
    "short-lived-churn",
    "idle-established",
];

/// What a command may leave open; everything else in braces is the command's own.
const PLACEHOLDERS: [&str; 4] = ["pid", "port", "peer", "netns"];

/// The ids of all rules.
pub fn rule_ids() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(id, ..)| *id)
}

/// The page of a rule; `None` for what is no rule's id.
pub fn rule_page(id: &str, language: Language) -> Option<RulePage> {
    let (_, en, zh) = PAGES.iter().find(|(known, ..)| *known == id)?;
    let text = match language {
        Language::En => en,
        Language::Zh => zh,
    };
    Some(RulePage(Page::parse(text)))
}

/// What there is to say about a rule's findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePage(Page<'static>);

impl RulePage {
    /// Its id.
    pub const fn id(&self) -> &'static str {
        self.0.title
    }

    /// What a finding means, in one paragraph.
    pub fn meaning(&self) -> String {
        self.0.paragraph(Heading::Meaning)
    }

    /// What to do about it, in one paragraph.
    pub fn remedy(&self) -> String {
        self.0.paragraph(Heading::Remedy)
    }

    /// Commands that tell more, where `fill` tells the values of `pid`, `port`, `peer` and `netns`. Those that need an unknown
    /// one are left out.
    pub fn commands(&self, fill: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let section = self.0.section(Heading::Commands);
        let lines = section.into_iter().flat_map(|section| &section.lines);
        lines.filter_map(|line| filled(line, fill)).collect()
    }

    /// Names of thresholds, and why they are what they are.
    pub fn thresholds(&self) -> &[(&'static str, &'static str)] {
        self.0.section(Heading::Thresholds).map_or(&[], |section| &section.thresholds)
    }

    /// All of it.
    pub fn sections(&self) -> &[Section<'static>] {
        &self.0.sections
    }
}

/// The command with its placeholders filled in; `None` where one is unknown.
pub(super) fn filled(line: &str, fill: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    PLACEHOLDERS.iter().try_fold(line.to_owned(), |line, name| {
        let placeholder = format!("{{{name}}}");
        if line.contains(&placeholder) { Some(line.replace(&placeholder, &fill(name)?)) } else { Some(line) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled() {
        let fill = |name: &str| match name {
            "pid" => Some("7".to_owned()),
            "peer" => Some("::1".to_owned()),
            _ => None,
        };
        let command = "ss -p {pid} dst '[{peer}]' | awk '{print $1}'";
        assert_eq!(filled(command, &fill).as_deref(), Some("ss -p 7 dst '[::1]' | awk '{print $1}'"));
        assert_eq!(filled("ss 'sport = :{port}'", &fill), None);
    }

    #[test]
    fn what_a_finding_takes_from_its_page() {
        let page = rule_page("close-wait-leak", Language::En).expect("is a rule");
        assert_eq!(page.id(), "close-wait-leak");
        assert!(page.meaning().starts_with("The peers have closed these connections, and the program on"));
        assert!(page.remedy().ends_with("give the descriptors back."));
        assert_eq!(page.commands(&|_| None), Vec::<String>::new());
        let all = page.commands(&|name| Some(name.to_uppercase()));
        assert_eq!(
            all.first().map(String::as_str),
            Some("tcptrace leaks --rule close-wait-leak --for 60s --stacks --pid PID")
        );
        let keys: Vec<&str> = page.thresholds().iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["age", "count", "growth", "times_p99"]);
        assert_eq!(rule_page("close-wait", Language::En), None);
    }

    #[test]
    fn no_text_is_empty() {
        for language in [Language::En, Language::Zh] {
            for page in rule_ids().filter_map(|id| rule_page(id, language)) {
                let commands = page.commands(&|name| Some(name.to_uppercase()));
                assert!(!page.meaning().is_empty() && !page.remedy().is_empty(), "{}", page.id());
                assert!(!commands.is_empty() && !page.thresholds().is_empty(), "{}", page.id());
                assert!(commands.iter().all(|command| !command.contains("{p") || command.contains("{print")));
            }
        }
    }
}
