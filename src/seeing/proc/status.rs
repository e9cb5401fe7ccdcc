//! The fields of /proc/PID/status that are used (proc_pid_status(5)).

use crate::seeing::proc::parse::{number, words};

/// What a process is and may do. A field that is not there, or not as expected, is unknown.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Status {
    /// Real, effective, saved and file system user.
    pub uids: Option<[u32; 4]>,
    /// Real, effective, saved and file system group.
    pub gids: Option<[u32; 4]>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The PID in every PID namespace from that of this proc inwards; empty before Linux 4.1.
    pub pids: Vec<i32>,
    /// Kibibytes in memory. Exact, where that of stat leaves out what the CPUs have not added up yet.
    pub rss_kib: Option<u64>,
    /// Kibibytes that are locked into memory.
    pub locked_kib: Option<u64>,
    /// Inheritable, permitted, effective, bounding and ambient capabilities.
    pub capabilities: Option<[u64; 5]>,
    /// PR_SET_NO_NEW_PRIVS(2const); since Linux 4.10.
    pub no_new_privs: Option<bool>,
    /// 0 without seccomp, 1 in strict and 2 in filter mode.
    pub seccomp: Option<u8>,
}

/// Parse it. A newline in the name is escaped there, so that no name can pass for another line.
pub fn status(bytes: &[u8]) -> Status {
    let mut found = Status::default();
    let mut capabilities = [None; 5];
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, rest) = (&line[..colon], &line[colon + 1..]);
        let one = || words(rest).next().and_then(number);
        match name {
            b"Uid" => found.uids = four(rest),
            b"Gid" => found.gids = four(rest),
            b"Groups" => found.groups = words(rest).map_while(number).collect(),
            b"NSpid" => found.pids = words(rest).map_while(number).collect(),
            b"VmLck" => found.locked_kib = one(),
            b"VmRSS" => found.rss_kib = one(),
            b"CapInh" => capabilities[0] = hexadecimal(rest),
            b"CapPrm" => capabilities[1] = hexadecimal(rest),
            b"CapEff" => capabilities[2] = hexadecimal(rest),
            b"CapBnd" => capabilities[3] = hexadecimal(rest),
            b"CapAmb" => capabilities[4] = hexadecimal(rest),
            b"NoNewPrivs" => found.no_new_privs = one().map(|set| set != 0),
            b"Seccomp" => {
                found.seccomp = one().and_then(|mode| mode.try_into().ok());
                // It comes after the others, and what follows is long.
                break;
            }
            _ => {}
        }
    }
    if let [Some(inheritable), Some(permitted), Some(effective), Some(bounding), Some(ambient)] = capabilities {
        found.capabilities = Some([inheritable, permitted, effective, bounding, ambient]);
    }
    found
}

fn four(bytes: &[u8]) -> Option<[u32; 4]> {
    let mut numbers = words(bytes).map_while(number);
    Some([numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?])
}

fn hexadecimal(bytes: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(words(bytes).next()?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"Name:\ta\\nNSpid:\t9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nNSpid:\t42\t7\t1\n\
NSpgid:\t42\nVmLck:\t 4 kB\nVmRSS:\t  12 kB\nCapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\n\
CapEff:\t0000000000000003\nCapBnd:\t0000000000000004\nCapAmb:\t0000000000000005\nNoNewPrivs:\t1\nSeccomp:\t2\n\
Uid:\t9\t9\t9\t9\n";

    #[test]
    fn every_field() {
        let expected = Status {
            uids: Some([1, 2, 3, 4]),
            gids: Some([5, 6, 7, 8]),
            groups: vec![9, 10],
            pids: vec![42, 7, 1],
            rss_kib: Some(12),
            locked_kib: Some(4),
            capabilities: Some([1, 0x1ff_ffff_ffff, 3, 4, 5]),
            no_new_privs: Some(true),
            seccomp: Some(2),
        };
        assert_eq!(status(TEXT), expected);
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        assert_eq!(status(b"Uid:\t1\t2\nCapInh:\tx\nCapPrm:\t1\nSeccomp:\t999\nno colon\n"), Status::default());
        assert_eq!(status(b""), Status::default());
        for end in 0..TEXT.len() {
            status(&TEXT[..end]);
        }
    }
}
