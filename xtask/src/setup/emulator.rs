//! A machine with another kernel, emulated on this machine's own file system: QEMU, as `virtme-ng` starts it, and a
//! kernel of Debian's.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};

use super::{Wanted, apt, may_install, missing};
use crate::{
    run::{ask, run},
    workspace::Workspace,
};

const PACKAGES: [Wanted; 5] = [
    Wanted::program("qemu-system-x86", "qemu-system-x86_64"),
    Wanted::program("udev", "udevadm"),
    Wanted::program("kmod", "modprobe"),
    // Beside its dynamic sister it would have the same program: the guest begins without any library.
    Wanted::file("busybox-static", "/usr/share/doc/busybox-static"),
    Wanted::file("python3-venv", "/usr/share/doc/python3-venv"),
];

const VIRTME: &str = "virtme-ng==1.42";

/// What it takes to start one.
pub(crate) struct Emulator {
    /// Its programs call each other by name.
    programs: PathBuf,
    image: PathBuf,
}

/// Finds a kernel of that version, such as `6.1`, and what starts it; installs what is missing.
pub(crate) fn ready(workspace: &Workspace, version: &str) -> Result<Emulator> {
    if env::consts::ARCH != "x86_64" {
        bail!("only x86_64 kernels are emulated");
    }
    let mut packages: Vec<String> = missing(&PACKAGES).into_iter().map(str::to_owned).collect();
    if newest_image(Path::new("/boot"), version).is_none() {
        // Of each release one kernel has no number in its name.
        let names = [format!("linux-image-{version}-amd64"), "linux-image-amd64".to_owned()];
        packages.push(apt::of_version(&names, &format!("{version}."))?);
    }
    apt::install(&packages.iter().map(String::as_str).collect::<Vec<_>>())?;
    let image = newest_image(Path::new("/boot"), version)
        .with_context(|| format!("the package has brought no kernel {version} into /boot"))?;
    Ok(Emulator { programs: virtme(workspace)?, image })
}

/// The directory of virtme-ng's programs, in an environment of Python's below the cache.
fn virtme(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.cache().join(VIRTME.replace("==", "-"));
    let programs = root.join("bin");
    if ask(Command::new(programs.join("vng")).arg("--version")).is_none() {
        may_install(&format!("{VIRTME}, into {}", root.display()))?;
        run(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&root))?;
        let quietly = ["install", "--disable-pip-version-check", "--quiet", VIRTME];
        run(Command::new(programs.join("pip")).args(quietly))?;
    }
    Ok(programs)
}

/// The kernel of that version that was installed last; those for clouds and the like lack drivers.
fn newest_image(boot: &Path, version: &str) -> Option<PathBuf> {
    let start = format!("vmlinuz-{version}.");
    let time =
        |path: &PathBuf| path.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let is_plain = |name: &str| !["-cloud", "-rt"].iter().any(|flavour| name.contains(flavour));
    let images = fs::read_dir(boot).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        (name.starts_with(&start) && is_plain(&name)).then(|| entry.path())
    });
    images.max_by_key(time)
}

impl Emulator {
    /// The command that starts it to run `script` in it, as root. It sees this machine's files and writes to copies,
    /// except below `shared`. Its exit status is the script's.
    pub(crate) fn command(&self, script: &Path, shared: &Path) -> Command {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.programs.clone()].into_iter().chain(env::split_paths(&path)));
        let mut command = Command::new("vng");
        // Without KVM it starts wherever it is, also in a virtual machine.
        command
            .args(["--disable-kvm", "--user", "root", "--memory", "2G", "--cpus", "2", "-r"])
            .arg(&self.image);
        command.arg("--rwdir").arg(shared).args(["--", "sh"]).arg(script);
        // The separator of a path cannot be in one that a shell had in its PATH.
        command.env("PATH", path.unwrap_or_default());
        command
    }

    /// The kernel's release.
    pub(crate) fn release(&self) -> String {
        let name = self.image.file_name().unwrap_or_default().to_string_lossy();
        name.trim_start_matches("vmlinuz-").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_installed_last_is_taken_but_none_for_a_cloud() {
        let boot = env::temp_dir().join(format!("netctl-boot-{}", std::process::id()));
        fs::create_dir_all(&boot).unwrap();
        let names = ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.12.1-amd64"];
        for (age, name) in names.iter().rev().enumerate() {
            let file = fs::File::create(boot.join(format!("vmlinuz-{name}"))).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000 + age as u64);
            file.set_modified(time).unwrap();
        }
        let found = |version| newest_image(&boot, version).map(|path| path.file_name().unwrap().to_owned());
        assert_eq!(found("6.1"), Some("vmlinuz-6.1.0-9-amd64".into()));
        assert_eq!(found("6.12"), Some("vmlinuz-6.12.1-amd64".into()));
        assert_eq!(found("6"), Some("vmlinuz-6.1.0-9-amd64".into()));
        assert_eq!(found("5.15"), None);
        fs::remove_dir_all(boot).unwrap();
    }
}
