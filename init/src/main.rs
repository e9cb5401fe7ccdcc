//! `nsbox-init`: carries out a plan inside new namespaces, starts the payload, and stays behind as its init.
//!
//! The extension runs it from a sealed memfd as the first thing a new process does (see `src/spawn.rs`), so that
//! everything here happens in an ordinary single-threaded process: no Python, no C library, no allocator. It is
//! called as `nsbox-init SOCKET LIFELINE [PLAN]`, descriptor numbers:
//!
//! - SOCKET: from which the plan (`wire/`) and the caller's commands are received, and to which reports are sent;
//! - LIFELINE: a pidfd of the calling process. It becomes readable when that process dies, never when one of its
//!   threads ends; PR_SET_PDEATHSIG (prctl(2)) would follow the thread, and getppid(2) is 0 in a new PID namespace;
//! - PLAN: a memfd with the plan instead, if it is too large for a message.
#![no_std]
#![no_main]

mod cgroup;
mod descriptors;
mod group;
mod interpreter;
mod join;
mod launch;
mod mem;
mod memory;
mod mounts;
mod operation;
mod payload;
mod proc;
mod processes;
mod report;
mod serve;
mod setup;
mod supervise;
mod sys;

use report::{Channel, FAILED};

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {main}",
    "brk #1",
    main = sym main,
);

/// `stack` is what the kernel puts there for a new program: argc, then the argv pointers (execve(2)).
unsafe extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel put argc and argc pointers to C strings there.
    let [socket, lifeline, plan] = unsafe { descriptors(stack) };
    for fd in [socket, lifeline] {
        sys::set_cloexec(fd, true);
    }
    sys::set_name(c"nsbox-init");
    interpreter::begin(&Channel { socket, lifeline }, plan)
}

unsafe fn descriptors(stack: *const usize) -> [i32; 3] {
    // SAFETY: the caller vouches for the layout.
    let argc = unsafe { *stack };
    let mut found = [-1; 3];
    for (index, slot) in found.iter_mut().enumerate() {
        if index + 1 < argc {
            // SAFETY: below argc, so a valid pointer to a C string.
            let argument = unsafe { core::ffi::CStr::from_ptr(*stack.add(index + 2) as *const _) };
            *slot = parse_number(argument.to_bytes());
        }
    }
    found
}

fn parse_number(digits: &[u8]) -> i32 {
    digits.iter().fold(0i32, |number, digit| number.wrapping_mul(10).wrapping_add(i32::from(digit.wrapping_sub(b'0'))))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(FAILED)
}
