//! An array map in this process's memory (`BPF_F_MMAPABLE`, Linux 5.5): its elements are read without asking the kernel
//! for each. Only read: what changes goes through the map.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr,
};

use aya::{
    Pod,
    maps::{MapData, MapError},
};

/// The first elements of an array, as they are when they are looked at.
pub(super) struct View<T: Pod> {
    start: *mut u8,
    len: u32,
    element: PhantomData<T>,
}

impl<T: Pod> View<T> {
    /// What an element takes (`array_map_alloc` in kernel/bpf/arraymap.c).
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// What a mapping of so many takes; an empty one is none.
    fn bytes(len: u32) -> usize {
        (Self::STRIDE * len as usize).max(1)
    }

    /// Maps so many elements, which the array has to have.
    pub(super) fn of(map: &MapData, len: u32) -> Result<Self, MapError> {
        let fd = map.fd().as_fd().as_raw_fd();
        let (anywhere, bytes) = (ptr::null_mut(), Self::bytes(len));
        // SAFETY: a new mapping, which overlaps with nothing that this process has.
        let start = unsafe { libc::mmap(anywhere, bytes, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(MapError::IoError(io::Error::last_os_error()));
        }
        Ok(Self { start: start.cast(), len, element: PhantomData })
    }

    /// An element, if it is one of those that are mapped.
    pub(super) fn get(&self, index: u32) -> Option<T> {
        if index >= self.len {
            return None;
        }
        // SAFETY: within the mapping, aligned to 8 bytes, and any bytes are a value. Others may write there meanwhile:
        // volatile, so that it is read once.
        Some(unsafe { self.start.add(Self::STRIDE * index as usize).cast::<T>().read_volatile() })
    }

    /// All that are mapped, with their indexes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, T)> {
        (0..self.len).filter_map(|index| Some((index, self.get(index)?)))
    }
}

impl<T: Pod> Drop for View<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `of` made; nothing borrows from it.
        unsafe { libc::munmap(self.start.cast(), Self::bytes(self.len)) };
    }
}
