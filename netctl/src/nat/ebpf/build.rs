//! Which builds of the programs are loaded: a rebuilt netctl replaces what another one left.

use std::fs;

use aya::programs::ProgramInfo;
use netctl_ebpf::ABI_VERSION;

use super::{Error, Pins, attach, list, load::Constants, remove_tree};
use crate::build::{ASIDE, Build};

impl Build {
    /// What this binary makes of these constants.
    #[must_use]
    pub fn of(constants: &Constants) -> Self {
        Self::made_of(&format!("{} {constants:?}", env!("NETCTL_EBPF_HASH")))
    }

    pub(super) fn directory(self) -> String {
        format!("{:016x}", self.hash())
    }
}

impl Pins {
    /// The builds that are loaded, sorted.
    ///
    /// # Errors
    /// If the pins cannot be listed.
    pub fn builds(&self) -> Result<Vec<Build>, Error> {
        let mut builds = Vec::new();
        for abi in self.versions()? {
            for name in list(&self.version(abi).join("programs"))? {
                let build = u64::from_str_radix(&name, 16).map(|hash| Build::new(abi, hash));
                builds.extend(
                    build.ok().filter(|build| !list(&self.programs(*build)).is_ok_and(|p| p.is_empty())),
                );
            }
        }
        builds.sort_unstable();
        Ok(builds)
    }

    /// Whether every program of a build is there.
    #[must_use]
    pub fn has_all_of(&self, build: Build) -> bool {
        attach::programs().all(|name| self.programs(build).join(name).exists())
    }

    /// The build to attach: this binary's own if it is loaded, else another that works on the same maps.
    ///
    /// # Errors
    /// If the pins cannot be listed.
    pub fn build_to_attach(&self, own: Build) -> Result<Build, Error> {
        let builds = self.builds()?;
        let mut others = builds.iter().copied().filter(|build| build.shares_flows());
        if builds.contains(&own) { Ok(own) } else { Ok(others.next().unwrap_or(own)) }
    }

    /// Which build each loaded program is of, by the program's id.
    pub(super) fn programs_of_builds(&self) -> Result<Vec<(u32, Build)>, Error> {
        let mut programs = Vec::new();
        for build in self.builds()? {
            let directory = self.programs(build);
            for name in list(&directory)? {
                let info = ProgramInfo::from_pin(directory.join(&name)).map_err(Error::program(&name))?;
                programs.push((info.id(), build));
            }
        }
        Ok(programs)
    }

    /// Sets the maps of this ABI version aside with their programs; what runs goes on.
    ///
    /// # Errors
    /// If the pins cannot be renamed.
    pub fn set_aside(&self) -> Result<(), Error> {
        self.rename(ABI_VERSION, ASIDE)
    }

    /// Puts back what was set aside.
    ///
    /// # Errors
    /// If the pins cannot be renamed.
    pub fn restore(&self) -> Result<(), Error> {
        self.rename(ASIDE, ABI_VERSION)
    }

    /// What another command, that was killed, left under the new name goes first.
    fn rename(&self, from: u32, to: u32) -> Result<(), Error> {
        let (from, to) = (self.version(from), self.version(to));
        remove_tree(&to)?;
        fs::rename(&from, &to).map_err(Error::io("rename", &from))
    }

    /// Removes every build but one, and the maps that only those used. Nothing if that one is not there.
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn prune(&self, keep: Build) -> Result<(), Error> {
        remove_tree(&self.stage())?;
        if !self.builds()?.contains(&keep) {
            return Ok(());
        }
        for abi in self.versions()?.into_iter().filter(|abi| *abi != keep.abi) {
            remove_tree(&self.version(abi))?;
        }
        for build in self.builds()?.into_iter().filter(|build| *build != keep) {
            remove_tree(&self.programs(build))?;
        }
        Ok(())
    }

    pub(super) fn versions(&self) -> Result<Vec<u32>, Error> {
        let names = list(&self.gateway)?;
        Ok(names.iter().filter_map(|name| name.strip_prefix('v')?.parse().ok()).collect())
    }
}
