//! A line of the selection flags, as it is typed into the view: read by the same definitions, with the places of errors.

use std::{collections::VecDeque, ops::Range};

use clap::{Arg, CommandFactory as _, Parser, error::ErrorKind};

use super::{
    error::one_line,
    selection::{Places, SelectionArgs},
    words::{Word, quoted, split},
};
use crate::model::{
    Filter,
    filter_lists::{NetworkList, StateSet},
};

/// What can stand behind a value that is still being typed, so that it becomes right.
const MORE: [&str; 14] =
    ["1", ".1", ".1.1", ".1.1.1", "1.1", "1.1.1", "::", ":", ":1", "1:1", "65535", "9", "99", "999"];

/// The flags.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Flags {
    #[command(flatten)]
    selection: SelectionArgs,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineError {
    /// Where, in bytes, at borders of characters.
    pub(crate) at: Range<usize>,
    /// What, and what is accepted, as the flags say it.
    pub(crate) message: String,
    /// It ends too early.
    is_unfinished: bool,
}

/// A line that was read.
#[derive(Clone, Debug)]
pub(crate) struct FilterLine {
    /// What it means.
    pub(crate) filter: Filter,
    /// What only the host knows the meaning of.
    pub(crate) places: Places,
    conditions: Vec<Condition>,
    line: String,
}

/// A flag with its value, or a word that stands for both.
#[derive(Clone, Debug)]
struct Condition {
    /// All of it.
    at: Range<usize>,
    /// The long name, with its dashes, where there is such a flag.
    flag: Option<String>,
    value: Option<Word>,
    /// As clap gets it.
    typed: Vec<String>,
    /// It has no flag of its own.
    is_bare: bool,
    /// Its value does not follow.
    lacks_value: bool,
}

impl FilterLine {
    /// Reads it. Besides the flags there are words that stand for one: numbers for `--port`, states for `--state`,
    /// addresses for `--raddr`, others for `--comm`. `:443` is a port, too.
    pub(crate) fn read(line: &str) -> Result<Self, LineError> {
        let cut = split(line);
        if let Some(at) = cut.open_quote {
            let message = "this quote does not end".to_owned();
            return Err(LineError { at: at..line.len(), message, is_unfinished: true });
        }
        // clap takes them for something else.
        if let Some(word) = cut.words.iter().find(|word| matches!(&*word.text, "-" | "--")) {
            let message = format!("unexpected argument '{}' found", word.text);
            return Err(LineError { at: word.at.clone(), message, is_unfinished: false });
        }
        let conditions = conditions(line, cut.words);
        match Flags::try_parse_from(arguments(&conditions)) {
            Ok(flags) => {
                let (filter, places) = flags.selection.meaning();
                Ok(Self { filter, places, conditions, line: line.to_owned() })
            }
            Err(_) => Err(first_error(line, &conditions)),
        }
    }

    /// Words without a flag that were taken for names of processes.
    pub(crate) fn bare_names(&self) -> impl Iterator<Item = &str> {
        let bare = self.conditions.iter().filter(|of| of.is_bare && of.flag.as_deref() == Some("--comm"));
        bare.filter_map(|condition| Some(&*condition.value.as_ref()?.text))
    }

    /// Where a word is in the value of a flag.
    pub(crate) fn place_of(&self, flag: &str, word: &str) -> Range<usize> {
        let of_flag = self.conditions.iter().filter(|condition| condition.flag.as_deref() == Some(flag));
        let mut values = of_flag.filter_map(|condition| condition.value.as_ref());
        values
            .find_map(|value| {
                let mut items = items(&self.line, value);
                items.find(|(_, item)| *item == word).map(|(at, _)| at)
            })
            .unwrap_or(0..self.line.len())
    }
}

/// What is wrong with a line that somebody types, as soon as nothing that is typed at its end can put it right. `values` knows
/// the values of flags, as for [`completions`].
pub(crate) fn wrong_for_good(line: &str, values: Values<'_>) -> Option<LineError> {
    let error = FilterLine::read(line).err()?;
    if error.at.end < line.len() {
        return (!error.is_unfinished).then_some(error);
    }
    let can_go_on = error.is_unfinished
        || !completions(line, values).is_empty()
        || MORE.iter().any(|more| FilterLine::read(&format!("{line}{more}")).is_ok());
    (!can_go_on).then_some(error)
}

/// The values of a flag, such as `--state`, with what they mean.
pub(crate) type Values<'a> = &'a dyn Fn(&str) -> Vec<(String, String)>;

