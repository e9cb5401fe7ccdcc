//! Whatever /proc says, the parsers survive; and what they understand, they understand exactly.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::seeing::proc::parse::*;
use crate::seeing::proc::status::status;

const STAT: &[u8] = b"42 (a) R 1 (b) S 7 42 41 34816 43 4194560 1 2 3 4 50 60 7 8 20 -5 3 0 999 4096 12 184 0\n";
const STATUS: &[u8] =
    b"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nNSpid:\t42\t7\t1\nVmRSS:\t  12 kB\n\
CapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n";
const CGROUP: &[u8] = b"4:memory:/a\n0::/b:c\n";
const LINK: &[u8] = b"mnt:[4026531832]";

/// Feed something to everything. What comes out of bytes is never more than went in.
fn feed(bytes: &[u8]) {
    if let Some(stat) = stat(bytes) {
        assert!(stat.comm.len() < bytes.len());
    }
    assert!(status(bytes).pids.len() <= bytes.len());
    assert!(arguments(bytes).map(<[u8]>::len).sum::<usize>() <= bytes.len());
    assert!(entries(bytes).map(<[u8]>::len).sum::<usize>() <= bytes.len());
    assert!(comm(bytes).len() <= bytes.len());
    assert!(label(bytes).len() <= bytes.len());
    assert!(cgroup(bytes).is_none_or(|path| path.len() < bytes.len()));
    assert!(namespace_link(bytes).is_none_or(|(link, _)| link.len() < bytes.len()));
    assert!(pid(bytes).is_none_or(|pid| pid >= 0));
}

/// Bytes that a parser takes seriously: its own format, with something else in it.
fn nearly(valid: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let place = 0..valid.len();
    (place.clone(), place, vec(any::<u8>(), 0..6)).prop_map(move |(from, length, instead)| {
        let to = (from + length % 8).min(valid.len());
        [&valid[..from], &instead, &valid[to..]].concat()
    })
}

/// What could be in a file of /proc: separators, digits and signs far more often than by chance.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let likely = proptest::sample::select(b" \t\n:()[]0123456789-+/Uid\0\xff".to_vec());
    vec(prop_oneof![9 => likely, 1 => any::<u8>()], 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..400)) {
        feed(&bytes);
    }

    #[test]
    fn any_text(bytes in text()) {
        feed(&bytes);
    }

    #[test]
    fn nearly_right(bytes in prop_oneof![nearly(STAT), nearly(STATUS), nearly(CGROUP), nearly(LINK)]) {
        feed(&bytes);
    }

    #[test]
    fn any_name_and_numbers(
        name in vec(1..=255_u8, 0..64),
        ids in proptest::array::uniform4(any::<i32>()),
        ticks in any::<u64>(),
        pages in any::<i64>(),
        nice in -20..20,
    ) {
        let [ppid, pgid, sid, tpgid] = ids;
        let mut bytes = b"1 (".to_vec();
        bytes.extend_from_slice(&name);
        let rest = format!(") S {ppid} {pgid} {sid} 34816 {tpgid} 0 1 2 3 4 50 60 7 8 20 {nice} 3 0 {ticks} 4096 {pages}\n");
        bytes.extend_from_slice(rest.as_bytes());
        let stat = stat(&bytes).expect("well formed");
        prop_assert_eq!(stat.comm, name);
        prop_assert_eq!((stat.ppid, stat.pgid, stat.sid, stat.tpgid), (ppid, pgid, sid, tpgid));
        prop_assert_eq!((stat.start_ticks, stat.rss_pages, stat.nice), (ticks, pages, nice));
    }

    #[test]
    fn any_ids(uids in proptest::array::uniform4(any::<u32>()), pids in vec(1..i32::MAX, 1..33), sets in any::<u64>()) {
        let words = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\t");
        let inwards = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join("\t");
        let capabilities: String = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:\t{sets:016x}\n")).concat();
        let found = status(format!("Uid:\t{}\nNSpid:\t{inwards}\n{capabilities}", words(&uids)).as_bytes());
        prop_assert_eq!(found.uids, Some(uids));
        prop_assert_eq!(found.pids, pids);
        prop_assert_eq!(found.capabilities, Some([sets; 5]));
    }

    #[test]
    fn any_arguments(words in vec(vec(1..=255_u8, 0..20), 1..20)) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.iter().copied().chain([0])).collect();
        prop_assert_eq!(arguments(&bytes).collect::<Vec<_>>(), words);
    }

    #[test]
    fn any_directory(names in vec(vec(1..=255_u8, 1..40), 0..20)) {
        let mut buffer = Vec::new();
        for name in &names {
            let length = (19 + name.len() + 1).next_multiple_of(8);
            buffer.extend_from_slice(&[0; 16]);
            buffer.extend_from_slice(&u16::try_from(length).expect("short").to_ne_bytes());
            buffer.push(4);
            buffer.extend_from_slice(name);
            buffer.resize(buffer.len() + length - 19 - name.len(), 0);
        }
        prop_assert_eq!(entries(&buffer).collect::<Vec<_>>(), names);
    }
}
