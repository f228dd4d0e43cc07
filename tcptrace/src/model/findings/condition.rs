//! A condition on what was found, for scripts: `close_wait.count>100 && close_wait.age>5m`, or `warning`.
//!
//! ```text
//! condition  = severity | any
//! any        = all { "||" all }
//! all        = one { "&&" one }
//! one        = "!" one | "(" any ")" | what "." number comparison value
//! what       = a state in any common spelling | the id of a rule
//! number     = "count" | "age" | "slope" (a minute); of a rule "count" alone
//! comparison = ">" ">=" "<" "<=" "==" "!="
//! value      = a number, or of an age a span of time: 500ms 30s 5m 2h 1d
//! ```

use std::str::FromStr;

use thiserror::Error;

use super::{Finding, Severity, thresholds::rule_ids};
use crate::model::TcpState;

/// How deep parentheses and negations may go.
const DEEPEST: usize = 32;

/// The numbers that conditions are about.
pub trait Numbers {
    /// How many sockets are in a state.
    fn count(&self, state: TcpState) -> u64;
    /// The age of the oldest of them in nanoseconds, as far as known.
    fn age_ns(&self, state: TcpState) -> Option<u64>;
    /// By how many they grow in a minute.
    fn slope(&self, state: TcpState) -> Option<f64>;
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Count(TcpState),
    Age(TcpState),
    Slope(TcpState),
    Findings(&'static str),
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    More,
    AtLeast,
    Less,
    AtMost,
    Equal,
    Unequal,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Severity(Severity),
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Compared(Number, Comparison, f64),
}

impl Condition {
    /// Whether it holds. What is not known compares with nothing.
    pub fn holds(&self, findings: &[Finding], numbers: &dyn Numbers) -> bool {
        self.0.holds(findings, numbers)
    }
}

impl Node {
    #[expect(clippy::cast_precision_loss, reason = "counts and ages, not more")]
    #[expect(clippy::float_cmp, reason = "counts are whole numbers")]
    fn holds(&self, findings: &[Finding], numbers: &dyn Numbers) -> bool {
        match self {
            Self::Severity(least) => findings.iter().any(|finding| finding.severity >= *least),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(findings, numbers)),
            Self::All(nodes) => nodes.iter().all(|node| node.holds(findings, numbers)),
            Self::Not(node) => !node.holds(findings, numbers),
            Self::Compared(number, comparison, value) => {
                let number = match number {
                    Number::Count(state) => Some(numbers.count(*state) as f64),
                    Number::Age(state) => numbers.age_ns(*state).map(|ns| ns as f64),
                    Number::Slope(state) => numbers.slope(*state),
                    Number::Findings(rule) => {
                        Some(findings.iter().filter(|finding| finding.rule == *rule).count() as f64)
                    }
                };
                number.is_some_and(|number| match comparison {
                    Comparison::More => number > *value,
                    Comparison::AtLeast => number >= *value,
                    Comparison::Less => number < *value,
                    Comparison::AtMost => number <= *value,
                    Comparison::Equal => number == *value,
                    Comparison::Unequal => number != *value,
                })
            }
        }
    }
}

/// Why a condition cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} at character {at} of `{text}`")]
pub struct ConditionError {
    what: String,
    at: usize,
    text: String,
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let severities = [Severity::Info, Severity::Warning, Severity::Critical];
        if let Some(severity) = severities.into_iter().find(|severity| severity.name() == text.trim()) {
            return Ok(Self(Node::Severity(severity)));
        }
        let mut parser = Parser { text, rest: text, depth: 0 };
        let node = parser.any()?;
        parser.skip_blanks();
        if parser.rest.is_empty() {
            Ok(Self(node))
        } else {
            Err(parser.error("`&&`, `||` or the end is expected"))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, what: &str) -> ConditionError {
        let at = self.text.chars().count() - self.rest.chars().count() + 1;
        ConditionError { what: what.to_owned(), at, text: self.text.to_owned() }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn any(&mut self) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.all()?];
        while self.take("||") {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.one()?];
        while self.take("&&") {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn one(&mut self) -> Result<Node, ConditionError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("too many parentheses"));
        }
        let node = if self.take("!") {
            Node::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let node = self.any()?;
            if !self.take(")") {
                return Err(self.error("`)` is expected"));
            }
            node
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Letters, digits and what is in names.
    fn word(&mut self, others: &str) -> &'a str {
        self.skip_blanks();
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || others.contains(c));
        let (word, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn comparison(&mut self) -> Result<Node, ConditionError> {
        const WHAT: &str =
            "STATE.count, STATE.age, STATE.slope, RULE.count, `info`, `warning` or `critical` is expected";
        self.skip_blanks();
        let begin = self.rest;
        let what = self.word("-_");
        let number = if self.take(".") { self.word("") } else { "" };
        let rule = rule_ids().into_iter().find(|rule| *rule == what);
        let number = match (rule, what.parse::<TcpState>().ok(), number) {
            (Some(rule), _, "count") => Number::Findings(rule),
            // No table of the kernel has closed sockets.
            (None, Some(TcpState::Close), _) => {
                self.rest = begin;
                return Err(self.error("a state that sockets are listed in is expected (CLOSE is not)"));
            }
            (None, Some(state), "count") => Number::Count(state),
            (None, Some(state), "age") => Number::Age(state),
            (None, Some(state), "slope") => Number::Slope(state),
            _ => {
                self.rest = begin;
                return Err(self.error(WHAT));
            }
        };
        let comparisons = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            (">", Comparison::More),
            ("<", Comparison::Less),
        ];
        let comparison = comparisons.into_iter().find(|(token, _)| self.take(token));
        let Some((_, comparison)) = comparison else {
            return Err(self.error("one of > >= < <= == != is expected"));
        };
        self.skip_blanks();
        let begin = self.rest;
        let value = value(self.word(".-"), matches!(number, Number::Age(_)));
        let value = value.ok_or_else(|| {
            self.rest = begin;
            self.error(match number {
                Number::Age(_) => "a span of time, such as 30s, 5m or 2h, is expected",
                _ => "a number is expected",
            })
        })?;
        Ok(Node::Compared(number, comparison, value))
    }
}

