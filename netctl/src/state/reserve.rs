//! Room for a record, taken before anything is changed, so that what was done can be remembered however full `/run` is by
//! then.

use std::{
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    path::PathBuf,
};

use super::{Directories, Error, Lock, Record, files, io_error};
use crate::model::TopologyName;

/// Room for a record. Given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    file: File,
    path: PathBuf,
    record: PathBuf,
}

impl Lock {
    /// Takes room for a record of `size` bytes.
    ///
    /// # Errors
    /// If there is none.
    pub fn reserve(
        &self,
        directories: &Directories,
        topology: &TopologyName,
        size: usize,
    ) -> Result<Reservation, Error> {
        let record = directories.record_path(topology);
        let path = record.with_extension(files::ROOM);
        let file = files::create(&path).map_err(io_error("write", &path))?;
        let mut room = Reservation { file, path, record };
        // Written, not only made that long: a file of holes has no room.
        let filled = io::copy(&mut io::Read::take(io::repeat(b' '), size as u64), &mut room.file);
        filled.map_err(io_error("write", &room.path))?;
        Ok(room)
    }
}

impl Reservation {
    /// Writes the record into the room and puts it in the place of the one before, whole or not at all.
    ///
    /// # Errors
    /// If it does not fit and there is no more room, or the file cannot be renamed.
    pub fn save(&mut self, record: &Record) -> Result<(), Error> {
        let lines = record.to_lines();
        let lines = lines.map_err(|source| Error::Record { path: self.record.clone(), source })?;
        let written = self.file.rewind().and_then(|()| self.file.write_all(&lines));
        let written = written.and_then(|()| self.file.set_len(lines.len() as u64));
        written.map_err(io_error("write", &self.path))?;
        fs::rename(&self.path, &self.record).map_err(io_error("write", &self.record))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // After `save` it has another name.
        let _ = fs::remove_file(&self.path);
    }
}
