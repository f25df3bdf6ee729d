//! Bare words after a verb, as `ip` takes them: `eth0 up mtu 1400`, `default via 10.0.0.1 dev eth0`.

use std::{error::Error as StdError, net::IpAddr, slice, str::FromStr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netctl::{
    advice,
    model::{IfName, NameError, Problem},
    spec::nearest,
};

/// What is wrong with the words.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("unknown word `{word}`")]
    Unknown { word: String, known: &'static [&'static str] },
    #[error("`{keyword}` needs a value")]
    NoValue { keyword: &'static str },
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("a VLAN of {0} is not between 1 and 4094")]
    Vlan(u16),
    #[error("`{text}` is no {what}: {source}")]
    Value { text: String, what: &'static str, source: Box<dyn StdError + Send + Sync> },
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("`{0}` is said twice, or against itself")]
    Twice(&'static str),
    #[error("`{network}` is an address in a network, not a network")]
    HostBits { network: IpNet },
    #[error("a route needs `via ADDRESS`, `dev IF`, or both")]
    Nowhere,
    #[error("`{a} {b} {c}`: which of the ends is in a namespace?")]
    Ends { a: String, b: String, c: String, both: bool },
    #[error("{to} is not of the family of {via}")]
    Families { to: IpNet, via: IpAddr },
    #[error("what is refused leads nowhere: `{0}` does not go with it")]
    LeadsNowhere(&'static str),
    #[error("`onlink` needs `via ADDRESS` and `dev IF`")]
    OnLink,
    #[error("`{0}` is there on every link: `dev IF` says which")]
    LinkLocal(IpAddr),
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("netctl does not know `{said}`")]
    Elsewhere { said: String, hint: String },
    #[error("`{0}` takes no `-n`")]
    NoNamespace(&'static str),
    #[error("`-n` is given twice")]
    NamespaceTwice,
}

impl Error {
    pub(super) fn unknown(word: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown { word: word.to_owned(), known }
    }

    /// The next step, where there is one.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { word, known } => Some(match nearest(word, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "known are {}",
                    known.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
                ),
            }),
            Self::Families { .. } => {
                Some("a route and its next hop are both of IPv4, or both of IPv6".to_owned())
            }
            Self::HostBits { network } => Some(format!("did you mean `{}`?", network.trunc())),
            Self::Ends { a, b, c, both: true } => {
                Some(format!("write `{a} {b} {c} host` or `{a} host {b} {c}`"))
            }
            Self::Ends { b, c, both: false, .. } => {
                Some(format!("neither `{b}` nor `{c}` is a namespace: `netctl ns ls` lists them"))
            }
            Self::Problem(problem) => advice::of(problem.as_ref()),
            Self::Elsewhere { hint, .. } => Some(hint.clone()),
            Self::NoValue { .. }
            | Self::Missing(_)
            | Self::Vlan(_)
            | Self::Value { .. }
            | Self::Name(_)
            | Self::Twice(_)
            | Self::Nowhere
            | Self::LeadsNowhere(_)
            | Self::OnLink
            | Self::LinkLocal(_)
            | Self::NoNamespace(_)
            | Self::NamespaceTwice => None,
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl Error {
    /// Both in one, for who takes but one.
    pub(super) fn in_full(&self) -> String {
        self.hint().map_or_else(|| self.to_string(), |hint| format!("{self}: {hint}"))
    }
}

/// The words that are left.
pub(super) struct Words<'a>(slice::Iter<'a, String>);

impl<'a> Words<'a> {
    pub(super) fn new(words: &'a [String]) -> Self {
        Self(words.iter())
    }

    /// The next keyword.
    pub(super) fn keyword(&mut self) -> Option<&'a str> {
        self.0.next().map(String::as_str)
    }

    /// Passes over the next word if it is one of these.
    pub(super) fn skip(&mut self, words: &[&str]) {
        let mut ahead = self.0.clone();
        if ahead.next().is_some_and(|word| words.contains(&word.as_str())) {
            self.0 = ahead;
        }
    }

    /// The value after a keyword, which must not have had one before.
    pub(super) fn value<T>(
        &mut self,
        slot: &mut Option<T>,
        keyword: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<(), Error> {
        let text = self.0.next().ok_or(Error::NoValue { keyword })?;
        settle(slot, keyword, parse(text)?)
    }
}

/// Fills what is still open.
pub(super) fn settle<T>(slot: &mut Option<T>, keyword: &'static str, value: T) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Twice(keyword)),
    }
}

/// A value of a type that knows how to read itself.
pub(super) fn parse<T>(what: &'static str) -> impl FnOnce(&str) -> Result<T, Error>
where
    T: FromStr<Err: StdError + Send + Sync + 'static>,
{
    move |text| text.parse().map_err(wrong(text, what))
}

/// An interface's name.
pub(super) fn interface(text: &str) -> Result<IfName, Error> {
    Ok(text.parse()?)
}

/// Reads `[dev] IF`.
pub(super) fn device(words: &[String]) -> Result<IfName, Error> {
    match words {
        [name] => interface(name),
        [dev, name] if dev == "dev" => interface(name),
        [word, ..] => Err(Error::unknown(word, &["dev"])),
        [] => Err(Error::NoValue { keyword: "dev" }),
    }
}

/// Reads `[[dev] IF]`.
pub(super) fn one_device(words: &[String]) -> Result<Option<IfName>, Error> {
    if words.is_empty() { Ok(None) } else { device(words).map(Some) }
}

/// `default`, a network, or one address.
pub(super) fn destination(text: &str, via: Option<IpAddr>) -> Result<IpNet, Error> {
    match (text, via) {
        ("default", Some(IpAddr::V6(_))) => Ok(Ipv6Net::default().into()),
        ("default", _) => Ok(Ipv4Net::default().into()),
        (text, _) => network(text, "destination"),
    }
}

/// A network, or one address.
pub(super) fn network(text: &str, what: &'static str) -> Result<IpNet, Error> {
    let network: IpNet =
        if text.contains('/') { parse(what)(text)? } else { parse::<IpAddr>(what)(text)?.into() };
    if network == network.trunc() { Ok(network) } else { Err(Error::HostBits { network }) }
}

/// Says that `text` is no `what`.
pub(super) fn wrong<E>(text: &str, what: &'static str) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    move |source| Error::Value { text: text.to_owned(), what, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_of_its_next_hops_family() {
        let default = |via: Option<&str>| {
            destination("default", via.map(|via| via.parse().unwrap())).unwrap().to_string()
        };
        assert_eq!(default(Some("fe80::1")), "::/0");
        assert_eq!(default(Some("10.0.0.1")), "0.0.0.0/0");
        assert_eq!(default(None), "0.0.0.0/0");
        assert_eq!(destination("10.0.0.7", None).unwrap().to_string(), "10.0.0.7/32");
    }

    #[test]
    fn an_address_in_a_network_is_no_destination() {
        let error = destination("192.168.1.5/24", None).unwrap_err();
        assert_eq!(error.to_string(), "`192.168.1.5/24` is an address in a network, not a network");
        assert_eq!(error.hint().unwrap(), "did you mean `192.168.1.0/24`?");
    }

    #[test]
    fn a_word_that_is_not_known_is_compared_with_those_that_are() {
        let hint = |word: &str| Error::Unknown { word: word.to_owned(), known: &["up", "master"] }.hint();
        assert_eq!(hint("mastre").unwrap(), "did you mean `master`?");
        assert_eq!(hint("sideways").unwrap(), "known are `up`, `master`");
    }
}
