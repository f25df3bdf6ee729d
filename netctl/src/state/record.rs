//! What is remembered of a topology: JSON, a line for all of it but its forwards, then a line for each of these. So one
//! reads what a gateway is without reading its ten thousand forwards, and finds one of them without reading the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader},
    mem,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Directories, Error, HostNetns, Ledger, Ledgers, Lock, files, io_error};
use crate::{
    model::{Forward, Leftover, NetnsName, Place, Topology, TopologyName},
    netfilter::Tool,
};

/// The version of a record that this netctl writes. Older ones are read, newer ones are not.
pub const VERSION: u32 = 2;

/// What is remembered of a topology that is up, or was on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`]; 0 of those that had none.
    #[serde(default)]
    pub version: u32,
    /// The file that it was brought up from, by its absolute path; `None` of the built-in quickstart and of what is no
    /// file. Records before version 2 do not know it.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The network namespace that it calls the host. Records before version 2 do not know it.
    #[serde(default)]
    pub host: Option<HostNetns>,
    /// What it was last told to be.
    pub topology: Topology,
    /// Whether it got there. False while a command works on it, and after one was killed.
    pub complete: bool,
    /// Every namespace that is, or may be, owned: also those of the version before, while that is being changed.
    pub namespaces: BTreeSet<NetnsName>,
    /// Where netfilter has, or may have, rules, and who wrote them: likewise also those of the version before.
    #[serde(default)]
    pub netfilter: BTreeMap<Place, BTreeSet<Tool>>,
    /// The sysctls that were set, and how they were found.
    #[serde(default)]
    pub sysctls: Ledgers,
    /// What of the version before may still be there, while that is being changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Leftover>,
}

/// A topology's record, or why it cannot be read.
pub type Named = (TopologyName, Result<Record, Error>);

/// What records before version 2 have of the host's sysctls: how they were found.
#[derive(Deserialize)]
struct Older {
    host_sysctls: Ledger,
}

impl Record {
    /// Of a topology that is to be up, and of which nothing was done yet.
    #[must_use]
    pub fn new(topology: Topology, file: Option<PathBuf>, host: Option<HostNetns>) -> Self {
        let namespaces = topology.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        let (netfilter, sysctls) = (BTreeMap::new(), Ledgers::new());
        let (version, complete) = (VERSION, true);
        Self { version, file, host, topology, complete, namespaces, netfilter, sysctls, left: None }
    }

    /// Whether it may have set on the host what other topologies may want there, too: sysctls, routes or policy rules.
    #[must_use]
    pub fn sets_on_host(&self) -> bool {
        self.topology.sets_on_host() || self.sysctls.contains_key(&Place::Host) || self.left.is_some()
    }

