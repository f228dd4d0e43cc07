//! The language of the view's filter line: that of the selection flags, with what this host knows.

use std::ops::Range;

use super::{selection, with_causes};
use crate::{
    cli::{
        Places,
        filter_line::{self, FilterLine, LineError},
    },
    model::{Filter, TcpState},
    output::{
        escape,
        explain::{self, Heading, Language},
        tui::world::{Completion, FilterError, FilterLanguage},
    },
    source::{cgroups::Cgroups, netns_names},
};

/// The selection flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectionLanguage;

impl From<LineError> for FilterError {
    fn from(error: LineError) -> Self {
        Self { at: error.at, message: error.message }
    }
}

impl FilterLanguage for SelectionLanguage {
    fn parse(&self, line: &str) -> Result<Filter, FilterError> {
        let read = FilterLine::read(line)?;
        let resolve = |places: &Places| {
            selection::resolve(read.filter.clone(), places, &mut Cgroups::new()).map(|(filter, _)| filter)
        };
        resolve(&read.places).map_err(|error| {
            let at = unresolved(&read, |places| resolve(&places).is_err());
            FilterError { at: at.unwrap_or(0..line.len()), message: with_causes(&error) }
        })
    }

    fn note(&self, line: &str) -> Option<String> {
        let read = FilterLine::read(line).ok()?;
        let names: Vec<_> = read.bare_names().map(|name| format!("`{}`", escape::text(name))).collect();
        let is = if names.len() == 1 { "is" } else { "are" };
        (!names.is_empty())
            .then(|| format!("{} {is} taken for the name of a process (--comm)", names.join(", ")))
    }

    fn wrong_for_good(&self, line: &str) -> Option<FilterError> {
        filter_line::wrong_for_good(line, &values).map(FilterError::from)
    }

    fn last_word(&self, line: &str) -> usize {
        filter_line::last_word(line)
    }

    fn complete(&self, line: &str) -> Vec<Completion> {
        let words = filter_line::completions(line, &values);
        words.into_iter().map(|(word, help)| Completion { word, help }).collect()
    }
}

/// Where the first word is that leads nowhere on this host.
fn unresolved(read: &FilterLine, fails: impl Fn(Places) -> bool) -> Option<Range<usize>> {
    let netns = read.places.netns.iter().map(|word| {
        let places = Places { netns: vec![word.clone()], cgroup: None };
        ("--netns", word.clone(), places)
    });
    let cgroup = read.places.cgroup.iter().map(|path| {
        let places = Places { netns: Vec::new(), cgroup: Some(path.clone()) };
        ("--cgroup", path.display().to_string(), places)
    });
    let (flag, word, _) = netns.chain(cgroup).find(|(.., places)| fails(places.clone()))?;
    Some(read.place_of(flag, &word))
}

/// What a flag may be given, as far as there is something to choose from.
fn values(flag: &str) -> Vec<(String, String)> {
    match flag {
        "--state" => TcpState::IN_LIFE
            .into_iter()
            .map(|state| {
                let meaning = explain::state_page(state, Language::En).paragraph(Heading::Meaning);
                (state.name().to_ascii_lowercase().replace('_', "-"), meaning)
            })
            .collect(),
        "--netns" => {
            let mut names = vec![("self".to_owned(), "the network namespace of tcptrace itself".to_owned())];
            let given = netns_names::given_names().into_iter();
            // What cannot be typed and shown as it is must be given by its number.
            let plain = given.filter(|(_, name)| escape::text(name) == *name && !name.contains(','));
            names.extend(plain.map(|(inode, name)| (name, format!("network namespace {inode}"))));
            names
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> (&str, String) {
        let error = SelectionLanguage.parse(line).expect_err(line);
        (&line[error.at], error.message)
    }

    #[test]
    fn a_line_means_what_the_flags_mean() {
        assert_eq!(SelectionLanguage.parse(" "), Ok(Filter::default()));
        let filter = SelectionLanguage.parse("443 --netns self close-wait").expect("is right");
        assert_eq!(filter.netns.map(|inodes| inodes.len()), Some(1));
        assert!(filter.service_ports.is_some() && filter.states.is_some());
        // As a finding leads to its sockets.
        for line in
            ["--port 8080 --pid 1 --state CLOSE_WAIT", "--comm nginx --raddr 2001:db8::1 --state TIME_WAIT"]
        {
            assert!(SelectionLanguage.parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_not_on_this_host_is_pointed_at() {
        let (place, message) = error("443 --netns self,nowhere.at.all nginx");
        assert_eq!(place, "nowhere.at.all");
        assert!(message.starts_with("--netns: `nowhere.at.all` is no network namespace"), "{message}");
        let (place, message) = error("-N self --cgroup '/nowhere at/all'");
        assert_eq!(place, "'/nowhere at/all'");
        assert!(message.starts_with("--cgroup: "), "{message}");
        let (place, message) = error("-4 --port x");
        assert_eq!((place, message.starts_with("--port: `x` is no port")), ("x", true));
    }

    #[test]
    fn states_and_namespaces_are_offered() {
        let offered = |line| SelectionLanguage.complete(line);
        let words = offered("--state close");
        assert_eq!(words.len(), 2, "{words:?}");
        let close_wait = words.iter().find(|word| word.word == "close-wait").expect("is offered");
        assert_eq!(close_wait.help, "The peer has closed, and our program has not.");
        assert_eq!(offered("-N sel")[0].word, "self");
        assert_eq!(SelectionLanguage.wrong_for_good("--netns nowhere.at.all"), None, "the host is not asked");
    }
}
