//! The system calls init makes, one thin wrapper each. Errors are plain error numbers.
//!
//! `syscalls` makes the calls and `linux-raw-sys` names the kernel's numbers and structures; nothing is linked.

macro_rules! call {
    ($name:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: each caller below passes pointers to live memory of the size the kernel expects.
        unsafe { syscall!(Sysno::$name $(, $argument)*) }.map_err(|error| error.into_raw())
    };
}

mod errno;
mod files;
mod ids;
mod memory;
mod mounts;
mod namespaces;
mod poll;
mod process;
mod signals;
mod socket;

pub use errno::*;
pub use files::*;
pub use ids::*;
pub use memory::*;
pub use mounts::*;
pub use namespaces::*;
pub use poll::*;
pub use process::*;
pub use signals::*;
pub use socket::*;
