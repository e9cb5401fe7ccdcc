//! The flags of mounts.

/// mount(2).
pub const MS_NOSUID: u64 = 0x2;

/// mount(2).
pub const MS_NODEV: u64 = 0x4;

/// mount(2).
pub const MS_NOEXEC: u64 = 0x8;

/// mount(2).
pub const MS_REC: u64 = 0x4000;

/// mount(2).
pub const MS_PRIVATE: u64 = 0x4_0000;

/// mount(2).
pub const MS_SLAVE: u64 = 0x8_0000;

/// mount(2).
pub const MS_SHARED: u64 = 0x10_0000;

/// mount_setattr(2).
pub const ATTR_RDONLY: u64 = 0x1;

/// mount_setattr(2).
pub const ATTR_NOSUID: u64 = 0x2;

/// mount_setattr(2).
pub const ATTR_NODEV: u64 = 0x4;

/// mount_setattr(2).
pub const ATTR_NOEXEC: u64 = 0x8;

pub fn attribute_names(attributes: u64) -> String {
    const NAMES: [(u64, &str); 4] = [
        (ATTR_RDONLY, "MOUNT_ATTR_RDONLY"),
        (ATTR_NOSUID, "MOUNT_ATTR_NOSUID"),
        (ATTR_NODEV, "MOUNT_ATTR_NODEV"),
        (ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"),
    ];
    NAMES.iter().filter(|(flag, _)| attributes & flag != 0).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

pub fn mount_flags(flags: u64) -> String {
    const NAMES: [(u64, &str); 7] = [
        (MS_REC, "MS_REC"),
        (MS_PRIVATE, "MS_PRIVATE"),
        (MS_SLAVE, "MS_SLAVE"),
        (MS_SHARED, "MS_SHARED"),
        (MS_NOSUID, "MS_NOSUID"),
        (MS_NODEV, "MS_NODEV"),
        (MS_NOEXEC, "MS_NOEXEC"),
    ];
    NAMES.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}