/// Where the word begins that the line ends in.
pub(crate) fn last_word(line: &str) -> usize {
    split(line).words.last().filter(|word| word.at.end == line.len()).map_or(line.len(), |word| word.at.start)
}

/// What the word can become that the line ends in, with what it means.
pub(crate) fn completions(line: &str, values: Values<'_>) -> Vec<(String, String)> {
    let mut words = split(line).words;
    let is_last = |word: &mut Word| word.at.end == line.len();
    let last = words.pop_if(is_last).map(|word| word.text).unwrap_or_default();
    let before = conditions(line, words);
    let needs_value = before.last().filter(|condition| condition.lacks_value);
    if let Some(flag) = needs_value.and_then(|condition| condition.flag.as_deref()) {
        return of_values("", flag, &last, values);
    }
    if let Some((flag, value)) = last.split_once('=').filter(|(flag, _)| flag.starts_with("--")) {
        return of_values(&format!("{flag}="), flag, value, values);
    }
    let mut found = Vec::new();
    if !last.starts_with('-') && !last.is_empty() {
        found = of_values("", "--state", &last, values);
    }
    let is_given = |flag: &str| {
        before.iter().any(|condition| condition.flag.as_deref() == Some(flag)) && flag != "--netns"
    };
    let is_meant = |flag: &str| match last.strip_prefix('-') {
        Some(_) => flag.starts_with(&last),
        None => flag[2..].starts_with(&last),
    };
    let command = Flags::command();
    let flags = command.get_arguments().filter_map(|arg| Some((long(arg)?, arg)));
    found.extend(flags.filter(|(flag, _)| is_meant(flag) && !is_given(flag)).map(|(flag, arg)| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        (flag, help)
    }));
    found
}

/// The values of a flag that the last one of a list can become, which `before` stands before.
fn of_values(before: &str, flag: &str, list: &str, values: Values<'_>) -> Vec<(String, String)> {
    let (done, last) = match list.rfind(',') {
        Some(at) => list.split_at(at + 1),
        None => ("", list),
    };
    // As states are compared: `CLOSE_W` is the beginning of `close-wait`.
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let is_given = |value: &str| done.split(',').any(|given| plain(given) == plain(value));
    let fits = |value: &str| plain(value).starts_with(&plain(last)) && !is_given(value);
    let words = values(flag).into_iter().filter(|(value, _)| fits(value));
    words.map(|(value, help)| (quoted(&format!("{before}{done}{value}")), help)).collect()
}

fn long(arg: &Arg) -> Option<String> {
    arg.get_long().map(|name| format!("--{name}"))
}

/// The parts of a value that is a list, and where they are.
fn items<'a>(line: &str, value: &'a Word) -> impl Iterator<Item = (Range<usize>, &'a str)> {
    // Between quotes it is not known where.
    let is_as_typed = line.get(value.at.clone()) == Some(&value.text);
    let mut start = value.at.start;
    value.text.split(',').map(move |item| {
        let at = start..start + item.len();
        start = at.end + 1;
        (if is_as_typed { at } else { value.at.clone() }, item)
    })
}

/// Words to conditions.
fn conditions(line: &str, words: Vec<Word>) -> Vec<Condition> {
    let command = Flags::command();
    let by_long = |name: &str| command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let by_short = |name: char| command.get_arguments().find(|arg| arg.get_short() == Some(name));
    let mut words = VecDeque::from(words);
    let mut conditions = Vec::new();
    while let Some(word) = words.pop_front() {
        // The flag whose value is or should be there, and how much of the word stands before it.
        let (arg, inside) = if let Some(name) = word.text.strip_prefix("--") {
            let (name, value) =
                name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
            (by_long(name), value.map(|value| word.text.len() - value.len()))
        } else if let Some(letters) = word.text.strip_prefix('-') {
            let mut last = None;
            let mut inside = None;
            for (at, letter) in letters.char_indices() {
                last = by_short(letter);
                if last.is_none_or(|arg| arg.get_action().takes_values()) {
                    let rest = &letters[at + letter.len_utf8()..];
                    let value = rest.strip_prefix('=').unwrap_or(rest);
                    inside = (!rest.is_empty()).then(|| word.text.len() - value.len());
                    break;
                }
            }
            (last, inside)
        } else {
            let flag = stands_for(&word.text);
            conditions.push(Condition {
                at: word.at.clone(),
                flag: Some(flag.to_owned()),
                value: Some(if flag == "--port" { without_colon(word) } else { word }),
                typed: Vec::new(),
                is_bare: true,
                lacks_value: false,
            });
            continue;
        };
        let takes_values = arg.is_some_and(|arg| arg.get_action().takes_values());
        let mut condition = Condition {
            at: word.at.clone(),
            flag: arg.and_then(long),
            value: None,
            typed: vec![word.text.clone()],
            is_bare: false,
            lacks_value: false,
        };
        match inside {
            Some(before) if takes_values => {
                let text = word.text[before..].to_owned();
                let is_as_typed = line.get(word.at.clone()) == Some(&word.text);
                let at = if is_as_typed { word.at.start + before..word.at.end } else { word.at };
                condition.value = Some(Word { at, text });
            }
            None if takes_values => {
                // What looks like a flag is one.
                match words.pop_front_if(|next| !next.text.starts_with('-')) {
                    Some(value) => {
                        condition.at.end = value.at.end;
                        condition.typed.push(value.text.clone());
                        condition.value = Some(value);
                    }
                    None => condition.lacks_value = true,
                }
            }
            _ => {}
        }
        conditions.push(condition);
    }
    conditions
}

