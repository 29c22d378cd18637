use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::{Fixture, Outcome, Role};

/// No rule takes longer, even on a slow machine.
const LIMIT: Duration = Duration::from_mins(1);

/// What became of each rule.
pub struct Report<'f> {
    fixture: &'f dyn Fixture,
    lines: Vec<(&'static str, Verdict)>,
}

#[derive(Debug)]
enum Verdict {
    Passed,
    Skipped(Role),
    Failed(String),
}

impl<'f> Report<'f> {
    pub(super) fn new(fixture: &'f dyn Fixture) -> Self {
        Self { fixture, lines: Vec::new() }
    }

    /// Runs one rule, where the fixture has the role that it needs.
    pub(super) async fn check<R>(
        &mut self,
        role: Role,
        rule: &'static str,
        check: impl FnOnce(&'f dyn Fixture) -> R,
    ) where
        R: Future<Output = Outcome>,
    {
        let verdict = if self.fixture.target(role).is_none() {
            Verdict::Skipped(role)
        } else {
            match timeout(LIMIT, check(self.fixture)).await {
                Ok(Ok(())) => Verdict::Passed,
                Ok(Err(failure)) => Verdict::Failed(failure.to_string()),
                Err(_) => Verdict::Failed("took for ever".to_owned()),
            }
        };
        self.lines.push((rule, verdict));
    }

    /// The rules that were broken.
    pub fn failed(&self) -> impl Iterator<Item = &'static str> {
        self.lines.iter().filter(|(_, v)| matches!(v, Verdict::Failed(_))).map(|(rule, _)| *rule)
    }

    /// The rules that could not be checked, for want of a role.
    pub fn skipped(&self) -> impl Iterator<Item = &'static str> {
        self.lines.iter().filter(|(_, v)| matches!(v, Verdict::Skipped(_))).map(|(rule, _)| *rule)
    }

    /// Fails the calling test where a rule was broken or skipped.
    ///
    /// # Panics
    /// With the whole report.
    pub fn assert_complete(&self) {
        self.assert_passed();
        assert_eq!(self.skipped().count(), 0, "\n{self}");
    }

    /// Fails the calling test where a rule was broken.
    ///
    /// # Panics
    /// With the whole report.
    pub fn assert_passed(&self) {
        assert_eq!(self.failed().count(), 0, "\n{self}");
    }
}

/// One line for each rule.
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, verdict) in &self.lines {
            match verdict {
                Verdict::Passed => writeln!(f, "passed   {rule}")?,
                Verdict::Skipped(role) => writeln!(f, "skipped  {rule} (needs {role:?})")?,
                Verdict::Failed(why) => writeln!(f, "FAILED   {rule}: {why}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.lines).finish()
    }
}
