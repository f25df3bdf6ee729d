//! A program that goes on beside the test.

use std::{fs, path::PathBuf, process::Child};

use super::{Ns, missing};

/// A program that goes on until it is dropped. What it says goes to a file.
pub struct Server<'a> {
    ns: Ns<'a>,
    command: String,
    child: Child,
    log: PathBuf,
}

impl<'a> Server<'a> {
    #[track_caller]
    pub(super) fn start<'b>(ns: Ns<'a>, program: &str, arguments: impl IntoIterator<Item = &'b str>) -> Self {
        let (log, path) = tempfile::NamedTempFile::new_in(ns.lab.directory()).unwrap().keep().unwrap();
        let mut command = ns.command(program, arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = ns.enter(|| command.spawn()).unwrap_or_else(|error| missing(program, &error));
        Self { command: ns.describe(&command), ns, child, log: path }
    }

    /// What was started, where.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What it has said so far, on standard output and standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// It has not ended by itself.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended: {status}\n{}\n{}", self.command, self.log(), self.ns.lab.diagnosis());
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
