//! Laying out the payload's file descriptors.

use crate::sys::{self, Errno, Result};
use nsbox_init::close_range::{Action, close_range};
use nsbox_init::wire::{MAX_DESCRIPTORS, Numbers};

/// Lay out the caller's own descriptors, which init has inherited: standard input, output and error, and those that are
/// passed on. The second number of an error is the descriptor. A source below 3 is moved up first: it may be the target
/// of another source.
pub fn arrange(
    stdio: [i32; 3],
    pass: impl Iterator<Item = u32>,
    close: bool,
) -> core::result::Result<(), (Errno, i64)> {
    let mut sources = stdio;
    for (target, source) in sources.iter_mut().enumerate() {
        if (0..3).contains(source) && *source != target as i32 {
            *source = sys::duplicate_above(*source, 3).map_err(|errno| (errno, i64::from(*source)))?;
        } else if *source > 2 {
            sys::close_on_exec(*source).map_err(|errno| (errno, i64::from(*source)))?;
        }
    }
    for (target, &source) in sources.iter().enumerate() {
        let target = target as i32;
        if source == target {
            sys::keep_over_exec(source)
        } else if source >= 0 {
            sys::duplicate_to(source, target, false)
        } else {
            Ok(())
        }
        .map_err(|errno| (errno, i64::from(stdio[target as usize])))?;
    }
    if close {
        close_range(3, i32::MAX, Action::CloseOnExec).map_err(|errno| (errno, -1))?;
    }
    for fd in pass {
        sys::keep_over_exec(fd as i32).map_err(|errno| (errno, i64::from(fd)))?;
    }
    Ok(())
}

/// Lay out descriptors that came with a request, in the order of their targets: first those of `stdio` that are 1, then
/// `pass`. They are moved above all targets first, and so is `also`, which is needed until the exec. The second number
/// of an error is the target.
///
/// The numbers are copied: this is init's memory, and init still has to close its own descriptors.
pub fn install(
    numbers: &[i32],
    stdio: [i32; 3],
    pass: &Numbers<&'static [u8]>,
    also: &mut i32,
) -> core::result::Result<(), (Errno, i64)> {
    let mut received = [-1; MAX_DESCRIPTORS];
    received[..numbers.len()].copy_from_slice(numbers);
    let received = &mut received[..numbers.len()];
    let free = pass.iter().fold(2, u32::max) as i32 + 1;
    for fd in received.iter_mut().chain([also]).filter(|fd| (0..free).contains(*fd)) {
        // For an error, the highest number that was asked for counts.
        *fd = sys::duplicate_above(*fd, free).map_err(|errno| (errno, i64::from(free) - 1))?;
    }
    let standard = (0..3_u32).filter(|&target| stdio[target as usize] != 0);
    let mut sources = received.iter();
    for target in standard.chain(pass.iter()) {
        let source = *sources.next().ok_or((sys::EIO, i64::from(target)))?;
        sys::duplicate_to(source, target as i32, false).map_err(|errno| (errno, i64::from(target)))?;
    }
    Ok(())
}

/// Close all descriptors but these; negative ones are ignored.
pub fn close_others(kept: &mut [i32]) -> Result<()> {
    kept.sort_unstable();
    let mut next = 0;
    for &fd in kept.iter().filter(|fd| **fd >= 0) {
        if next < fd {
            close_range(next, fd - 1, Action::Close)?;
        }
        next = fd + 1;
    }
    close_range(next, i32::MAX, Action::Close)
}
