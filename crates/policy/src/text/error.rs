use std::fmt;
use std::ops::Range;

/// What a text has wrong, in one place. As text: `line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    line: usize,
    column: usize,
    message: String,
}

impl TextError {
    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong there; it names the value.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for TextError {}

/// Everything that is wrong with a text, in its order; never empty. As text: one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextErrors(pub(super) Vec<TextError>);

impl TextErrors {
    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &TextError> {
        self.0.iter()
    }
}

impl fmt::Display for TextErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TextErrors {}

/// A place in a text, in bytes.
pub(super) type Place = Range<usize>;

/// A text, what was found wrong with it so far, and how to tell where.
pub(super) struct Findings<'t> {
    text: &'t str,
    /// Where each line starts.
    lines: Vec<usize>,
    errors: Vec<TextError>,
}

impl<'t> Findings<'t> {
    /// Nothing found yet.
    pub(super) fn new(text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { text, lines, errors: Vec::new() }
    }

    /// Takes note of an error.
    pub(super) fn note(&mut self, place: &Place, message: impl Into<String>) {
        let (line, start) = self.line_at(place.start);
        let before = self.text.get(start..place.start).unwrap_or_default();
        let column = before.chars().count() + 1;
        self.errors.push(TextError { line, column, message: message.into() });
    }

    /// What stands at a place.
    pub(super) fn quote(&self, place: &Place) -> &'t str {
        self.text.get(place.clone()).unwrap_or_default()
    }

    /// The line of a place, counted from 1.
    pub(super) fn line(&self, place: &Place) -> usize {
        self.line_at(place.start).0
    }

    fn line_at(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at);
        (line, line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or(0))
    }

    /// The value, unless anything was wrong.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, TextErrors> {
        if self.errors.is_empty() {
            return Ok(value);
        }
        self.errors.sort_by_key(|error| (error.line, error.column));
        Err(TextErrors(self.errors))
    }
}
