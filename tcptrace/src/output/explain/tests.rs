use super::*;
use crate::model::findings::{Thresholds, thresholds};

const LANGUAGES: [Language; 2] = [Language::En, Language::Zh];

/// The pages of everything, with their names.
fn pages() -> Vec<(&'static str, Language, Vec<Section<'static>>)> {
    let states = TcpState::ALL.into_iter().flat_map(|state| {
        LANGUAGES.map(|language| {
            let page = state_page(state, language);
            (page.title, language, page.sections)
        })
    });
    let rules = rule_ids().flat_map(|id| {
        LANGUAGES.map(|language| {
            let page = rule_page(id, language).expect("is a rule");
            (id, language, page.sections().to_vec())
        })
    });
    states.chain(rules).collect()
}

#[test]
fn every_state_has_a_page_of_its_name() {
    for state in TcpState::ALL {
        for language in LANGUAGES {
            let page = state_page(state, language);
            assert_eq!(page.title, state.name(), "{language:?}");
            let more = usize::from(state == TcpState::Established);
            assert_eq!(page.sections.len(), 7 + more, "{state:?} {language:?}");
        }
    }
}

#[test]
fn every_rule_has_a_page_of_its_id() {
    let en = ["What it is", "When it is found", "Thresholds", "What to do", "Look further", "Settings"];
    let zh = ["含义", "何时报告", "阈值", "怎么办", "进一步查看", "设置"];
    for id in rule_ids() {
        for (language, expected) in LANGUAGES.into_iter().zip([en, zh]) {
            let page = rule_page(id, language).expect("is a rule");
            assert_eq!(page.id(), id, "{language:?}");
            let headings: Vec<&str> = page.sections().iter().map(|section| section.heading).collect();
            assert!(headings == expected || headings == expected[..5], "{id} {language:?}: {headings:?}");
            for section in page.sections() {
                let thresholds = section.heading == Heading::Thresholds.name(language);
                assert_eq!(!section.thresholds.is_empty(), thresholds, "{id} {language:?}");
                assert_eq!(!section.settings.is_empty(), section.heading == expected[5], "{id} {language:?}");
                assert!(section.lines.is_empty() == (thresholds || section.heading == expected[5]), "{id}");
            }
        }
    }
}

#[test]
fn no_section_is_empty() {
    for (name, language, sections) in pages() {
        assert!(sections.iter().all(|section| !section.is_empty()), "{name} {language:?}");
    }
}

#[test]
fn both_languages_name_the_same_settings() {
    for state in TcpState::ALL {
        let names = |language| -> Vec<&str> {
            let page = state_page(state, language);
            page.sections.iter().flat_map(|section| section.settings.iter().map(|(name, _)| *name)).collect()
        };
        assert_eq!(names(Language::En), names(Language::Zh), "{state:?}");
        assert!(!names(Language::En).is_empty(), "{state:?}");
    }
}

#[test]
fn both_languages_name_the_same_thresholds_commands_and_settings() {
    for id in rule_ids() {
        let [en, zh] = LANGUAGES.map(|language| rule_page(id, language).expect("is a rule"));
        let as_written = |name: &str| Some(format!("{{{name}}}"));
        assert_eq!(en.commands(&as_written), zh.commands(&as_written), "{id}");
        let names = |page: &RulePage| -> Vec<&'static str> {
            let settings = page.sections().iter().flat_map(|section| &section.settings);
            settings.chain(page.thresholds()).map(|(name, _)| *name).collect()
        };
        assert_eq!(names(&en), names(&zh), "{id}");
    }
}

#[test]
fn rules_and_thresholds_are_those_that_findings_have() {
    assert_eq!(rule_ids().collect::<Vec<_>>(), thresholds::rule_ids());
    let of_pages = rule_ids()
        .filter_map(|id| rule_page(id, Language::En))
        .flat_map(|page| page.thresholds().iter().map(|(key, _)| (page.id(), *key)).collect::<Vec<_>>());
    let of_rules: Vec<_> =
        Thresholds::default().entries().into_iter().map(|(id, key, _)| (id, key)).collect();
    assert_eq!(of_pages.collect::<Vec<_>>(), of_rules);
}

#[test]
fn commands_leave_nothing_else_open() {
    for page in rule_ids().filter_map(|id| rule_page(id, Language::En)) {
        for command in page.commands(&|_| Some(String::new())) {
            let open = command.replace("{print ", "").find('{');
            assert_eq!(open, None, "{}: {command}", page.id());
        }
    }
}

#[test]
fn lines_fit_a_terminal() {
    for (name, language, sections) in pages() {
        let most = if language == Language::En { 80 } else { 92 };
        for section in sections {
            let is_text = section.heading != Heading::Commands.name(language);
            for line in section.lines.iter().filter(|_| is_text) {
                let width = wrap::columns(line);
                assert!(width <= most, "{name} {language:?}: {width}: {line}");
            }
        }
    }
}

fn printed(write: impl FnOnce(&mut Vec<u8>, Setting<'_>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    let setting = |name: &str| match name {
        "fs.nr_open" => None,
        "net.ipv4.ip_local_reserved_ports" => Some(String::new()),
        _ => Some("7200".to_owned()),
    };
    write(&mut out, &setting).expect("memory takes it");
    String::from_utf8(out).expect("is UTF-8")
}

#[test]
fn pages_as_they_are_printed() {
    for (language, state) in [(Language::En, "state_en"), (Language::Zh, "state_zh")] {
        let page = printed(|out, setting| write_state(out, TcpState::CloseWait, language, setting, false));
        insta::assert_snapshot!(state, page);
    }
    let threshold =
        |rule: &str, key: &str| (rule == "port-exhaustion" && key != "count").then(|| "80".to_owned());
    for (language, rule) in [(Language::En, "rule_en"), (Language::Zh, "rule_zh")] {
        let page = rule_page("port-exhaustion", language).expect("is a rule");
        let page = printed(|out, setting| write_rule(out, &page, language, setting, &threshold, false));
        insta::assert_snapshot!(rule, page);
    }
    insta::assert_snapshot!("diagram_en", printed(|out, _| write_diagram(out, Language::En)));
    insta::assert_snapshot!("diagram_zh", printed(|out, _| write_diagram(out, Language::Zh)));
    let coloured = printed(|out, setting| write_state(out, TcpState::Close, Language::En, setting, true));
    assert!(coloured.starts_with("\u{1b}[1mCLOSE\u{1b}[0m\n"), "{coloured:?}");
}
