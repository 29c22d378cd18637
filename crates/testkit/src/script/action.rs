//! The lines of a script: when, and what.

use std::time::Duration;

use super::notation::{Icmp, Segment};

/// The furthest that a line with the time `*` waits.
const ANY_TIME: Duration = Duration::from_hours(24);

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from one.
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) when: When,
    pub(super) action: Action,
}

/// The first and the last moment at which a line may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// Counted from the line before, not from the beginning.
    pub(super) relative: bool,
    pub(super) earliest: Duration,
    pub(super) latest: Duration,
}

/// What a line does or expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Config(Vec<(String, String)>),
    Inject(Segment),
    InjectIcmp(Icmp),
    Expect(Segment),
    ExpectIcmp(Icmp),
    Event(String),
    /// Every new flow is accepted at once from now on.
    Listen,
    Flow(u16),
    Write(usize),
    Read(usize),
    /// A name, a comparison and a value.
    Query(String, String),
    /// How far the number of the last SYN lies beyond that of the one before, at least.
    IsnMoved(u32),
    /// Nothing has come.
    Silence,
    /// The lines so far are one batch.
    Flush,
    /// Something that the subject knows.
    Command(String),
    /// A line of packetdrill that means nothing here.
    Nothing,
}

/// Reads a whole script.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, without_comment(line)));
    let lines = numbered.filter(|(_, line)| !line.is_empty());
    lines.map(|(number, line)| parse_line(number, line).map_err(|error| (number, error))).collect()
}

fn without_comment(line: &str) -> &str {
    let line = line.split_once("//").map_or(line, |(before, _)| before).trim();
    if line.starts_with('#') { "" } else { line }
}

fn parse_line(number: usize, line: &str) -> Result<Line, String> {
    if let Some(words) = line.strip_prefix("config ") {
        let action = Action::Config(words.split_whitespace().map(pair).collect::<Result<_, _>>()?);
        return Ok(Line { number, text: line.into(), when: When::at_once(), action });
    }
    let (time, rest) = line.split_once(char::is_whitespace).ok_or("a line needs a time")?;
    let (when, action) = (When::parse(time)?, Action::parse(rest.trim())?);
    let waits = matches!(action, Action::Expect(_) | Action::ExpectIcmp(_) | Action::Event(_));
    if !waits && when.earliest != when.latest {
        return Err("only what is expected can have a range of time".into());
    }
    Ok(Line { number, text: line.into(), when, action })
}

fn pair(word: &str) -> Result<(String, String), String> {
    let (key, value) = word.split_once('=').ok_or_else(|| format!("{word} is not key=value"))?;
    Ok((key.into(), value.into()))
}

impl When {
    fn at_once() -> Self {
        Self { relative: true, earliest: Duration::ZERO, latest: Duration::ZERO }
    }

    /// `0.5`, `+0.5`, `0.5~0.7`, `+0.5~+0.7` or `*`.
    fn parse(word: &str) -> Result<Self, String> {
        if word == "*" {
            return Ok(Self { latest: ANY_TIME, ..Self::at_once() });
        }
        let (earliest, latest) = word.split_once('~').unwrap_or((word, word));
        let relative = earliest.starts_with('+');
        let (earliest, latest) = (seconds(earliest)?, seconds(latest)?);
        if latest < earliest {
            return Err(format!("{word} ends before it begins"));
        }
        Ok(Self { relative, earliest, latest })
    }
}

/// Decimal seconds, down to the nanosecond and without rounding; `2ms` and `2s` too.
pub(super) fn seconds(word: &str) -> Result<Duration, String> {
    let wrong = || format!("{word} is not a time");
    if let Some(millis) = word.strip_suffix("ms") {
        return millis.parse().map(Duration::from_millis).map_err(|_| wrong());
    }
    let word = word.trim_start_matches('+').trim_end_matches('s');
    let (whole, fraction) = word.split_once('.').unwrap_or((word, "0"));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let nanos: u32 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    if fraction.len() > 9 { Err(wrong()) } else { Ok(Duration::new(whole, nanos)) }
}

