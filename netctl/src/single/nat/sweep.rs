//! What a gateway made by hand leaves when its namespace goes by other hands than netctl's: `ip netns del` knows nothing
//! of pins. The next netctl of any kind removes them.

use crate::{
    model::{Place, TopologyName},
    nat::ebpf::{self, Pins, load::Constants},
    netns::{Netns, NetnsError},
    single::Error,
    state::{ByHand, Directories},
};

/// Removes the pins of gateways made by hand whose namespace has lost its name, or whose name stands for another one now.
///
/// # Errors
/// If something of that kind is there and cannot be removed.
pub fn sweep(directories: &Directories) -> Result<(), Error> {
    if !directories.all_by_hand()?.iter().any(is_stale) {
        return Ok(());
    }
    let lock = directories.lock()?;
    for gateway in directories.all_by_hand()?.iter().filter(|gateway| is_stale(gateway)) {
        tracing::info!("{}: the namespace is gone, and its translation goes too", gateway.place);
        Pins::new(&directories.bpffs, &TopologyName::by_hand(), &gateway.place).remove()?;
        lock.forget_by_hand(directories, &gateway.place)?;
    }
    Ok(())
}

/// The caller's own namespace never is: which one that was cannot be told from within another.
fn is_stale(gateway: &ByHand) -> bool {
    let Place::Netns(name) = &gateway.place else { return false };
    match Netns::open(name) {
        Err(NetnsError::NotFound { .. }) => true,
        Err(_) => false,
        Ok(netns) => {
            let constants = netns.run(|| Constants::of_this_namespace().map_err(Reading::from));
            constants.is_ok_and(|constants| constants.netns_cookie != gateway.netns_cookie)
        }
    }
}

/// Why it is not known which namespace a name stands for.
#[derive(Debug, thiserror::Error)]
enum Reading {
    #[error("{0}")]
    Netns(#[from] NetnsError),
    #[error("{0}")]
    Cookie(#[from] ebpf::Error),
}
