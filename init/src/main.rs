//! `nsbox-init`: carries out a plan inside new namespaces, starts the payload, and stays behind as its init.
//!
//! The extension runs it from a sealed memfd as the first thing a new process does (see `src/start/spawn.rs`), so that
//! everything here happens in an ordinary single-threaded process: no Python, no C library, no allocator. It is called
//! as `nsbox-init SOCKET`, a descriptor number: from there the plan (`wire/`), with it the lifeline (`report.rs`), and
//! the caller's commands are received, and there reports are sent.
#![no_std]
#![no_main]

mod cgroup;
mod confine;
mod descriptors;
mod fuse;
mod group;
mod helper;
mod holder;
mod interpreter;
mod join;
mod launch;
mod layers;
mod lifetime;
mod lineage;
mod look;
mod mem;
mod memory;
mod mounts;
mod open;
mod operation;
mod payload;
mod proc;
mod processes;
mod report;
mod serve;
mod setup;
mod supervise;
mod sys;
mod targets;

use report::FAILED;

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
    let socket = unsafe { argument(stack, 1) };
    sys::set_name(c"nsbox-init");
    interpreter::begin(socket)
}

/// The number that is the argument at `index`; -1 if there are fewer.
unsafe fn argument(stack: *const usize, index: usize) -> i32 {
    // SAFETY: the caller guarantees the layout.
    if index >= unsafe { *stack } {
        return -1;
    }
    // SAFETY: below argc, so a valid pointer to a C string.
    let argument = unsafe { core::ffi::CStr::from_ptr(*stack.add(index + 1) as *const _) };
    parse_number(argument.to_bytes())
}

fn parse_number(digits: &[u8]) -> i32 {
    digits.iter().fold(0i32, |number, digit| number.wrapping_mul(10).wrapping_add(i32::from(digit.wrapping_sub(b'0'))))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(FAILED)
}
