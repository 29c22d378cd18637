//! The notation of TCP options: `<mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>`.

use super::notation::{number, short};

/// The options that a script writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Options {
    /// `<...>`: whatever they are.
    Any,
    These(Vec<OptionNotation>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OptionNotation {
    End,
    NoOperation,
    Mss(u16),
    /// `None` where any shift will do.
    WindowScale(Option<u8>),
    SackPermitted,
    /// In relative numbers.
    Sack(Vec<(u32, u32)>),
    /// `None` where any value will do.
    Timestamps {
        value: Option<u32>,
        echo: Option<u32>,
    },
    /// Octets as they are, kind and length included.
    Raw(Vec<u8>),
}

impl Options {
    pub(super) fn none() -> Self {
        Self::These(Vec::new())
    }

    /// Reads what stands between the angle brackets.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "..." => Ok(Self::Any),
            "" => Ok(Self::none()),
            text => text.split(',').map(|option| parse(option.trim())).collect::<Result<_, _>>(),
        }
    }

    /// The options one by one; none where any will do.
    pub(super) fn iter(&self) -> impl Iterator<Item = &OptionNotation> {
        match self {
            Self::Any => [].iter(),
            Self::These(options) => options.iter(),
        }
    }
}

impl FromIterator<OptionNotation> for Options {
    fn from_iter<I: IntoIterator<Item = OptionNotation>>(options: I) -> Self {
        Self::These(options.into_iter().collect())
    }
}

fn parse(text: &str) -> Result<OptionNotation, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words[..] {
        ["nop"] => OptionNotation::NoOperation,
        ["eol"] => OptionNotation::End,
        ["sackOK"] => OptionNotation::SackPermitted,
        ["mss", value] => OptionNotation::Mss(short(value)?),
        ["wscale", "*"] => OptionNotation::WindowScale(None),
        ["wscale", shift] => OptionNotation::WindowScale(Some(
            shift.parse().map_err(|_| format!("{shift} is not a shift"))?,
        )),
        ["TS", "val", value, "ecr", echo] => {
            OptionNotation::Timestamps { value: open(value)?, echo: open(echo)? }
        }
        ["sack", ref blocks @ ..] => {
            OptionNotation::Sack(blocks.iter().map(|word| block(word)).collect::<Result<_, _>>()?)
        }
        ["hex", octets] => OptionNotation::Raw(hex(octets)?),
        _ => return Err(format!("{text} is no option")),
    })
}

fn open(word: &str) -> Result<Option<u32>, String> {
    if word == "*" { Ok(None) } else { number(word).map(Some) }
}

fn block(word: &str) -> Result<(u32, u32), String> {
    let (start, end) = word.split_once(':').ok_or_else(|| format!("{word} is no SACK block"))?;
    Ok((number(start)?, number(end)?))
}

fn hex(word: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{word} are no octets");
    let octet = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        u8::from_str_radix(pair, 16).map_err(|_| wrong())
    };
    word.as_bytes().chunks(2).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_their_order() {
        let options =
            Options::parse("mss 1460, sackOK,TS val 7 ecr *,nop,wscale 3,hex fe02").unwrap();
        let expected = [
            OptionNotation::Mss(1_460),
            OptionNotation::SackPermitted,
            OptionNotation::Timestamps { value: Some(7), echo: None },
            OptionNotation::NoOperation,
            OptionNotation::WindowScale(Some(3)),
            OptionNotation::Raw(vec![0xfe, 2]),
        ];
        assert!(options.iter().eq(&expected));
        assert_eq!(Options::parse("..."), Ok(Options::Any));
        assert_eq!(Options::parse("mss"), Err("mss is no option".to_owned()));
    }

    #[test]
    fn sack_has_any_number_of_blocks() {
        let options = Options::parse("nop,nop,sack 1:5 9:12").unwrap();
        assert_eq!(options.iter().last(), Some(&OptionNotation::Sack(vec![(1, 5), (9, 12)])));
    }
}
