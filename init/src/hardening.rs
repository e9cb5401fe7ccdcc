//! What takes rights from a process for good: its keyring, capabilities, Landlock, seccomp. Each function acts on the
//! calling thread and on what it will start. All of them only make raw system calls, on their own stack: the payload's
//! process calls them before its exec, and a forked Python before a function of a task.

use core::mem::size_of;
use linux_raw_sys::general as k;
use linux_raw_sys::landlock as l;
use linux_raw_sys::prctl;
use syscalls::{Sysno, syscall};

type Result<T> = core::result::Result<T, i32>;

macro_rules! call {
    ($name:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: each caller below passes plain numbers, or pointers to live memory of the size the kernel expects.
        unsafe { syscall!(Sysno::$name $(, $argument)*) }.map_err(|error| error.into_raw())
    };
}

/// Number of capabilities that a set has room for.
const CAPABILITIES: usize = 64;
/// SECBIT_NOROOT, SECBIT_NO_SETUID_FIXUP and SECBIT_NO_CAP_AMBIENT_RAISE, each with its lock, and the lock of
/// SECBIT_KEEP_CAPS, which stays off (capabilities(7), linux/securebits.h).
const SECUREBITS: usize = 0b1110_1111;

/// Join a new session keyring, which is empty (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING).
pub fn session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    call!(keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0).map(drop)
}

/// Keep these capabilities at most, in every set and in the bounding set. If none is kept, root is an ordinary user from
/// here on: the securebits are set and locked, so no exec and no change of user gives a capability.
pub fn limit_capabilities(keep: u64) -> Result<()> {
    let header = k::__user_cap_header_struct { version: k::_LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let none = k::__user_cap_data_struct { effective: 0, permitted: 0, inheritable: 0 };
    let mut data = [none; 2];
    call!(capget, &raw const header, data.as_mut_ptr())?;
    // After a change of user the permitted ones are kept and the effective ones are not. The next two calls take
    // CAP_SETPCAP.
    data.iter_mut().for_each(|half| half.effective = half.permitted);
    call!(capset, &raw const header, data.as_ptr())?;
    for capability in (0..CAPABILITIES).filter(|capability| keep & (1 << capability) == 0) {
        // 0 for one that is missing already, EINVAL for a number beyond the last one.
        if call!(prctl, prctl::PR_CAPBSET_READ, capability, 0, 0, 0) == Ok(1) {
            call!(prctl, prctl::PR_CAPBSET_DROP, capability, 0, 0, 0)?;
        }
    }
    if keep == 0 {
        call!(prctl, prctl::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0)?;
    }
    for (index, half) in data.iter_mut().enumerate() {
        let kept = (keep >> (32 * index)) as u32;
        half.permitted &= kept;
        half.effective &= kept;
        // Ambient capabilities go with them.
        half.inheritable &= kept;
    }
    call!(capset, &raw const header, data.as_ptr()).map(drop)
}

/// No later exec gives rights (PR_SET_NO_NEW_PRIVS(2const)). It takes this to apply the next two.
pub fn no_new_privs() -> Result<()> {
    call!(prctl, prctl::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).map(drop)
}

/// Apply a filter for system calls (seccomp(2)): instructions of classic BPF, eight bytes each.
pub fn seccomp(filter: &[u8]) -> Result<()> {
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    const INSTRUCTION: usize = 8;
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const u8,
    }
    let program = Program { length: (filter.len() / INSTRUCTION) as u16, instructions: filter.as_ptr() };
    call!(seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const program).map(drop)
}

/// The least version of Landlock. The first one refuses every rename into another directory, also where all is allowed.
const LEAST_LANDLOCK: usize = 2;
/// The versions that know an access or a scope (landlock(7)).
const TRUNCATE_SINCE: usize = 3;
const SCOPES_SINCE: usize = 6;
/// No process in a box makes a device node.
const DEVICE_NODES: u32 = l::LANDLOCK_ACCESS_FS_MAKE_CHAR | l::LANDLOCK_ACCESS_FS_MAKE_BLOCK;
/// What changes a directory. The kernel refuses a rule for a file that has any of it.
const DIRECTORY_WRITES: u32 = l::LANDLOCK_ACCESS_FS_REMOVE_DIR
    | l::LANDLOCK_ACCESS_FS_REMOVE_FILE
    | l::LANDLOCK_ACCESS_FS_MAKE_DIR
    | l::LANDLOCK_ACCESS_FS_MAKE_REG
    | l::LANDLOCK_ACCESS_FS_MAKE_SOCK
    | l::LANDLOCK_ACCESS_FS_MAKE_FIFO
    | l::LANDLOCK_ACCESS_FS_MAKE_SYM
    | l::LANDLOCK_ACCESS_FS_REFER;

/// Enter a Landlock domain, in which files can be changed below the `writable` paths alone, no device node can be made,
/// nothing can be mounted, and no process outside of it can be traced. `scopes` are LANDLOCK_SCOPE_*, where the kernel
/// has them. A path that does not exist, or that this process may not look up, is left out.
pub fn landlock<'a>(writable: impl Iterator<Item = &'a [u8]>, scopes: u64) -> Result<()> {
    let version = call!(landlock_create_ruleset, 0, 0, l::LANDLOCK_CREATE_RULESET_VERSION)?;
    if version < LEAST_LANDLOCK {
        return Err(linux_raw_sys::errno::EOPNOTSUPP as i32);
    }
    let truncate = if version >= TRUNCATE_SINCE { l::LANDLOCK_ACCESS_FS_TRUNCATE } else { 0 };
    let file_writes = l::LANDLOCK_ACCESS_FS_WRITE_FILE | truncate;
    let writes = u64::from(DIRECTORY_WRITES | file_writes);
    let scoped = if version >= SCOPES_SINCE { scopes } else { 0 };
    let attributes = [writes | u64::from(DEVICE_NODES), 0, scoped];
    // A kernel refuses a structure that is longer than its own, unless the rest is zero.
    let ruleset = call!(landlock_create_ruleset, attributes.as_ptr(), size_of::<[u64; 3]>(), 0)? as i32;
    let restricted = writable
        .map(|path| allow(ruleset, path, writes, u64::from(file_writes)))
        .find(Result::is_err)
        .unwrap_or(Ok(()))
        .and_then(|()| call!(landlock_restrict_self, ruleset, 0).map(drop));
    let _ = call!(close, ruleset);
    restricted
}

/// Add the rule that `path`, and all below it, can be changed.
fn allow(ruleset: i32, path: &[u8], writes: u64, file_writes: u64) -> Result<()> {
    /// `struct landlock_path_beneath_attr`, which is packed.
    #[repr(C, packed)]
    struct Rule {
        allowed: u64,
        parent: i32,
    }
    const PATH_BENEATH: usize = 1;
    let Ok(parent) = call!(openat, k::AT_FDCWD, path.as_ptr(), k::O_PATH | k::O_CLOEXEC, 0) else { return Ok(()) };
    let add = |allowed| {
        let rule = Rule { allowed, parent: parent as i32 };
        call!(landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0).map(drop)
    };
    // EINVAL for a file, which has no rights of a directory.
    let added = add(writes)
        .or_else(|errno| if errno == linux_raw_sys::errno::EINVAL as i32 { add(file_writes) } else { Err(errno) });
    let _ = call!(close, parent);
    added
}