/// A number, or nanoseconds.
fn value(word: &str, is_age: bool) -> Option<f64> {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let (digits, unit) = word.split_at(word.find(|c| !is_digit(c)).unwrap_or(word.len()));
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite())?;
    let scale = match (unit, is_age) {
        ("", false) => 1.0,
        ("ms", true) => 1e6,
        ("" | "s", true) => 1e9,
        ("m" | "min", true) => 60e9,
        ("h", true) => 3600e9,
        ("d", true) => 86_400e9,
        _ => return None,
    };
    Some(number * scale).filter(|_| !is_age || number >= 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::findings::Subject;

    struct Fixed;

    impl Numbers for Fixed {
        fn count(&self, state: TcpState) -> u64 {
            if state == TcpState::CloseWait { 150 } else { 0 }
        }

        fn age_ns(&self, state: TcpState) -> Option<u64> {
            (state == TcpState::CloseWait).then_some(300_000_000_000)
        }

        fn slope(&self, _: TcpState) -> Option<f64> {
            None
        }
    }

    fn holds(text: &str, findings: &[Finding]) -> bool {
        text.parse::<Condition>().expect(text).holds(findings, &Fixed)
    }

    #[test]
    fn conditions() {
        let found = [Finding::new("reset-storm", Subject::default(), 7)];
        for (text, wanted) in [
            ("close_wait.count>100 && close_wait.age>=5m", true),
            ("close-wait.count > 100 && CLOSE_WAIT.age > 5m", false),
            ("close_wait.age==300 || syn_sent.count!=0", true),
            ("!(close_wait.count<=150)", false),
            ("! close_wait.count < 150 && close_wait.age<0.1h", true),
            ("syn_sent.age>=0s", false),
            ("syn_sent.age<1s", false),
            ("close_wait.slope>-1", false),
            ("reset-storm.count==1", true),
            ("refused-storm.count>0", false),
            ("warning", true),
            (" info ", true),
            ("critical", false),
        ] {
            assert_eq!(holds(text, &found), wanted, "{text}");
        }
        assert!(!holds("info", &[]));
    }

    #[test]
    fn errors_name_the_place() {
        for (text, at, wanted) in [
            ("", 1, "STATE.count"),
            ("close_wait", 1, "STATE.count"),
            ("close_wait.count>1 & x", 20, "`&&`"),
            ("close_wait.count>1 && what.count>2", 23, "RULE.count"),
            ("close_wait.count=1", 17, "> >= <"),
            ("close_wait.count>5m", 18, "a number"),
            ("close_wait.age>5 lightyears", 18, "`&&`"),
            ("close_wait.age>5x", 16, "a span of time"),
            ("(close_wait.count>1", 20, "`)`"),
            ("reset-storm.age>1s", 1, "RULE.count"),
            ("é", 1, "STATE.count"),
            ("close.count>0", 1, "CLOSE is not"),
        ] {
            let error = text.parse::<Condition>().expect_err(text);
            assert!(error.at == at && error.what.contains(wanted), "{text}: {error}");
        }
        assert!("(".repeat(10_000).parse::<Condition>().is_err());
        assert!("!".repeat(10_000).parse::<Condition>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z_.()!&|<>=0-9 é-]{0,40}") {
            if let Ok(condition) = text.parse::<Condition>() {
                condition.holds(&[], &Fixed);
            }
        }
    }
}
