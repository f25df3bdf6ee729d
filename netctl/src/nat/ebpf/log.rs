//! What the programs of a gateway log, if they are of a build that does: `cargo xtask build-ebpf --log`.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::mpsc::{Receiver, Sender, channel},
};

use aya::programs::ProgramInfo;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::{Error, Pins};

/// A program that every build has: all of a build log to one ring buffer.
const PROGRAM: &str = "uplink_ingress";

/// The records of a gateway's programs, for one reader at a time.
pub struct Logs {
    logger: EbpfLogger<Sink>,
    records: Receiver<String>,
}

/// Takes what `aya-log` has made of a record.
struct Sink(Sender<String>);

impl Log for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // The receiver is there as long as the logger.
        let _ = self.0.send(record.args().to_string());
    }

    fn flush(&self) {}
}

impl Logs {
    /// Begins to read what is logged from now on; `None` if the programs log nothing.
    ///
    /// # Errors
    /// If the programs cannot be found.
    pub fn open(pins: &Pins) -> Result<Option<Self>, Error> {
        let Some(build) = pins.builds()?.into_iter().rfind(|build| build.shares_flows()) else {
            return Ok(None);
        };
        let info =
            ProgramInfo::from_pin(pins.programs(build).join(PROGRAM)).map_err(Error::program(PROGRAM))?;
        let (sender, records) = channel();
        let logger = match EbpfLogger::init_from_id_with_logger(info.id(), Sink(sender)) {
            Ok(logger) => logger,
            Err(aya_log::Error::MapNotFound) => return Ok(None),
            Err(source) => return Err(Error::Log(Box::new(source))),
        };
        let mut logs = Self { logger, records };
        let _old = logs.take();
        Ok(Some(logs))
    }

    /// What there is, in its order.
    pub fn take(&mut self) -> Vec<String> {
        self.logger.flush();
        self.records.try_iter().collect()
    }
}

impl AsFd for Logs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.logger.as_fd()
    }
}
