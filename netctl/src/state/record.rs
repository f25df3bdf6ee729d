//! What is remembered of a topology: JSON, a line for all of it but its forwards, then a line for each of these. So one
//! reads what a gateway is without reading its ten thousand forwards, and finds one of them without reading the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    mem,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Directories, Error, Lock, io_error, write};
use crate::{
    model::{Forward, NetnsName, Place, Topology, TopologyName},
    netfilter::Tool,
};

/// What is remembered of a topology that is up, or was on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it was last told to be.
    pub topology: Topology,
    /// Whether it got there. False while a command works on it, and after one was killed.
    pub complete: bool,
    /// Every namespace that is, or may be, owned: also those of the version before, while that is being changed.
    pub namespaces: BTreeSet<NetnsName>,
    /// Where netfilter has, or may have, rules, and who wrote them: likewise also those of the version before.
    #[serde(default)]
    pub netfilter: BTreeMap<Place, BTreeSet<Tool>>,
    /// The host's sysctls as they were found.
    pub host_sysctls: BTreeMap<String, String>,
}

impl Record {
    /// As it is written.
    fn to_lines(&self) -> serde_json::Result<Vec<u8>> {
        let mut outline = self.clone();
        let gateways = outline.topology.gateways.iter_mut();
        let forwards: Vec<_> = gateways.map(|gateway| mem::take(&mut gateway.forwards)).collect();
        let mut lines = serde_json::to_vec(&outline)?;
        for (index, forwards) in forwards.iter().enumerate() {
            for forward in forwards {
                lines.push(b'\n');
                serde_json::to_writer(&mut lines, &line(index, forward))?;
            }
        }
        lines.push(b'\n');
        Ok(lines)
    }

    fn of_lines(text: &str) -> serde_json::Result<Self> {
        let (outline, forwards) = text.split_once('\n').unwrap_or((text, ""));
        let mut record: Self = serde_json::from_str(outline)?;
        for line in forwards.lines() {
            let (index, forward): (usize, Forward) = serde_json::from_str(line)?;
            let gateway = record.topology.gateways.get_mut(index);
            gateway
                .ok_or_else(|| serde::de::Error::custom("a forward of no gateway"))?
                .forwards
                .push(forward);
        }
        Ok(record)
    }
}

/// What a forward's line says: of which of the topology's gateways it is.
const fn line(gateway: usize, forward: &Forward) -> (usize, &Forward) {
    (gateway, forward)
}

impl Directories {
    /// The record of a topology, if there is one.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn record(&self, topology: &TopologyName) -> Result<Option<Record>, Error> {
        let path = self.record_path(topology);
        let text = present(fs::read_to_string(&path), &path)?;
        text.map(|text| Record::of_lines(&text)).transpose().map_err(|source| Error::Record { path, source })
    }

    /// The topology that a record has, without its forwards.
    ///
    /// # Errors
    /// Those of [`Self::record`].
    pub fn outline(&self, topology: &TopologyName) -> Result<Option<Topology>, Error> {
        let path = self.record_path(topology);
        let Some(file) = present(File::open(&path), &path)? else { return Ok(None) };
        let mut outline = String::new();
        BufReader::new(file).read_line(&mut outline).map_err(io_error("read", &path))?;
        let record: serde_json::Result<Record> = serde_json::from_str(&outline);
        record.map(|record| Some(record.topology)).map_err(|source| Error::Record { path, source })
    }

    /// Whether a record has this forward at this place.
    ///
    /// # Errors
    /// Those of [`Self::record`].
    pub fn has_forward(
        &self,
        topology: &TopologyName,
        place: &Place,
        forward: &Forward,
    ) -> Result<bool, Error> {
        let Some(outline) = self.outline(topology)? else { return Ok(false) };
        let mut gateways = outline.gateways.iter().enumerate();
        let Some((index, gateway)) = gateways.find(|(_, gateway)| gateway.place == *place) else {
            return Ok(false);
        };
        // A record may have been written in one line.
        if gateway.forwards.contains(forward) {
            return Ok(true);
        }
        let path = self.record_path(topology);
        let wanted = serde_json::to_vec(&line(index, forward));
        let wanted = wanted.map_err(|source| Error::Record { path: path.clone(), source })?;
        let Some(file) = present(File::open(&path), &path)? else { return Ok(false) };
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(io_error("read", &path))? == 0 {
                return Ok(false);
            }
            if line.strip_suffix(b"\n") == Some(&wanted) {
                return Ok(true);
            }
        }
    }

    pub(crate) fn record_path(&self, topology: &TopologyName) -> PathBuf {
        self.run.join(format!("{topology}.json"))
    }
}

