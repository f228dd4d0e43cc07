//! Where the lines are drawn. Each has a reason, which is in docs/FINDINGS.md.

use thiserror::Error;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// What a threshold is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nanoseconds in a state, which `--older-than` replaces.
    Age,
    /// Nanoseconds.
    Span,
    /// Anything that is counted.
    Count,
    /// Parts of a hundred.
    Percent,
}

/// A value as it was given: one or the other, or either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Read as a whole number.
    pub number: Option<u64>,
    /// Read as a span of time, in nanoseconds.
    pub span_ns: Option<u64>,
}

/// A threshold that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetError {
    /// There is no such rule.
    #[error("there is no rule `{0}`; rules are {all}", all = rule_ids().join(" "))]
    Rule(String),
    /// It has no such threshold.
    #[error("rule `{rule}` has no threshold `{key}`; it has {}", keys(rule))]
    Key {
        /// The rule.
        rule: String,
        /// What was asked for.
        key: String,
    },
    /// It is of another kind.
    #[error("{rule}.{key} is {wanted}")]
    Value {
        /// The rule.
        rule: String,
        /// The threshold.
        key: String,
        /// What it takes.
        wanted: &'static str,
    },
}

impl Kind {
    const fn wanted(self) -> &'static str {
        match self {
            Self::Age | Self::Span => "a span of time, such as 30s, 5m, 2h",
            Self::Count => "a whole number",
            Self::Percent => "a number from 0 to 100",
        }
    }

    fn take(self, given: Given) -> Option<u64> {
        match self {
            Self::Age | Self::Span => given.span_ns,
            Self::Count => given.number,
            Self::Percent => given.number.filter(|percent| *percent <= 100),
        }
    }

    fn show(self, value: u64) -> String {
        match self {
            Self::Age | Self::Span => show_span(value),
            Self::Count => value.to_string(),
            Self::Percent => format!("{value} %"),
        }
    }
}

