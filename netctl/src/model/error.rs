//! An error of a topology whose file reads well, and its place in the file.

use std::fmt;

use super::Problem;
use crate::spec::{self, KeyPath, line_of};

/// An error of the topology, with the key it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The key at fault.
    pub path: KeyPath,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Error {
    pub(super) fn new(path: KeyPath, problem: Problem) -> Self {
        Self { path, problem }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (`{}`)", self.problem, self.path)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}

/// Any error of a topology file, ready to print: `FILE:LINE: WHAT (KEY)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The text does not have the form of a topology file.
    #[error("{0}")]
    Spec(#[from] spec::Error),
    /// The topology does not hold together.
    #[error("{file}:{line}: {error}")]
    Model {
        /// What the file is called.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        #[source]
        error: Box<Error>,
    },
}

impl FileError {
    pub(super) fn locate(error: Error, text: &str, file: &str) -> Self {
        Self::Model { file: file.to_owned(), line: line_of(text, file, &error.path), error: Box::new(error) }
    }
}
