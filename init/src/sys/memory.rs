//! Memory.

use linux_raw_sys::general as k;
use syscalls::{Sysno, syscall};

use super::errno::Result;

/// The whole file, readable, at an address of the kernel's choice.
pub fn map_file(fd: i32) -> Result<&'static [u8]> {
    let length = call!(lseek, fd, 0, k::SEEK_END)?;
    if length == 0 {
        return Ok(&[]);
    }
    let start = call!(mmap, 0, length, k::PROT_READ, k::MAP_PRIVATE, fd, 0)?;
    // SAFETY: a fresh mapping of that length, never unmapped; the file is sealed, so it cannot shrink.
    Ok(unsafe { core::slice::from_raw_parts(start as *const u8, length) })
}

/// Zeroed memory. Shared memory is seen by a forked child and by us alike.
pub fn map_memory(length: usize, shared: bool) -> Result<&'static mut [u8]> {
    let kind = k::MAP_ANONYMOUS | if shared { k::MAP_SHARED } else { k::MAP_PRIVATE };
    let start = call!(mmap, 0, length, k::PROT_READ | k::PROT_WRITE, kind, -1_i32, 0)?;
    // SAFETY: a fresh private mapping of that length, never unmapped.
    Ok(unsafe { core::slice::from_raw_parts_mut(start as *mut u8, length) })
}

/// Give memory back to the kernel: the whole of a mapping that [`map_memory`] or [`map_file`] made, and nobody uses.
pub fn unmap(memory: &'static [u8]) {
    let _ = call!(munmap, memory.as_ptr(), memory.len());
}
