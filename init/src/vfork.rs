//! A vfork-style clone: the child shares our memory, on a stack of its own, while we are suspended.
//!
//! The extension starts nsbox-init with it, nsbox-init starts the payload. Sharing the memory makes the cost
//! independent of the size of the caller's heap (fork(2) copies page tables: 15-70 ms at 0.25-1 GB). The price is that
//! the child may do nothing but make system calls on data prepared beforehand.
//!
//! A raw system call is needed because the child must not return through the stack frame the parent will return
//! into; the C library's `clone()` covers neither clone3 nor a process without a C library.

use core::ffi::c_void;
use core::mem::{MaybeUninit, size_of};
use core::sync::atomic::{AtomicI32, Ordering};
use syscalls::{Sysno, raw_syscall};

/// `struct clone_args` (clone(2)). A field that is not used is 0.
#[repr(C, align(8))]
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "the names of the kernel")]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// Size of [`CloneArgs`] up to `tls`, in bytes: its first published size, which every kernel with clone3 accepts.
const CLONE_ARGS_SIZE_VER0: u64 = 64;

const CLONE_VM: u64 = 0x100;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const SIGCHLD: u64 = 17;
const ENOSYS: i64 = 38;

/// The system call that made the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// clone3(2).
    Clone3,
    /// clone(2), since clone3 answered ENOSYS: a kernel before 5.3, or a seccomp filter that hides it.
    Clone,
}

impl Method {
    /// The name of that system call.
    pub fn name(self) -> &'static str {
        match self {
            Method::Clone3 => "clone3",
            Method::Clone => "clone",
        }
    }
}

/// A new child. The pidfd belongs to the caller.
#[derive(Debug, Clone, Copy)]
pub struct Born {
    /// Its PID in the namespace of the caller.
    pub pid: i32,
    /// A pidfd of it (CLOEXEC, as the kernel makes them).
    pub pidfd: i32,
    /// How it was made.
    pub method: Method,
}

/// Run `child(data)` in a new process made with `flags` (CLONE_NEW*) and wait until it has called execve or ended.
///
/// # Errors
/// The errno of clone3 or clone.
///
/// # Safety
/// All signals must be blocked, or a handler of ours runs in the child. `child` must not return, unwind, allocate,
/// take a lock or touch thread-local state, and must leave by execve or exit. Nothing else may use `stack`.
pub unsafe fn vfork(
    flags: u64,
    stack: &mut [MaybeUninit<u8>],
    child: unsafe extern "C" fn(*mut c_void) -> !,
    data: *mut c_void,
) -> Result<Born, i32> {
    let flags = flags | CLONE_VFORK | CLONE_VM;
    // SAFETY: this function's own contract.
    unsafe { clone(flags, core::ptr::null(), stack, child, data) }
}

/// As [`vfork`], but without waiting: the child uses its stack and its data until it has called execve or ended.
/// Without `share_memory` it has a copy of our memory, and can report only in a shared mapping.
///
/// # Errors
/// As [`vfork`].
///
/// # Safety
/// As [`vfork`]; and what the child uses must stay, and must not be touched, for as long.
pub unsafe fn vfork_unwatched(
    flags: u64,
    share_memory: bool,
    stack: &mut [MaybeUninit<u8>],
    child: unsafe extern "C" fn(*mut c_void) -> !,
    data: *mut c_void,
) -> Result<Born, i32> {
    let how = if share_memory { CLONE_VM } else { 0 };
    // SAFETY: this function's own contract.
    unsafe { clone(flags | how, core::ptr::null(), stack, child, data) }
}

/// The bit that the kernel sets in the futex of a thread that has ended (linux/futex.h).
const FUTEX_OWNER_DIED: i32 = 0x4000_0000;
/// The bit that asks the kernel to wake waiters then.
const FUTEX_WAITERS: i32 = i32::MIN;

/// As [`vfork`], but the wait is ours, not the kernel's: `meanwhile` is called every tenth of a second, and ends the
/// wait by returning true. It must do so when the child has ended.
///
/// When the child leaves the memory that it shares with us, the kernel clears the futex `present` and wakes its waiter:
/// CLONE_CHILD_CLEARTID (clone(2)). Kernels before 5.10 do not when the child ends by dumping core. A child with a
/// copy has to call [`Leaving::register`] with the same futex, which then has to be in a shared mapping.
///
/// # Errors
/// As [`vfork`].
///
/// # Safety
/// As [`vfork`]; and what the child uses must not be touched by `meanwhile`.
pub unsafe fn vfork_watched(
    flags: u64,
    share_memory: bool,
    present: &AtomicI32,
    stack: &mut [MaybeUninit<u8>],
    child: unsafe extern "C" fn(*mut c_void) -> !,
    data: *mut c_void,
    meanwhile: &mut dyn FnMut(&Born) -> bool,
) -> Result<Born, i32> {
    const FUTEX_WAIT: i32 = 0;
    /// `struct timespec`: a tenth of a second.
    const SLICE: [i64; 2] = [0, 100_000_000];
    present.store(1, Ordering::Relaxed);
    let how = if share_memory { CLONE_VM | CLONE_CHILD_CLEARTID } else { 0 };
    // SAFETY: this function's own contract; the futex outlives the child's stay in our memory, or in its copy.
    let born = unsafe { clone(flags | how, present.as_ptr(), stack, child, data)? };
    loop {
        let word = present.load(Ordering::Acquire);
        if word == 0 || word & FUTEX_OWNER_DIED != 0 {
            return Ok(born);
        }
        // SAFETY: a live futex and a live timespec.
        let waited = unsafe { raw_syscall!(Sysno::futex, present.as_ptr(), FUTEX_WAIT, word, SLICE.as_ptr(), 0, 0) };
        if waited != 0 && meanwhile(&born) {
            return Ok(born);
        }
    }
}

