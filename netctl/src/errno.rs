//! Error numbers in words that fit: some of the usual ones mislead, and what libraries say of theirs leaves them out.

use std::{error::Error, fmt, io};

use nix::errno::Errno;

/// The kernel's own `EOPNOTSUPP`, which is not to leave it and does (include/linux/errno.h); no library has a word for it.
const ENOTSUPP: i32 = 524;

/// A number as the kernel has it.
#[must_use]
pub fn from_raw(number: i32) -> Errno {
    if number == ENOTSUPP { Errno::EOPNOTSUPP } else { Errno::from_raw(number) }
}

/// What an error number means here.
#[must_use]
pub fn words(errno: Errno) -> &'static str {
    match errno {
        // The usual words speak of "transport endpoints" and "symbolic links".
        Errno::EOPNOTSUPP => "Operation not supported",
        Errno::ELOOP => "It would be a loop",
        errno => errno.desc(),
    }
}

/// An error of the standard library without its `(os error 2)`.
pub struct Io<'a>(pub &'a io::Error);

impl fmt::Display for Io<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(number) => f.write_str(words(from_raw(number))),
            None => self.0.fmt(f),
        }
    }
}

/// An error with what it comes from, each said once.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let words = match error.downcast_ref() {
                Some(error) => Io(error).to_string(),
                None => error.to_string(),
            };
            // Many say their source's words themselves, with its number.
            let is_said = said.ends_with(&words) || said.ends_with(&error.to_string());
            if !is_said {
                said = if said.is_empty() { words } else { format!("{said}: {words}") };
            }
            next = error.source();
        }
        f.write_str(&said)
    }
}

/// The number at the end of a chain.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(from_raw(number));
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("make a map")]
        Silent(#[source] io::Error),
        #[error("make it: {0}")]
        Talkative(#[source] Box<Self>),
    }

    #[test]
    fn misleading_words_are_replaced() {
        let said = |number| Io(&io::Error::from_raw_os_error(number)).to_string();
        assert_eq!(said(libc::ENOENT), "No such file or directory");
        assert_eq!(said(libc::EOPNOTSUPP), "Operation not supported");
        assert_eq!(said(ENOTSUPP), "Operation not supported");
        assert_eq!(Io(&io::Error::other("no number")).to_string(), "no number");
    }

    #[test]
    fn a_chain_says_everything_once_and_has_its_number() {
        let error = Outer::Talkative(Box::new(Outer::Silent(io::Error::from_raw_os_error(libc::EPERM))));
        assert_eq!(Chain(&error).to_string(), "make it: make a map: Operation not permitted");
        assert_eq!(of(&error), Some(Errno::EPERM));
    }
}