/// The flag that a word without one is meant for.
fn stands_for(word: &str) -> &'static str {
    let port = word.strip_prefix(':').unwrap_or(word);
    let begins_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
    let is_of = |letters: &str| word.chars().all(|c| c.is_ascii_hexdigit() || letters.contains(c));
    if port.starts_with(|c: char| c.is_ascii_digit())
        && port.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-'))
    {
        "--port"
    } else if word.parse::<StateSet>().is_ok() {
        "--state"
    } else if word.parse::<NetworkList>().is_ok()
        || is_of(".:/,") && (word.contains(':') || begins_with_digit && word.contains(['.', '/']))
    {
        "--raddr"
    } else {
        "--comm"
    }
}

/// A port as `ss` and others write it: `:443`.
fn without_colon(word: Word) -> Word {
    match word.text.strip_prefix(':') {
        None => word,
        // Where it was typed with quotes, its place is all of it.
        Some(port) if word.at.len() == word.text.len() => {
            Word { at: word.at.start + 1..word.at.end, text: port.to_owned() }
        }
        Some(port) => Word { text: port.to_owned(), at: word.at },
    }
}

/// As clap gets them. Words without a flag that stand for the same one are a list.
fn arguments(conditions: &[Condition]) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut lists: Vec<(&str, usize)> = Vec::new();
    for condition in conditions {
        let bare = condition.value.as_ref().filter(|_| condition.is_bare);
        let (Some(flag), Some(value)) = (condition.flag.as_deref(), bare) else {
            arguments.extend(condition.typed.iter().cloned());
            continue;
        };
        let place = lists.iter().find(|(of, _)| *of == flag).map(|(_, place)| *place);
        if let Some(list) = place.and_then(|place| arguments.get_mut(place)) {
            list.push(',');
            list.push_str(&value.text);
        } else {
            lists.push((flag, arguments.len()));
            arguments.push(format!("{flag}={}", value.text));
        }
    }
    arguments
}

/// What is wrong with the first condition that is.
fn first_error(line: &str, conditions: &[Condition]) -> LineError {
    let parse = |count: usize| Flags::try_parse_from(arguments(conditions.get(..count).unwrap_or_default()));
    // With one that is wrong all longer ones are.
    let (mut right, mut wrong) = (0, conditions.len());
    while wrong - right > 1 {
        let middle = usize::midpoint(right, wrong);
        if parse(middle).is_ok() {
            right = middle;
        } else {
            wrong = middle;
        }
    }
    let Some((error, condition)) = parse(wrong).err().zip(conditions.get(right)) else {
        return LineError { at: 0..line.len(), message: String::new(), is_unfinished: false };
    };
    let value = condition.value.as_ref().zip(condition.flag.as_deref());
    let at = match (error.kind(), value) {
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some((value, flag))) => {
            let is_wrong = |item: &str| Flags::try_parse_from([format!("{flag}={item}")]).is_err();
            items(line, value).find(|(_, item)| is_wrong(item)).map_or(value.at.clone(), |(at, _)| at)
        }
        _ => condition.at.clone(),
    };
    LineError {
        at,
        message: one_line(&error),
        is_unfinished: condition.lacks_value && right + 1 == conditions.len(),
    }
}

#[cfg(test)]
mod tests;