/// Lets a child that has a copy of our memory report that it has exec'ed or exited. The kernel does for `present` what
/// it does for a lock whose owner has ended (get_robust_list(2)).
#[repr(C)]
#[derive(Debug, Default)]
pub struct Leaving {
    /// `struct robust_list_head`: the first entry, the offset from an entry to its futex, and an entry that is being
    /// added.
    first: usize,
    offset: usize,
    pending: usize,
    /// The only entry: a pointer to the next one, which is the head again.
    entry: usize,
}

impl Leaving {
    /// Register it for this process. The value must stay where it is until the exec.
    pub fn register(&mut self, present: &AtomicI32) {
        let entry = &raw const self.entry as usize;
        self.offset = (present.as_ptr() as usize).wrapping_sub(entry);
        self.first = entry;
        self.entry = &raw const self.first as usize;
        // SAFETY: plain numbers, and a live structure of the size the kernel knows.
        unsafe {
            let thread = raw_syscall!(Sysno::gettid) as i32;
            raw_syscall!(Sysno::set_robust_list, &raw const self.first, 3 * size_of::<usize>());
            present.store(thread | FUTEX_WAITERS, Ordering::Release);
        }
    }
}

/// clone3(2) or clone(2) with a pidfd, and with `present` as the futex for CLONE_CHILD_CLEARTID.
///
/// # Safety
/// As for [`vfork`], if memory is shared until the child has left it.
unsafe fn clone(
    flags: u64,
    present: *const i32,
    stack: &mut [MaybeUninit<u8>],
    child: unsafe extern "C" fn(*mut c_void) -> !,
    data: *mut c_void,
) -> Result<Born, i32> {
    let pidfd = AtomicI32::new(-1);
    // Both ABIs want the stack pointer on a multiple of 16.
    let base = (stack.as_mut_ptr() as usize).next_multiple_of(16);
    let size = (stack.as_ptr() as usize + stack.len() - base) & !15;
    let flags = flags | CLONE_PIDFD;
    let args = CloneArgs {
        flags: flags | CLONE_CLEAR_SIGHAND,
        pidfd: pidfd.as_ptr() as u64,
        child_tid: present as u64,
        exit_signal: SIGCHLD,
        stack: base as u64,
        stack_size: size as u64,
        ..CloneArgs::default()
    };
    let arguments = [&raw const args as u64, CLONE_ARGS_SIZE_VER0, 0, 0, 0];
    // SAFETY: a valid clone_args and its size; the rest is this function's own contract.
    let (result, method) = match unsafe { clone_call(CLONE3, arguments, child, data) } {
        // clone(2) has no CLONE_CLEAR_SIGHAND, which is not strictly needed: signals are blocked until the exec, and
        // the exec resets handlers (signal(7)). It stores the pidfd through the parent_tid argument, and wants the
        // top of the stack. The child_tid argument comes fourth or fifth, by the architecture; the other one, the
        // thread's own storage, is not looked at without CLONE_SETTLS.
        unknown if unknown == -ENOSYS => {
            let word = present as u64;
            let arguments = [flags | SIGCHLD, (base + size) as u64, pidfd.as_ptr() as u64, word, word];
            // SAFETY: as above.
            (unsafe { clone_call(CLONE, arguments, child, data) }, Method::Clone)
        }
        other => (other, Method::Clone3),
    };
    if result < 0 {
        return Err(-result as i32);
    }
    Ok(Born { pid: result as i32, pidfd: pidfd.load(Ordering::Relaxed), method })
}

const CLONE3: u64 = 435;
#[cfg(target_arch = "x86_64")]
const CLONE: u64 = 56;
#[cfg(target_arch = "aarch64")]
const CLONE: u64 = 220;

/// Make the system call; in the new process, go on in `child` instead of returning.
///
/// # Safety
/// As for [`vfork`].
#[cfg(target_arch = "x86_64")]
unsafe fn clone_call(
    number: u64,
    arguments: [u64; 5],
    child: unsafe extern "C" fn(*mut c_void) -> !,
    data: *mut c_void,
) -> i64 {
    let result: i64;
    // SAFETY: in the parent only rax, rcx and r11 change. The child starts at the same instruction with the stack it
    // was given and never leaves `child`; rbp is zeroed so that a debugger's backtrace ends there. What the child needs
    // is in registers by name, or the compiler could choose the very rbp.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            in("r12") data,
            in("r13") child,
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// Make the system call; in the new process, go on in `child` instead of returning.
///
/// # Safety
/// As for [`vfork`].
#[cfg(target_arch = "aarch64")]
unsafe fn clone_call(
    number: u64,
    arguments: [u64; 5],
    child: unsafe extern "C" fn(*mut c_void) -> !,
    data: *mut c_void,
) -> i64 {
    let result: i64;
    // SAFETY: in the parent only x0 changes. The child starts at the same instruction with the stack it was given and
    // never leaves `child`; the frame pointer and link register are zeroed so that a backtrace ends there.
    unsafe {
        core::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x20") data,
            in("x21") child,
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            out("x30") _,
        );
    }
    result
}
