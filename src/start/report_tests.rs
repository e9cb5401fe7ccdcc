//! Whatever comes over the connection, the caller parses it or skips it: it never panics, never waits, and keeps no
//! descriptor.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::OFlag;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::pipe2;
use nsbox_init::wire::{Plan, REPORT, Report};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::channel::connection::Connection;
use crate::channel::event::Event;
use crate::channel::report::receive;
use crate::channel::sockets::{pair, send};
use crate::pidfd;
use crate::plan::request::Request;
use crate::start::exit::Exit;

/// A report of a known kind with any numbers, or any bytes.
fn report() -> impl Strategy<Value = [u8; REPORT]> {
    let words = REPORT / 8;
    let likely = prop_oneof![Just(0), Just(1), Just(-1), Just(i64::MAX), Just(i64::MIN), -300..300_i64, any::<i64>()];
    (0..12_i64, vec(likely, words - 1)).prop_map(|(kind, numbers)| {
        let mut bytes = [0; REPORT];
        for (to, number) in bytes.chunks_exact_mut(8).zip(std::iter::once(kind).chain(numbers)) {
            to.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    })
}

/// Use everything that a report says as the caller does.
fn interpret(report: &Report) {
    let _ = format!("{:?}", Event::from_report(report));
    match report {
        Report::Exited { status, usage, .. } => {
            let exit = Exit::reported(*status, usage);
            assert!((-127..=255).contains(&exit.returncode), "{}", exit.returncode);
        }
        Report::Performed { data, .. } => assert!(data.bytes().len() <= REPORT),
        _ => {}
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/thread-self/fd").map_or(0, Iterator::count)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_report(bytes in report()) {
        if let Some(report) = Report::from_bytes(bytes) {
            interpret(&report);
            // What is read is what would be written.
            prop_assert_eq!(Report::from_bytes(report.to_bytes()), Some(report));
        }
    }

    #[test]
    fn any_plan(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(plan) = Plan::parse(&bytes) {
            prop_assert!(plan.ops().count() > 0);
        }
    }

    #[test]
    fn a_plan_that_is_nearly_right(
        tags in vec((0..60_u16, vec(any::<u8>(), 0..24)), 0..8),
        count in 0..9_u32,
        cut in 0..4_usize,
    ) {
        let mut bytes = vec![0; 8];
        for (tag, fields) in &tags {
            bytes.extend_from_slice(&tag.to_ne_bytes());
            bytes.extend_from_slice(&7_u16.to_ne_bytes());
            bytes.extend_from_slice(&(fields.len() as u32).to_ne_bytes());
            bytes.extend_from_slice(fields);
        }
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..8].copy_from_slice(&count.to_ne_bytes());
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        if let Ok(plan) = Plan::parse(&bytes) {
            prop_assert_eq!(plan.ops().count(), count as usize);
        }
    }
}

proptest! {
    // Each case makes sockets.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_messages(messages in vec((prop_oneof![
        4 => report().prop_map(|bytes| bytes.to_vec()),
        1 => vec(any::<u8>(), 0..600),
    ], any::<bool>()), 0..12)) {
        let (ours, theirs) = pair().expect("a socket pair");
        for (bytes, attach) in &messages {
            let (reader, _writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
            let fds = [reader.as_raw_fd()];
            let _ = send(&theirs, bytes, if *attach { &fds } else { &[] });
        }
        drop(theirs);
        let mut received = 0;
        let mut attached: Vec<OwnedFd> = Vec::new();
        while let Some(message) = receive(&ours).expect("a report, or the end") {
            interpret(&message.report);
            attached.extend(message.attached);
            received += 1;
        }
        prop_assert!(received <= messages.len());
        prop_assert!(attached.len() <= received);
    }
}

/// Receive one request, and return the socket for its replies.
fn request(socket: &OwnedFd) -> OwnedFd {
    let mut bytes = [0; 4096];
    let mut control = nix::cmsg_space!(libc::ucred, [RawFd; 4]);
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)
        .expect("a request");
    let fds: Vec<RawFd> = message
        .cmsgs()
        .expect("control messages")
        .filter_map(|control| if let ControlMessageOwned::ScmRights(fds) = control { Some(fds) } else { None })
        .flatten()
        .collect();
    // SAFETY: a new descriptor, which nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fds[0]) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_replies_to_a_request(replies in vec(report(), 0..12), events in vec(report(), 0..12)) {
        let (ours, theirs) = pair().expect("a socket pair");
        let own = std::process::id() as i32;
        let connection = Connection::new(pidfd::open(own).expect("a pidfd"), ours, own, true, None);
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                let reply = request(&theirs);
                for bytes in &events {
                    let _ = send(&theirs, bytes, &[]);
                }
                for bytes in &replies {
                    let _ = send(&reply, bytes, &[]);
                }
            });
            connection.carry_out(&Request::abort(1), || Ok(())).map(drop)
        });
        // Either the end of the reply came, or an error.
        let done = replies.iter().filter_map(|bytes| Report::from_bytes(*bytes)).any(|report| report == Report::Done);
        prop_assert!(result.is_err() || done);
        prop_assert!(connection.events().len() <= events.len());
    }
}

#[test]
fn descriptors_of_messages_that_are_no_reports_are_closed() {
    let (ours, theirs) = pair().expect("a socket pair");
    let (reader, _writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    let before = open_descriptors();
    for _ in 0..50 {
        send(&theirs, b"no report", &[reader.as_raw_fd()]).expect("sent");
        assert!(receive(&ours).expect("skipped").is_none());
    }
    // Other tests of this process open descriptors, too, but not fifty.
    assert!(open_descriptors() < before + 40);
}
