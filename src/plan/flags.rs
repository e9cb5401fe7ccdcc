//! The flags of mounts, each with its name, its number and its option of mount(8): one table for mount(2), one for
//! mount_setattr(2), one for umount2(2). The numbers are those of linux/mount.h and linux/fs.h.

use pyo3::prelude::*;

use crate::call::Name;

/// One flag.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountFlag {
    /// Its name in C, such as `MS_RDONLY`.
    pub name: &'static str,
    /// Its number.
    pub number: u64,
    /// Its word among the options of mount(8), such as `ro`; for propagation the word of `--make-...`.
    pub word: Option<&'static str>,
}

#[pymethods]
impl MountFlag {
    fn __repr__(&self) -> String {
        format!("<mount flag {}={:#x}>", self.name, self.number)
    }
}

const fn flag(name: &'static str, number: u64, word: &'static str) -> MountFlag {
    MountFlag { name, number, word: if word.is_empty() { None } else { Some(word) } }
}

/// mount(2), by number.
pub const MS: [MountFlag; 23] = [
    flag("MS_RDONLY", 0x1, "ro"),
    flag("MS_NOSUID", 0x2, "nosuid"),
    flag("MS_NODEV", 0x4, "nodev"),
    flag("MS_NOEXEC", 0x8, "noexec"),
    flag("MS_SYNCHRONOUS", 0x10, "sync"),
    flag("MS_REMOUNT", 0x20, "remount"),
    flag("MS_MANDLOCK", 0x40, "mand"),
    flag("MS_DIRSYNC", 0x80, "dirsync"),
    flag("MS_NOSYMFOLLOW", 0x100, "nosymfollow"),
    flag("MS_NOATIME", 0x400, "noatime"),
    flag("MS_NODIRATIME", 0x800, "nodiratime"),
    flag("MS_BIND", 0x1000, "bind"),
    flag("MS_MOVE", 0x2000, "move"),
    flag("MS_REC", 0x4000, "rec"),
    flag("MS_SILENT", 0x8000, "silent"),
    flag("MS_UNBINDABLE", 0x2_0000, "unbindable"),
    flag("MS_PRIVATE", 0x4_0000, "private"),
    flag("MS_SLAVE", 0x8_0000, "slave"),
    flag("MS_SHARED", 0x10_0000, "shared"),
    flag("MS_RELATIME", 0x20_0000, "relatime"),
    flag("MS_I_VERSION", 0x80_0000, "iversion"),
    flag("MS_STRICTATIME", 0x100_0000, "strictatime"),
    flag("MS_LAZYTIME", 0x200_0000, "lazytime"),
];

/// mount_setattr(2) and fsmount(2), by number.
pub const MOUNT_ATTR: [MountFlag; 9] = [
    flag("MOUNT_ATTR_RDONLY", 0x1, "ro"),
    flag("MOUNT_ATTR_NOSUID", 0x2, "nosuid"),
    flag("MOUNT_ATTR_NODEV", 0x4, "nodev"),
    flag("MOUNT_ATTR_NOEXEC", 0x8, "noexec"),
    flag("MOUNT_ATTR_NOATIME", 0x10, "noatime"),
    flag("MOUNT_ATTR_STRICTATIME", 0x20, "strictatime"),
    flag("MOUNT_ATTR_NODIRATIME", 0x80, "nodiratime"),
    flag("MOUNT_ATTR_IDMAP", 0x10_0000, ""),
    flag("MOUNT_ATTR_NOSYMFOLLOW", 0x20_0000, "nosymfollow"),
];

/// umount2(2), by number.
pub const UMOUNT: [MountFlag; 4] = [
    flag("MNT_FORCE", 0x1, ""),
    flag("MNT_DETACH", 0x2, ""),
    flag("MNT_EXPIRE", 0x4, ""),
    flag("UMOUNT_NOFOLLOW", 0x8, ""),
];

/// The number of a flag in one of the tables. A constant with a name that is in none does not compile.
const fn number(table: &[MountFlag], name: &str) -> u64 {
    let mut index = 0;
    while index < table.len() {
        if is_same(table[index].name.as_bytes(), name.as_bytes()) {
            return table[index].number;
        }
        index += 1;
    }
    panic!("no flag has this name")
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    let mut index = 0;
    while index < left.len() && index < right.len() && left[index] == right[index] {
        index += 1;
    }
    index == left.len() && index == right.len()
}

