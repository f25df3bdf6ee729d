//! A program that goes on beside the test.

use std::{
    fs,
    path::PathBuf,
    process::{self, Child},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use super::{Ns, Output, eventually, missing};

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

    /// Waits until it has said this.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) {
        let what = format!("{} says {words:?}", self.command);
        eventually(&what, || {
            let has_said = self.log().contains(words);
            if !has_said {
                self.assert_alive();
            }
            has_said
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until it ends by itself. All it said counts as its standard output.
    #[track_caller]
    #[must_use]
    pub fn finish(mut self) -> Output<'a> {
        let mut ended = None;
        eventually(&format!("{} ends", self.command), || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        let stdout = fs::read(&self.log).unwrap();
        let output = process::Output { status: ended.unwrap(), stdout, stderr: Vec::new() };
        Output::new(self.ns.lab, &self.command, output)
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