fn show_span(ns: u64) -> String {
    let units = [(HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let unit = units.into_iter().find(|(unit, _)| ns >= *unit && ns.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((SECOND, "s"));
    format!("{}{name}", ns / unit)
}

macro_rules! thresholds {
    ($($field:ident $type:ident $rule:literal { $($key:ident: $kind:ident = $value:expr;)* })*) => {
        $(
            #[doc = concat!("Thresholds of `", $rule, "`.")]
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $type {
                $(#[doc = concat!("`", stringify!($key), "`")] pub $key: u64,)*
            }
        )*

        /// All of them, by rule.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Thresholds {
            $(#[doc = concat!("Those of `", $rule, "`.")] pub $field: $type,)*
        }

        impl Default for Thresholds {
            fn default() -> Self {
                Self { $($field: $type { $($key: $value,)* },)* }
            }
        }

        impl Thresholds {
            /// Sets one.
            ///
            /// # Errors
            ///
            /// There is no such threshold, or it is of another kind.
            pub fn set(&mut self, rule: &str, key: &str, given: Given) -> Result<(), SetError> {
                let (place, kind) = match (rule, key) {
                    $($(($rule, stringify!($key)) => (&mut self.$field.$key, Kind::$kind),)*)*
                    _ if !rule_ids().contains(&rule) => return Err(SetError::Rule(rule.to_owned())),
                    _ => return Err(SetError::Key { rule: rule.to_owned(), key: key.to_owned() }),
                };
                let value = kind.take(given).ok_or_else(|| SetError::Value {
                    rule: rule.to_owned(),
                    key: key.to_owned(),
                    wanted: kind.wanted(),
                })?;
                *place = value;
                Ok(())
            }

            /// Sets all ages.
            pub fn set_ages(&mut self, ns: u64) {
                for (place, kind) in [$($((&mut self.$field.$key, Kind::$kind),)*)*] {
                    if kind == Kind::Age {
                        *place = ns;
                    }
                }
            }

            /// Each with its rule, its name and its value for people.
            pub fn entries(&self) -> Vec<(&'static str, &'static str, String)> {
                vec![$($(($rule, stringify!($key), Kind::$kind.show(self.$field.$key)),)*)*]
            }
        }

        /// Names of the rules, in the order of the documentation.
        pub fn rule_ids() -> Vec<&'static str> {
            vec![$($rule),*]
        }
    };
}

thresholds! {
    close_wait_leak CloseWaitLeak "close-wait-leak" {
        age: Age = 30 * SECOND;
        count: Count = 10;
        growth: Count = 10;
        times_p99: Count = 10;
    }
    closed_fd_held ClosedFdHeld "closed-fd-held" {
        age: Age = 10 * SECOND;
        count: Count = 10;
    }
    fd_exhaustion FdExhaustion "fd-exhaustion" {
        percent: Percent = 80;
        critical_percent: Percent = 95;
        within: Span = 10 * MINUTE;
    }
    time_wait_pileup TimeWaitPileup "time-wait-pileup" {
        percent: Percent = 50;
        count: Count = 50;
    }
    port_exhaustion PortExhaustion "port-exhaustion" {
        percent: Percent = 80;
        critical_percent: Percent = 95;
        within: Span = 10 * MINUTE;
        count: Count = 50;
    }
    time_wait_overflow TimeWaitOverflow "time-wait-overflow" {
        count: Count = 1;
    }
    syn_sent_fanout SynSentFanout "syn-sent-fanout" {
        hosts: Count = 50;
        answered_percent: Percent = 20;
    }
    syn_sent_stuck SynSentStuck "syn-sent-stuck" {
        age: Age = 3 * SECOND;
        count: Count = 5;
    }
    port_reuse_collision PortReuseCollision "port-reuse-collision" {
        age: Age = SECOND;
        count: Count = 1;
    }
    half_open_pileup HalfOpenPileup "half-open-pileup" {
        age: Age = SECOND;
        count: Count = 20;
    }
    accept_queue_overflow AcceptQueueOverflow "accept-queue-overflow" {
        dropped: Count = 1;
    }
    never_accepted NeverAccepted "never-accepted" {
        age: Age = 5 * SECOND;
        count: Count = 5;
    }
    fin_wait2_stuck FinWait2Stuck "fin-wait2-stuck" {
        age: Age = 60 * SECOND;
        count: Count = 5;
    }
    last_ack_stuck LastAckStuck "last-ack-stuck" {
        age: Age = 30 * SECOND;
        count: Count = 3;
        retransmissions: Count = 5;
    }
    fin_wait1_stuck FinWait1Stuck "fin-wait1-stuck" {
        age: Age = 30 * SECOND;
        count: Count = 3;
        retransmissions: Count = 5;
    }
    closing_stuck ClosingStuck "closing-stuck" {
        age: Age = 30 * SECOND;
        count: Count = 3;
        retransmissions: Count = 5;
    }
    reset_storm ResetStorm "reset-storm" {
        count: Count = 50;
        percent: Percent = 20;
        seconds: Count = 3;
    }
    refused_storm RefusedStorm "refused-storm" {
        count: Count = 20;
        percent: Percent = 50;
        seconds: Count = 3;
    }
    short_lived_churn ShortLivedChurn "short-lived-churn" {
        per_second: Count = 50;
        life: Span = SECOND;
        seconds: Count = 3;
        warning_per_second: Count = 1000;
    }
    idle_established IdleEstablished "idle-established" {
        idle: Age = 2 * HOUR;
        count: Count = 10;
    }
}

fn keys(rule: &str) -> String {
    let entries = Thresholds::default().entries();
    entries.iter().filter(|(of, ..)| *of == rule).map(|(_, key, _)| *key).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_set_by_its_name() {
        let mut thresholds = Thresholds::default();
        let span = Given { number: None, span_ns: Some(5 * SECOND) };
        let number = Given { number: Some(7), span_ns: Some(7 * SECOND) };
        assert_eq!(thresholds.set("close-wait-leak", "age", span), Ok(()));
        assert_eq!(thresholds.set("close-wait-leak", "count", number), Ok(()));
        assert_eq!(
            thresholds.close_wait_leak,
            CloseWaitLeak { age: 5 * SECOND, count: 7, growth: 10, times_p99: 10 }
        );
        for (rule, key, given, wanted) in [
            ("close-wait", "age", span, "there is no rule `close-wait`"),
            ("close-wait-leak", "ages", span, "it has age count growth times_p99"),
            ("close-wait-leak", "count", span, "close-wait-leak.count is a whole number"),
            ("reset-storm", "percent", Given { number: Some(101), span_ns: None }, "from 0 to 100"),
        ] {
            let error = thresholds.set(rule, key, given).expect_err("cannot be set").to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn ages_are_replaced_and_other_spans_are_not() {
        let mut thresholds = Thresholds::default();
        thresholds.set_ages(2 * SECOND);
        let shown = thresholds.entries();
        let of = |rule, key| {
            shown.iter().find(|entry| (entry.0, entry.1) == (rule, key)).map(|entry| entry.2.as_str())
        };
        assert_eq!(of("idle-established", "idle"), Some("2s"));
        assert_eq!(of("never-accepted", "age"), Some("2s"));
        assert_eq!(of("fd-exhaustion", "within"), Some("10m"));
        assert_eq!(of("short-lived-churn", "life"), Some("1s"));
        assert_eq!(of("reset-storm", "percent"), Some("20 %"));
    }
}
