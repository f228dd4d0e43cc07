//! Lines that were accepted before.

/// Lines that are remembered.
const MOST: usize = 50;

/// The lines of a session, the last at the end.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<String>);

impl History {
    /// Remembers a line. One that is there already becomes the last.
    pub fn push(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        self.0.retain(|known| known != line);
        self.0.push(line.to_owned());
        if self.0.len() > MOST {
            self.0.remove(0);
        }
    }
}

/// A walk through them, from the line that was being typed.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    lines: Vec<String>,
    /// How many steps back.
    steps: usize,
    /// What was being typed.
    typed: String,
}

impl Walk {
    /// At its begin.
    pub(super) fn of(history: &History) -> Self {
        Self { lines: history.0.clone(), ..Self::default() }
    }

    /// The line before the one that is shown, or after it; `None` at the ends.
    pub(super) fn step(&mut self, is_back: bool, shown: &str) -> Option<String> {
        if self.steps == 0 {
            shown.clone_into(&mut self.typed);
        }
        loop {
            self.steps = if is_back { self.steps + 1 } else { self.steps.checked_sub(1)? };
            let Some(line) = self.line() else {
                self.steps -= 1;
                return None;
            };
            // The filter as it is was accepted before.
            if line != shown || self.steps == 0 {
                return Some(line.to_owned());
            }
        }
    }

    fn line(&self) -> Option<&str> {
        match self.steps {
            0 => Some(&self.typed),
            steps => {
                self.lines.len().checked_sub(steps).and_then(|at| self.lines.get(at)).map(String::as_str)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut history = History::default();
        for line in ["a", "b", "", "a", "c"] {
            history.push(line);
        }
        let mut walk = Walk::of(&history);
        assert_eq!(walk.step(false, "x"), None);
        assert_eq!(walk.step(true, "x").as_deref(), Some("c"));
        assert_eq!(walk.step(true, "c").as_deref(), Some("a"));
        assert_eq!(walk.step(true, "a").as_deref(), Some("b"));
        assert_eq!(walk.step(true, "b"), None);
        assert_eq!(walk.step(false, "b").as_deref(), Some("a"));
        assert_eq!(walk.step(false, "a").as_deref(), Some("c"));
        assert_eq!(walk.step(false, "c").as_deref(), Some("x"));
        assert_eq!(walk.step(false, "x"), None);
    }

    #[test]
    fn the_line_that_is_shown_is_no_step() {
        let mut history = History::default();
        history.push("a");
        history.push("b");
        assert_eq!(Walk::of(&history).step(true, "b").as_deref(), Some("a"));
    }

    #[test]
    fn old_lines_are_forgotten() {
        let mut history = History::default();
        for number in 0..100 {
            history.push(&number.to_string());
        }
        assert_eq!((history.0.len(), &*history.0[0]), (MOST, "50"));
    }
}
