//! A filter for system calls (seccomp(2)) that leaves a process nothing but waiting.

use linux_raw_sys::prctl::PR_SET_DUMPABLE;
use nsbox_init::hardening::{no_new_privs, seccomp};
use syscalls::Sysno;

use crate::sys::Result;

/// `struct sock_filter` of linux/filter.h: the code, how many instructions to skip if a comparison is true or false, and
/// a number.
#[repr(C)]
struct Instruction(u16, u8, u8, u32);

/// Load a word of `struct seccomp_data`, compare it with a number, return what becomes of the call (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// The offsets of the number of the call, of the architecture, and of the lower half of the first argument. Both
/// machines that nsbox runs on are little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
/// The architecture (linux/audit.h).
const NATIVE: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// From now on this process can only read and write with the descriptors that it has, become dumpable, and exit.
pub fn confine() -> Result<()> {
    let call = |number: Sysno| number.id() as u32;
    let filter = [
        Instruction(LOAD, 0, 0, ARCHITECTURE),
        Instruction(EQUAL, 0, 7, NATIVE),
        Instruction(LOAD, 0, 0, NUMBER),
        Instruction(EQUAL, 6, 0, call(Sysno::read)),
        Instruction(EQUAL, 5, 0, call(Sysno::write)),
        Instruction(EQUAL, 4, 0, call(Sysno::exit_group)),
        Instruction(EQUAL, 0, 2, call(Sysno::prctl)),
        Instruction(LOAD, 0, 0, FIRST_ARGUMENT),
        Instruction(EQUAL, 1, 0, PR_SET_DUMPABLE),
        Instruction(RETURN, 0, 0, KILL_PROCESS),
        Instruction(RETURN, 0, 0, ALLOW),
    ];
    // SAFETY: plain numbers without padding.
    let bytes = unsafe { core::slice::from_raw_parts(filter.as_ptr().cast(), size_of_val(&filter)) };
    no_new_privs()?;
    seccomp(bytes)
}
