//! What one start needs in memory, mapped in one piece: the child's stack, what the child reports, and the pointers
//! that execve(2) takes.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, Ordering};

use linux_raw_sys::general::SIGSYS;
use nsbox_init::wire::{Failure, Op, Plan, Texts};

use crate::sys::{self, Errno, Result};

/// Size of the child's stack, in bytes; a multiple of the alignment of what follows it. Enough for [`crate::payload`],
/// which keeps its data elsewhere.
const STACK: usize = 16 << 10;

/// What the child reports to init: which step failed, and whether the child still uses init's memory.
///
/// All zero is a valid value: nothing has failed.
pub struct Notes {
    step: AtomicU32,
    errno: AtomicI32,
    value: AtomicI64,
    /// Not 0 while the child is in init's memory, or in its copy of it.
    pub present: AtomicI32,
    /// One more than the step that the child has begun; 0 before the first one, and at the exec.
    begun: AtomicU32,
}

impl Notes {
    /// Note that a step failed.
    pub fn fail(&self, failure: Failure) {
        self.step.store(failure.step, Ordering::Relaxed);
        self.value.store(failure.value, Ordering::Relaxed);
        self.errno.store(failure.errno, Ordering::Release);
    }

    /// Note that a step is begun.
    pub fn begin(&self, step: u16) {
        self.begun.store(u32::from(step) + 1, Ordering::Relaxed);
    }

    /// Note that the program is executed next.
    pub fn begin_exec(&self) {
        self.begun.store(0, Ordering::Relaxed);
    }

    /// Whether a step is begun, and the exec is not.
    pub fn is_in_set_up(&self) -> bool {
        self.begun.load(Ordering::Acquire) != 0
    }

    /// The step that the child had begun when SIGSYS ended it, by the wait status `status`: a filter of system calls
    /// killed it for one of that step. `None` if it ended in another way, or later.
    pub fn forbidden(&self, status: i32) -> Option<Failure> {
        let step = self.begun.load(Ordering::Acquire).checked_sub(1)?;
        (status & 0x7f == SIGSYS as i32).then_some(Failure { step, errno: -(SIGSYS as i32), value: 0 })
    }

    /// The step that failed, if one did.
    pub fn failure(&self) -> Option<Failure> {
        let errno = self.errno.load(Ordering::Acquire);
        let (step, value) = (self.step.load(Ordering::Relaxed), self.value.load(Ordering::Relaxed));
        (errno != 0).then_some(Failure { step, errno, value })
    }
}

/// The mapping.
pub struct Memory {
    all: &'static mut [u8],
    exec: Exec,
}

impl Memory {
    /// Map it. `copied` says that the child gets a copy of init's memory: then the mapping is shared with it all the
    /// same.
    pub fn prepare(plan: Plan<'static>, copied: bool) -> Result<Memory> {
        let none = || Texts { count: 0, joined: &[][..] };
        let exec = plan.ops().find_map(|(_, op)| match op {
            Op::Exec { paths, argv, envp } => Some((paths, argv, envp)),
            _ => None,
        });
        let (paths, argv, envp) = exec.unwrap_or_else(|| (none(), none(), none()));
        let count = [&paths, &argv, &envp].iter().map(|texts| texts.count as usize + 1).sum::<usize>();
        let all = sys::map_memory(STACK + size_of::<Notes>() + count * size_of::<*const u8>(), copied)?;
        // SAFETY: zeroed (so NULL) memory of that size, never used as anything else until it is freed; STACK and the
        // size of `Notes` are multiples of the alignment.
        let memory =
            unsafe { core::slice::from_raw_parts_mut(all.as_mut_ptr().add(STACK + size_of::<Notes>()).cast(), count) };
        let (path_pointers, memory) = pointers(&paths, memory);
        let (argv, memory) = pointers(&argv, memory);
        let (envp, _) = pointers(&envp, memory);
        let exec = Exec { paths: &path_pointers[..paths.count as usize], argv: argv.as_ptr(), envp: envp.as_ptr() };
        Ok(Memory { all, exec })
    }

    /// The child's stack. Only the child writes to it, while init waits or does not touch it.
    pub fn stack(&self) -> &'static mut [MaybeUninit<u8>] {
        // SAFETY: the first part of the mapping, which nothing else uses.
        unsafe { core::slice::from_raw_parts_mut(self.all.as_ptr().cast_mut().cast(), STACK) }
    }

    /// What the child reports.
    pub fn notes(&self) -> &'static Notes {
        // SAFETY: the part behind the stack: zeroed, aligned, and made of atomic numbers.
        unsafe { &*self.all.as_ptr().add(STACK).cast() }
    }

    /// What the child executes at the end.
    pub fn exec(&self) -> Exec {
        self.exec
    }

    /// Unmap it. Neither the child nor init may use any part of it any more.
    pub fn free(self) {
        sys::unmap(self.all);
    }
}

/// The pointers that execve(2) takes.
#[derive(Clone, Copy)]
pub struct Exec {
    paths: &'static [*const u8],
    argv: *const *const u8,
    envp: *const *const u8,
}

impl Exec {
    /// Execute the first path that can be executed; returns the error if none can. As in execvp(3), the error of a path
    /// that exists but cannot be executed is returned only if no later path can be.
    pub fn run(&self) -> Errno {
        let mut reason = sys::ENOENT;
        let mut decided = false;
        for &path in self.paths {
            let errno = sys::execve(path, self.argv, self.envp);
            if !decided {
                reason = errno;
                decided = errno != sys::ENOENT && errno != sys::ENOTDIR;
            }
        }
        reason
    }
}

/// A NULL-terminated array of pointers to `texts` at the beginning of `memory`, and the rest of `memory`.
fn pointers(
    texts: &Texts<&'static [u8]>,
    memory: &'static mut [*const u8],
) -> (&'static [*const u8], &'static mut [*const u8]) {
    let (array, rest) = memory.split_at_mut(texts.count as usize + 1);
    for (slot, text) in array.iter_mut().zip(texts.iter()) {
        *slot = text.as_ptr();
    }
    (array, rest)
}