    /// How many bytes it takes.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn size(&self) -> Result<usize, Error> {
        let lines = self.to_lines();
        let path = PathBuf::from(format!("{}.json", self.topology.name));
        lines.map(|lines| lines.len()).map_err(|source| Error::Record { path, source })
    }

    /// As it is written.
    pub(super) fn to_lines(&self) -> serde_json::Result<Vec<u8>> {
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
        let mut record = Self::of_outline(outline)?;
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

    fn of_outline(outline: &str) -> serde_json::Result<Self> {
        let mut record: Self = serde_json::from_str(outline)?;
        if record.version > VERSION {
            let version = record.version;
            let newer = format!("it is of version {version}, which a newer netctl wrote");
            return Err(serde::de::Error::custom(newer));
        }
        if record.version < VERSION {
            let older: Older = serde_json::from_str(outline)?;
            record.sysctls.insert(Place::Host, older.host_sysctls);
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
        let text = present(files::read(&path), &path)?;
        text.map(|text| Record::of_lines(&text)).transpose().map_err(|source| Error::Record { path, source })
    }

    /// Every record that can be read, and why each of the others cannot, in the order of their names.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn records(&self) -> Result<Vec<Named>, Error> {
        let mut all = Vec::new();
        for name in self.topologies()? {
            match self.record(&name) {
                // Gone since it was listed: another command's `down`.
                Ok(None) => {}
                Ok(Some(record)) => all.push((name, Ok(record))),
                Err(error) => all.push((name, Err(error))),
            }
        }
        Ok(all)
    }

    /// Every record that can be read. A damaged one affects only its own topology, so it is left out here.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn readable_records(&self) -> Result<Vec<Record>, Error> {
        let read = |(_, record): Named| record.inspect_err(|error| tracing::debug!("left out: {error}")).ok();
        Ok(self.records()?.into_iter().filter_map(read).collect())
    }

    /// What [`Self::outline`] has of every topology, but for records that cannot be read: as [`Self::readable_records`].
    ///
    /// # Errors
    /// If the directory cannot be listed, or a record is there and not to be opened.
    pub fn readable_outlines(&self) -> Result<Vec<Topology>, Error> {
        let mut outlines = Vec::new();
        for name in self.topologies()? {
            match self.outline(&name) {
                Err(error @ Error::Record { .. }) => tracing::warn!("{error}"),
                outline => outlines.extend(outline?),
            }
        }
        Ok(outlines)
    }

    /// The topology that a record has, without its forwards.
    ///
    /// # Errors
    /// Those of [`Self::record`].
    pub fn outline(&self, topology: &TopologyName) -> Result<Option<Topology>, Error> {
        let path = self.record_path(topology);
        let Some(file) = present(files::open(&path), &path)? else { return Ok(None) };
        let mut outline = String::new();
        BufReader::new(file).read_line(&mut outline).map_err(io_error("read", &path))?;
        Record::of_outline(&outline)
            .map(|record| Some(record.topology))
            .map_err(|source| Error::Record { path, source })
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
        let Some(file) = present(files::open(&path), &path)? else { return Ok(false) };
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
        files::write(&path, &lines.map_err(|source| Error::Record { path: path.clone(), source })?)
    }

    /// Removes a record; none there is no error.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn forget(&self, directories: &Directories, topology: &TopologyName) -> Result<(), Error> {
        files::remove(&directories.record_path(topology))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{spec, state::Written};

    fn directories(test: &str) -> Directories {
        let run = std::env::temp_dir().join(format!("netctl-record-{test}-{}", std::process::id()));
        Directories { bpffs: run.join("bpf"), run }
    }

    fn record() -> Record {
        let topology =
            Topology::parse(spec::QUICKSTART, "quickstart.toml", "quickstart".parse().unwrap()).unwrap();
        let host = HostNetns { inode: 4_026_531_840, cookie: 1 };
        let ledger = Ledger::from([("net.ipv4.ip_forward".to_owned(), Written::new("0", "1"))]);
        Record {
            netfilter: BTreeMap::from([(Place::Host, BTreeSet::from([Tool::Nftables]))]),
            sysctls: BTreeMap::from([(Place::Host, ledger)]),
            ..Record::new(topology, Some("/home/me/quickstart.toml".into()), Some(host))
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
    fn a_record_without_a_version_is_read_and_one_of_a_newer_netctl_is_not() {
        let mut value = serde_json::to_value(record()).unwrap();
        let fields = value.as_object_mut().unwrap();
        for key in ["version", "file", "host", "sysctls"] {
            fields.remove(key);
        }
        fields.insert("host_sysctls".to_owned(), serde_json::json!({ "net.ipv4.ip_forward": "0" }));
        let old = Record::of_lines(&value.to_string()).unwrap();
        assert_eq!((old.version, &old.file, old.host), (0, &None, None));
        let found = Written { wrote: None, ..Written::new("0", "1") };
        assert_eq!(old.sysctls[&Place::Host]["net.ipv4.ip_forward"], found);
        assert_eq!(old.topology, record().topology);

        value["version"] = (VERSION + 1).into();
        let error = Record::of_lines(&value.to_string()).unwrap_err();
        assert!(error.to_string().starts_with("it is of version 3, which a newer netctl wrote"), "{error}");
    }

    #[test]
    fn a_damaged_record_does_not_hide_the_others() {
        let (directories, record) = (directories("beside"), record());
        let lock = directories.lock().unwrap();
        lock.save(&directories, &record).unwrap();
        fs::write(directories.run.join("office.json"), "{").unwrap();
        let all = directories.records().unwrap();
        let names: Vec<_> = all.iter().map(|(name, record)| (name.as_str(), record.is_ok())).collect();
        assert_eq!(names, [("office", false), ("quickstart", true)]);
        assert_eq!(directories.readable_records().unwrap(), [record]);
        drop(lock);
        fs::remove_dir_all(&directories.run).unwrap();
    }

    #[test]
    fn what_a_killed_command_left_beside_a_record_goes_with_it() {
        let (directories, record) = (directories("left"), record());
        let name = &record.topology.name;
        let lock = directories.lock().unwrap();
        let mut room = lock.reserve(&directories, name, 10).unwrap();
        room.save(&record).unwrap();
        drop(room);
        assert_eq!(directories.record(name).unwrap(), Some(record.clone()));
        drop(lock.reserve(&directories, name, 10).unwrap());
        assert_eq!(fs::read_dir(&directories.run).unwrap().count(), 2, "the record and the lock");
        mem::forget(lock.reserve(&directories, name, 10).unwrap());
        fs::write(directories.run.join("quickstart.new"), "{").unwrap();
        lock.forget(&directories, name).unwrap();
        drop(lock);
        assert!(!directories.run.exists());
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
