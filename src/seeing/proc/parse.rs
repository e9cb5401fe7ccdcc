//! Parsers of the files of /proc/PID: pure functions over bytes, which accept any input and never panic.

/// The fields of /proc/PID/stat that are used (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The name: any bytes, parentheses, blanks and newlines included.
    pub comm: Vec<u8>,
    /// One letter.
    pub state: u8,
    /// The parent, 0 if it is outside of this PID namespace.
    pub ppid: i32,
    /// The process group.
    pub pgid: i32,
    /// The session.
    pub sid: i32,
    /// The controlling terminal as a device number, 0 without one.
    pub tty_nr: i32,
    /// The foreground process group of that terminal, -1 without one.
    pub tpgid: i32,
    /// PF_* of the kernel.
    pub flags: u32,
    /// Clock ticks in user mode.
    pub utime: u64,
    /// Clock ticks in kernel mode.
    pub stime: u64,
    /// From -20 to 19.
    pub nice: i32,
    /// How many threads there are.
    pub threads: u32,
    /// Clock ticks from boot to start.
    pub start_ticks: u64,
    /// Bytes of virtual memory.
    pub vsize: u64,
    /// Pages in memory.
    pub rss_pages: i64,
}

/// Parse /proc/PID/stat; nothing if it is not one.
///
/// The name ends at the *last* parenthesis: a process can call itself `) R 1 (` (PR_SET_NAME(2const)).
pub fn stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|&byte| byte == b'(')?;
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let comm = bytes.get(open + 1..close)?;
    let mut fields = words(bytes.get(close + 1..)?);
    let state = *fields.next()?.first()?;
    let mut next = || fields.next();
    let [ppid, pgid, sid, tty_nr, tpgid] =
        [number(next()?)?, number(next()?)?, number(next()?)?, number(next()?)?, number(next()?)?];
    let flags = number(next()?)?;
    // minflt cminflt majflt cmajflt
    for _ in 0..4 {
        next()?;
    }
    let (utime, stime) = (number(next()?)?, number(next()?)?);
    // cutime cstime priority
    for _ in 0..3 {
        next()?;
    }
    let (nice, threads) = (number(next()?)?, number(next()?)?);
    // itrealvalue
    next()?;
    let (start_ticks, vsize, rss_pages) = (number(next()?)?, number(next()?)?, number(next()?)?);
    Some(Stat {
        comm: comm.to_vec(),
        state,
        ppid,
        pgid,
        sid,
        tty_nr,
        tpgid,
        flags,
        utime,
        stime,
        nice,
        threads,
        start_ticks,
        vsize,
        rss_pages,
    })
}

/// The arguments in /proc/PID/cmdline: each ends with a NUL; kernel threads and zombies have none.
pub fn arguments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = bytes.len() - usize::from(bytes.ends_with(b"\0"));
    let words = (!bytes.is_empty()).then(|| bytes[..end].split(|&byte| byte == 0));
    words.into_iter().flatten()
}

/// Parse the target of a link to a namespace, as `mnt:[4026531832]` (namespaces(7)): the kind's link and the inode.
pub fn namespace_link(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let colon = bytes.windows(2).position(|pair| pair == b":[")?;
    Some((&bytes[..colon], number(bytes.get(colon + 2..)?.strip_suffix(b"]")?)?))
}

/// Parse the target of a link to a socket, as `socket:[4711]` (proc_pid_fd(5)): its inode.
pub fn socket_link(bytes: &[u8]) -> Option<u64> {
    number(bytes.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

/// The label in /proc/PID/attr/current, whose end depends on the security module.
pub fn label(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | 0)).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// The path in /proc/PID/cgroup of the unified hierarchy, else of the first one listed (cgroups(7)).
pub fn cgroup(bytes: &[u8]) -> Option<&[u8]> {
    let path = |line: &'_ [u8]| line.iter().enumerate().filter(|(_, byte)| **byte == b':').nth(1).map(|(at, _)| at + 1);
    let lines = || bytes.split(|&byte| byte == b'\n').filter(|line| path(line).is_some());
    let line = lines().find(|line| line.starts_with(b"0::")).or_else(|| lines().next())?;
    line.get(path(line)?..)
}

/// Parse /proc/PID/task/TID/comm: the name and a newline, which may not be the only one.
pub fn comm(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

/// The PID that a directory in /proc is named after, if it is the directory of a process.
pub fn pid(name: &[u8]) -> Option<i32> {
    if name.first().is_some_and(u8::is_ascii_digit) { number(name) } else { None }
}

/// The names in a buffer filled by getdents64(2).
pub fn entries(mut buffer: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// Where `d_reclen` and `d_name` are in `struct linux_dirent64`.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*buffer.get(LENGTH)?, *buffer.get(LENGTH + 1)?]));
        let name = buffer.get(NAME..length)?;
        buffer = buffer.get(length..)?;
        name.split(|&byte| byte == 0).next()
    })
}

