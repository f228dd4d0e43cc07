//! `tcptrace doctor`: what tracing can rely on here.

mod json;
mod text;

use serde::Serialize;

pub use self::{json::write_json, text::write_text};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Tracing works without it, and less well.
    Note,
    /// Tracing does not work because of it.
    Fail,
    /// It could not be found out.
    Unknown,
}

/// One thing of this host that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found; `None` when nothing is known.
    pub found: Option<String>,
    /// What to do about it.
    pub todo: Option<String>,
}

/// One way to learn something from the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The word that flags and outputs have for it.
    pub name: &'static str,
    /// Whether `watch` will use it.
    pub used: bool,
    /// Whether the kernel has taken it when it was tried; `None` when it was not tried.
    pub works: Option<bool>,
    /// What it is, and what it costs or leaves out.
    pub what: String,
    /// What the kernel said against it.
    pub why_not: Option<String>,
    /// What it would take.
    pub needs: Option<String>,
}

/// The ways to learn one thing, the best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ladder {
    /// The thing.
    pub name: &'static str,
    /// The same in words.
    pub about: &'static str,
    /// The way that `watch` will use; `None` when it will not work, or that is not known.
    pub used: Option<&'static str>,
    /// The ways.
    pub steps: Vec<Step>,
}

impl Ladder {
    /// Whether there is a better way than the one in use.
    fn is_below_the_best(&self) -> bool {
        self.steps.first().is_some_and(|best| !best.used && self.used.is_some())
    }
}

/// How a field of the self-test came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it was.
    Right,
    /// Something else.
    Wrong,
    /// Nothing came.
    Missing,
    /// The ways that are in use cannot tell it, or the test cannot know the truth.
    NotKnown,
}

/// A field of the self-test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Whose: `listener`, `client`, `server`.
    pub of: &'static str,
    /// Which.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What the test knows itself; `None` when it does not.
    pub expected: Option<String>,
    /// What the trace said.
    pub found: Option<String>,
    /// Why it is not known.
    pub why: Option<String>,
}

/// One connection of our own, traced.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SelfTest {
    /// How long it took.
    pub took_s: Option<f64>,
    /// Why it was not made, or not to its end.
    pub why_not: Option<String>,
    /// Fields that are right.
    pub right: usize,
    /// Fields that could be compared.
    pub compared: usize,
    /// All fields.
    pub fields: Vec<Field>,
}

impl SelfTest {
    /// Of these fields.
    pub fn new(took_s: f64, why_not: Option<String>, fields: Vec<Field>) -> Self {
        let count = |outcome| fields.iter().filter(|field| field.outcome == outcome).count();
        let right = count(Outcome::Right);
        let compared = fields.len() - count(Outcome::NotKnown);
        Self { took_s: Some(took_s), why_not, right, compared, fields }
    }

    /// It was not made.
    pub fn not_made(why_not: String) -> Self {
        Self { why_not: Some(why_not), ..Self::default() }
    }

    /// Whether all that could be compared is right.
    pub fn is_right(&self) -> bool {
        self.why_not.is_none() && self.compared > 0 && self.right == self.compared
    }
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoctorReport {
    /// Our own version.
    pub version: &'static str,
    /// `uname -r`
    pub kernel: String,
    /// Whether `watch` will work.
    pub works: bool,
    /// Why not.
    pub problems: Vec<String>,
    /// This host.
    pub checks: Vec<Check>,
    /// The ways that the kernel offers.
    pub ladders: Vec<Ladder>,
    /// One connection of our own.
    pub self_test: SelfTest,
}
