//! The capabilities, in one table (capabilities(7), linux/capability.h).

/// Their names; the place of each is its number.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// CAP_SETGID as a bit of a set: it takes this to write any gid_map.
pub const SETGID: u64 = 1 << 6;
/// CAP_SETUID as a bit of a set: it takes this to write any uid_map.
pub const SETUID: u64 = 1 << 7;
/// CAP_SETPCAP as a bit of a set: it takes this to drop one from the bounding set.
pub const SETPCAP: u64 = 1 << 8;
/// CAP_SYS_ADMIN as a bit of a set: every namespace but a user namespace takes it.
pub const SYS_ADMIN: u64 = 1 << 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_have_their_names() {
        for (bit, name) in [(SETGID, "CAP_SETGID"), (SETUID, "CAP_SETUID"), (SYS_ADMIN, "CAP_SYS_ADMIN")] {
            assert_eq!(CAPABILITIES[bit.trailing_zeros() as usize], name);
        }
    }

    #[test]
    fn they_have_the_numbers_of_the_kernel() {
        for (number, name) in [(0, "CAP_CHOWN"), (21, "CAP_SYS_ADMIN"), (40, "CAP_CHECKPOINT_RESTORE")] {
            assert_eq!(CAPABILITIES[number], name);
        }
        assert_eq!(CAPABILITIES.len(), 41);
    }
}
