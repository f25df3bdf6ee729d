//! Many entries of a map in one call, for which aya has no words.

use std::{
    io, iter,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Pod,
    maps::{IterableMap, MapData, MapError},
    util::nr_cpus,
};

use crate::nat::ebpf::link::bpf;

/// `enum bpf_cmd` in include/uapi/linux/bpf.h.
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;

/// How many entries are read at once.
const AT_ONCE: usize = 4096;

/// `batch` in `union bpf_attr`.
#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl Batch {
    fn of<K, V>(map: &MapData, keys: *const K, values: *const V, count: usize) -> Self {
        Self {
            from: 0,
            to: 0,
            keys: keys as u64,
            values: values as u64,
            count: count as u32,
            map: map.fd().as_fd().as_raw_fd().cast_unsigned(),
            element_flags: 0,
            flags: 0,
        }
    }
}

/// A map's entries, some thousand at a time. Not those of hash tables, which do not follow one another by their keys.
pub(super) fn chunks<K: Pod, V: Pod>(
    map: &impl IterableMap<K, V>,
) -> impl Iterator<Item = Result<Vec<(K, V)>, MapError>> {
    let mut after = Some(None);
    iter::from_fn(move || {
        let chunk = read(map.map(), after.take()?).map_err(MapError::IoError);
        Some(chunk.map(|(entries, is_last)| {
            after = entries.last().filter(|_| !is_last).map(|&(key, _)| Some(key));
            entries
        }))
    })
}

/// The entries that follow the one with this key, and whether they are the last.
fn read<K: Pod, V: Pod>(map: &MapData, after: Option<K>) -> io::Result<(Vec<(K, V)>, bool)> {
    let mut keys: Vec<K> = Vec::with_capacity(AT_ONCE);
    let mut values: Vec<V> = Vec::with_capacity(AT_ONCE);
    // The kernel leaves the last key there, which the last of `keys` is, too.
    let mut to: Vec<K> = Vec::with_capacity(1);
    let mut batch = Batch::of(map, keys.as_mut_ptr(), values.as_mut_ptr(), AT_ONCE);
    batch.from = after.as_ref().map_or(0, |key| std::ptr::from_ref(key) as u64);
    batch.to = to.as_mut_ptr() as u64;
    let is_last = match bpf(BPF_MAP_LOOKUP_BATCH, &mut batch) {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    let count = (batch.count as usize).min(AT_ONCE);
    // SAFETY: the kernel has written so many of each; whatever bytes they are, they are `Pod`.
    unsafe {
        keys.set_len(count);
        values.set_len(count);
    }
    Ok((keys.into_iter().zip(values).collect(), is_last))
}

/// Gives these keys values of zeroes, on every CPU.
pub(super) fn zero<K: Pod, V>(map: &MapData, keys: &[K]) -> Result<(), MapError> {
    let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
    let zeroes = vec![0_u8; size_of::<V>().next_multiple_of(8) * cpus * keys.len()];
    let mut batch = Batch::of(map, keys.as_ptr(), zeroes.as_ptr(), keys.len());
    bpf(BPF_MAP_UPDATE_BATCH, &mut batch).map(drop).map_err(MapError::IoError)
}