/// The words between blanks.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A number in digits.
pub fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"42 (a) R 1 (b) S 7 42 41 34816 43 4194560 1 2 3 4 50 60 7 8 20 -5 3 0 999 4096 12 184 0\n";

    #[test]
    fn the_name_ends_at_the_last_parenthesis() {
        let stat = stat(STAT).expect("well formed");
        assert_eq!(stat.comm, b"a) R 1 (b");
        assert_eq!((stat.state, stat.ppid, stat.pgid, stat.sid, stat.tty_nr), (b'S', 7, 42, 41, 34816));
        assert_eq!((stat.tpgid, stat.flags, stat.utime, stat.stime), (43, 4_194_560, 50, 60));
        assert_eq!((stat.nice, stat.threads, stat.start_ticks, stat.vsize, stat.rss_pages), (-5, 3, 999, 4096, 12));
    }

    #[test]
    fn a_truncated_stat_is_none() {
        // Up to the byte before rss, every prefix lacks a field.
        let complete = STAT.len() - b" 184 0\n".len();
        for end in 0..complete - 2 {
            assert_eq!(stat(&STAT[..end]), None, "{end}");
        }
        assert!(stat(&STAT[..complete]).is_some());
    }

    #[test]
    fn parentheses_in_the_wrong_order_are_none() {
        assert_eq!(stat(b"1 )("), None);
        assert_eq!(stat(b"1 )"), None);
        assert_eq!(stat(b"("), None);
    }

    #[test]
    fn numbers_that_do_not_fit_are_none() {
        let text = String::from_utf8_lossy(STAT).replace(" 999 ", " 99999999999999999999 ");
        assert_eq!(stat(text.as_bytes()), None);
    }

    #[test]
    fn cmdline_is_exact() {
        let cmdline = |bytes| arguments(bytes).collect::<Vec<_>>();
        assert!(cmdline(b"").is_empty());
        assert_eq!(cmdline(b"a\0\0b\xff\0"), [&b"a"[..], b"", b"b\xff"]);
        assert_eq!(cmdline(b"title without end"), [b"title without end"]);
        assert_eq!(cmdline(b"\0"), [b""]);
    }

    #[test]
    fn links_are_inode_numbers() {
        assert_eq!(namespace_link(b"mnt:[4026531832]"), Some((&b"mnt"[..], 4_026_531_832)));
        for bad in [&b""[..], b"mnt", b"mnt:[", b"mnt:[]", b"mnt:[x]", b"mnt:[1", b":[99999999999999999999]"] {
            assert_eq!(namespace_link(bad), None);
        }
    }

    #[test]
    fn the_unified_hierarchy_comes_first() {
        assert_eq!(cgroup(b"4:memory:/a\n0::/b:c\n"), Some(&b"/b:c"[..]));
        assert_eq!(cgroup(b"4:cpu,cpuacct:/a\n3:pids:/b\n"), Some(&b"/a"[..]));
        for bad in [&b""[..], b"\n", b"0:", b"0"] {
            assert_eq!(cgroup(bad), None);
        }
    }

    #[test]
    fn only_numbers_are_processes() {
        assert_eq!(pid(b"123"), Some(123));
        for other in [&b"self"[..], b"", b"12a", b"-1", b"+1", b"99999999999"] {
            assert_eq!(pid(other), None);
        }
    }

    #[test]
    fn directory_entries_end_with_the_buffer() {
        let mut buffer = vec![0; 24];
        buffer[16] = 24;
        buffer[19..21].copy_from_slice(b"42");
        assert_eq!(entries(&buffer).collect::<Vec<_>>(), [b"42"]);
        assert_eq!(entries(&buffer[..23]).count(), 0);
        // A length that would never get anywhere.
        assert_eq!(entries(&[0; 64]).count(), 0);
    }
}