fn present<T>(read: io::Result<T>, path: &Path) -> Result<Option<T>, Error> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(io_error("read", path)),
    }
}

impl Lock {
    /// Writes a record, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, directories: &Directories, record: &Record) -> Result<(), Error> {
        let path = directories.record_path(&record.topology.name);
        let lines = record.to_lines();
        write(&path, &lines.map_err(|source| Error::Record { path: path.clone(), source })?)
    }

    /// Removes a record; none there is no error.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn forget(&self, directories: &Directories, topology: &TopologyName) -> Result<(), Error> {
        let path = directories.record_path(topology);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn directories(test: &str) -> Directories {
        let run = std::env::temp_dir().join(format!("netctl-record-{test}-{}", std::process::id()));
        Directories { bpffs: run.join("bpf"), run }
    }

    fn record() -> Record {
        let topology =
            Topology::parse(spec::QUICKSTART, "quickstart.toml", "quickstart".parse().unwrap()).unwrap();
        Record {
            namespaces: topology.namespaces.iter().map(|namespace| namespace.name.clone()).collect(),
            topology,
            complete: true,
            netfilter: BTreeMap::from([(Place::Host, BTreeSet::from([Tool::Nftables]))]),
            host_sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "0".to_owned())]),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_the_last_one_takes_the_directory_with_it() {
        let (directories, record) = (directories("whole"), record());
        let lock = directories.lock().unwrap();
        lock.save(&directories, &record).unwrap();
        drop(lock);
        assert_eq!(directories.topologies().unwrap(), std::slice::from_ref(&record.topology.name));
        assert_eq!(directories.record(&record.topology.name).unwrap(), Some(record.clone()));
        let lock = directories.lock().unwrap();
        lock.forget(&directories, &record.topology.name).unwrap();
        lock.forget(&directories, &record.topology.name).unwrap();
        drop(lock);
        assert!(!directories.run.exists());
    }

    #[test]
    fn the_outline_has_all_but_the_forwards_and_each_of_these_is_found() {
        let (directories, record) = (directories("outline"), record());
        let name = &record.topology.name;
        let lock = directories.lock().unwrap();
        lock.save(&directories, &record).unwrap();
        let mut outline = record.topology.clone();
        let gateway = outline.gateways[0].place.clone();
        let forwards = mem::take(&mut outline.gateways[0].forwards);
        assert!(forwards.len() > 1);
        assert_eq!(directories.outline(name).unwrap(), Some(outline));
        let has = |place, forward| directories.has_forward(name, place, forward).unwrap();
        assert!(forwards.iter().all(|forward| has(&gateway, forward)));
        let other = Forward { to_port: forwards[0].to_port + 1, ..forwards[0].clone() };
        assert!(!has(&gateway, &other));
        assert!(!has(&"elsewhere".to_owned().try_into().unwrap(), &forwards[0]));
        lock.forget(&directories, name).unwrap();
        assert_eq!(directories.outline(name).unwrap(), None);
    }

    #[test]
    fn what_was_written_in_one_line_is_read() {
        let (directories, record) = (directories("line"), record());
        let (name, gateway) = (&record.topology.name, &record.topology.gateways[0]);
        fs::create_dir_all(&directories.run).unwrap();
        fs::write(directories.record_path(name), serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(directories.record(name).unwrap().as_ref(), Some(&record));
        assert!(directories.has_forward(name, &gateway.place, &gateway.forwards[0]).unwrap());
        fs::remove_dir_all(&directories.run).unwrap();
    }

    #[test]
    fn a_damaged_record_is_named() {
        let directories = directories("damaged");
        let name = "office".parse().unwrap();
        let whole = String::from_utf8(record().to_lines().unwrap()).unwrap();
        fs::create_dir_all(&directories.run).unwrap();
        for text in ["{", &(whole.clone() + "[9,"), &whole.replace("\n[0,", "\n[9,")] {
            fs::write(directories.run.join("office.json"), text).unwrap();
            let error = directories.record(&name).unwrap_err();
            assert!(error.to_string().contains("office.json"), "{error}");
        }
        fs::remove_dir_all(&directories.run).unwrap();
    }
}
