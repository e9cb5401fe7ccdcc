//! A seccomp filter (seccomp(2)).

use linux_raw_sys::prctl;
use syscalls::{Sysno, syscall};

use super::errno::Result;

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
    const SECCOMP_MODE_FILTER: usize = 2;
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
        Instruction(EQUAL, 1, 0, prctl::PR_SET_DUMPABLE),
        Instruction(RETURN, 0, 0, KILL_PROCESS),
        Instruction(RETURN, 0, 0, ALLOW),
    ];
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program(u16, *const Instruction);
    let program = Program(filter.len() as u16, filter.as_ptr());
    call!(prctl, prctl::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
    call!(prctl, prctl::PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program, 0, 0).map(drop)
}