impl Action {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(segment) = text.strip_prefix('<') {
            return match Icmp::parse(segment) {
                Some(icmp) => icmp.map(Self::InjectIcmp),
                None => Segment::parse(segment).map(Self::Inject),
            };
        }
        if let Some(segment) = text.strip_prefix('>') {
            return match Icmp::parse(segment) {
                Some(icmp) => icmp.map(Self::ExpectIcmp),
                None => Segment::parse(segment).map(Self::Expect),
            };
        }
        if text.contains('(') { system_call(text) } else { Self::command(text) }
    }

    fn command(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let count = || rest.trim().parse().map_err(|_| format!("{name} needs a number of bytes"));
        Ok(match name {
            "event" => Self::Event(rest.trim().into()),
            "listen" => Self::Listen,
            "flow" => Self::Flow(rest.trim().parse().map_err(|_| "flow needs a number")?),
            "write" => Self::Write(count()?),
            "read" => Self::Read(count()?),
            "silence" => Self::Silence,
            "flush" => Self::Flush,
            "isn" => Self::IsnMoved(rest.trim().parse().map_err(|_| "isn needs a number")?),
            "expect" => {
                let (name, value) =
                    rest.split_once(' ').ok_or("expect needs a name and a value")?;
                Self::Query(name.into(), value.trim().into())
            }
            _ => Self::Command(text.into()),
        })
    }
}

/// A system call of a packetdrill script, as far as it means something to an interposer.
fn system_call(text: &str) -> Result<Action, String> {
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let result = rest.rsplit_once('=').map_or("", |(_, result)| result.trim());
    let count = || result.parse::<usize>().map_err(|_| format!("{text}: only successes are known"));
    match name.trim() {
        "socket" | "setsockopt" | "bind" | "accept" | "fcntl" => Ok(Action::Nothing),
        "listen" => Ok(Action::Listen),
        "write" | "send" | "sendto" => Ok(Action::Write(count()?)),
        "read" | "recv" if count()? == 0 => Ok(Action::Event("finished".into())),
        "read" | "recv" => Ok(Action::Read(count()?)),
        "close" | "shutdown" => Ok(Action::Command("finish".into())),
        _ => Err(format!("{name} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(text: &str) -> Action {
        parse_line(1, text).unwrap().action
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(seconds("0.200"), Ok(Duration::from_millis(200)));
        assert_eq!(seconds("+.000000001"), Ok(Duration::from_nanos(1)));
        assert_eq!(seconds("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(seconds("30s"), Ok(Duration::from_secs(30)));
        assert!(seconds("1.0000000001").is_err() && seconds("x").is_err());
        let when = When::parse("+0.1~+0.2").unwrap();
        assert_eq!(
            (when.relative, when.earliest.as_millis(), when.latest.as_millis()),
            (true, 100, 200)
        );
        assert!(When::parse("2~1").is_err());
    }

    #[test]
    fn comments_and_empty_lines_are_passed_over() {
        let lines = parse("// a rule\n\n# another\n+0 listen // at once\n").unwrap();
        assert_eq!((lines.len(), lines[0].number), (1, 4));
    }

    #[test]
    fn packetdrills_calls_have_their_meaning() {
        assert_eq!(action("+0 write(4, ..., 1000) = 1000"), Action::Write(1_000));
        assert_eq!(action("+0 read(4, ..., 1000) = 500"), Action::Read(500));
        assert_eq!(action("+0 read(4, ..., 1000) = 0"), Action::Event("finished".into()));
        assert_eq!(action("+0 listen(3, 1) = 0"), Action::Listen);
        assert_eq!(action("+0 bind(3, ..., ...) = 0"), Action::Nothing);
        assert_eq!(action("+0 close(4) = 0"), Action::Command("finish".into()));
        assert!(parse_line(1, "+0 epoll_wait(5) = 1").is_err());
        assert!(parse_line(1, "+0 write(4, ..., 1000) = -1 EPIPE (Broken pipe)").is_err());
    }

    #[test]
    fn only_what_is_expected_waits() {
        assert!(parse_line(1, "+0~+1 write 5").is_err());
        assert!(parse_line(1, "+0~+1 event finished").is_ok());
    }
}