/// Declares constants whose names and numbers are in a table.
macro_rules! constants {
    ($table:ident: $($name:ident),*) => {$(
        #[doc = concat!("The flag of this name in [`", stringify!($table), "`].")]
        pub const $name: u64 = number(&$table, stringify!($name));
    )*};
}
constants!(MS: MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED);
constants!(MOUNT_ATTR: MOUNT_ATTR_IDMAP, MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC);

/// The names of flags; bits without a name are one hexadecimal number at the end.
pub fn names(flags: u64, table: &[MountFlag]) -> Vec<Name> {
    let set = table.iter().filter(|flag| flags & flag.number != 0);
    let rest = flags & !table.iter().fold(0, |known, flag| known | flag.number);
    let unnamed = (rest != 0).then(|| format!("{rest:#x}").into());
    set.map(|flag| flag.name.into()).chain(unnamed).collect()
}

/// Every flag of mount(2), mount_setattr(2) and umount2(2), in this order.
#[pyfunction]
pub fn mount_flags() -> Vec<MountFlag> {
    [&MS[..], &MOUNT_ATTR, &UMOUNT].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_one_bit_of_its_own_in_order() {
        for table in [&MS[..], &MOUNT_ATTR, &UMOUNT] {
            assert!(table.iter().all(|flag| flag.number.is_power_of_two()));
            assert!(table.is_sorted_by(|one, next| one.number < next.number));
        }
    }

    #[test]
    fn the_numbers_are_those_of_libc() {
        for (name, expected) in [
            ("MS_RDONLY", libc::MS_RDONLY),
            ("MS_SYNCHRONOUS", libc::MS_SYNCHRONOUS),
            ("MS_REMOUNT", libc::MS_REMOUNT),
            ("MS_MANDLOCK", libc::MS_MANDLOCK),
            ("MS_DIRSYNC", libc::MS_DIRSYNC),
            ("MS_NOATIME", libc::MS_NOATIME),
            ("MS_NODIRATIME", libc::MS_NODIRATIME),
            ("MS_BIND", libc::MS_BIND),
            ("MS_MOVE", libc::MS_MOVE),
            ("MS_REC", libc::MS_REC),
            ("MS_SILENT", libc::MS_SILENT),
            ("MS_UNBINDABLE", libc::MS_UNBINDABLE),
            ("MS_PRIVATE", libc::MS_PRIVATE),
            ("MS_SLAVE", libc::MS_SLAVE),
            ("MS_SHARED", libc::MS_SHARED),
            ("MS_RELATIME", libc::MS_RELATIME),
            ("MS_I_VERSION", libc::MS_I_VERSION),
            ("MS_STRICTATIME", libc::MS_STRICTATIME),
        ] {
            assert_eq!(number(&MS, name), expected, "{name}");
        }
        assert_eq!((MS_NOSUID, MS_NODEV, MS_NOEXEC), (libc::MS_NOSUID, libc::MS_NODEV, libc::MS_NOEXEC));
        assert_eq!(MOUNT_ATTR_RDONLY, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(number(&MOUNT_ATTR, "MOUNT_ATTR_NOSYMFOLLOW"), libc::MOUNT_ATTR_NOSYMFOLLOW);
        assert_eq!(number(&UMOUNT, "MNT_DETACH"), libc::MNT_DETACH as u64);
        assert_eq!(number(&UMOUNT, "UMOUNT_NOFOLLOW"), libc::UMOUNT_NOFOLLOW as u64);
    }

    #[test]
    fn every_bit_is_named() {
        assert!(names(0, &MS).is_empty());
        assert_eq!(names(MS_REC | MS_PRIVATE, &MS), ["MS_REC", "MS_PRIVATE"]);
        assert_eq!(names(0x1021, &MS), ["MS_RDONLY", "MS_REMOUNT", "MS_BIND"]);
        assert_eq!(names(1 << 40, &MS), ["0x10000000000"]);
        assert_eq!(names(1 << 40 | 2, &MOUNT_ATTR), ["MOUNT_ATTR_NOSUID", "0x10000000000"]);
        assert_eq!(names(0xa, &UMOUNT), ["MNT_DETACH", "UMOUNT_NOFOLLOW"]);
        for flag in MS {
            assert_eq!(names(flag.number, &MS), [flag.name]);
        }
    }
}
