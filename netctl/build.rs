//! Hands the eBPF object that `cargo xtask build-ebpf` made to the library, as `OUT_DIR/netctl.bpf.o`.
//!
//! It never builds the object: that takes another compiler. Without one the file is empty, so that checking,
//! linting and documenting work in a fresh clone.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=NETCTL_EBPF_OBJECT");
    let object = match env::var_os("NETCTL_EBPF_OBJECT") {
        Some(object) => PathBuf::from(object),
        None => default_object()?,
    };
    let bytes = match fs::read(&object) {
        Ok(bytes) => {
            println!("cargo::rerun-if-changed={}", object.display());
            bytes
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            watch_for(&object);
            println!(
                "cargo::warning={} is not there, so this netctl translates no addresses in eBPF; run `cargo xtask build-ebpf`",
                object.display()
            );
            Vec::new()
        }
        Err(error) => return Err(format!("reading {}: {error}", object.display()).into()),
    };
    // What tells one build of the programs from another at run time.
    let mut hash = DefaultHasher::new();
    bytes.hash(&mut hash);
    println!("cargo::rustc-env=NETCTL_EBPF_HASH={:016x}", hash.finish());
    let copy = Path::new(&env::var("OUT_DIR")?).join("netctl.bpf.o");
    fs::write(&copy, bytes).map_err(|error| format!("writing {}: {error}", copy.display()))?;
    Ok(())
}

fn default_object() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().ok_or("netctl's manifest lies at the root of the disk")?;
    Ok(workspace.join("target/ebpf/netctl.bpf.o"))
}

/// Runs this script again once the object appears. Cargo takes a watched file that does not exist for a change on
/// every build, so its directory is watched instead, made here for want of one.
fn watch_for(object: &Path) {
    let dir = object.parent().filter(|dir| fs::create_dir_all(dir).is_ok());
    println!("cargo::rerun-if-changed={}", dir.unwrap_or(object).display());
}
