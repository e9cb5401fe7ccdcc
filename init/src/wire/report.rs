//! Reports, and the single bytes that go the other way.

use super::MAGIC;

/// What nsbox-init tells the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ReportKind {
    /// The plan was refused: `errno` is a [`Fault`], `value` the offset.
    Refused = 1,
    /// The user namespace exists and waits for its maps.
    MapsWanted = 2,
    /// Step `step` failed with `errno`; `value` tells more where one number can.
    Failed = 3,
    /// The payload runs: `value` is its PID as nsbox-init sees it. A pidfd of it is attached.
    Started = 4,
    /// The payload ended: `value` is its wait status, `rusage` what it and its reaped children used.
    Exited = 5,
    /// Sent by the payload's process as its first act: the kernel attaches its PID, translated for the receiver
    /// (unix(7), SCM_CREDENTIALS). Nothing else tells an outer PID without /proc and without a race. `value` is its PID
    /// in its own namespace.
    Forked = 6,
    /// An operation of a box was carried out: `value` is the time it took, in nanoseconds. `Open`, `Detached` and
    /// `Socket` attach a descriptor; `Read` puts bytes into `rusage` and their number into `errno`.
    Performed = 7,
    /// All operations of a request, or of a box's plan, were carried out.
    Done = 8,
    /// Something happened in a box: `step` is an [`Event`], `value` a PID in it, `errno` a wait status or a signal.
    /// `rusage` begins with the time (CLOCK_MONOTONIC, in nanoseconds) and a number that counts the events.
    Happened = 9,
}

/// What happens in a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// A process was started on request.
    Started = 1,
    /// A process that was started on request ended, and was reaped.
    Exited = 2,
    /// An orphan that init had adopted ended, and was reaped.
    Reaped = 3,
    /// init got a signal.
    Signalled = 4,
}

/// Which part of a mount went wrong: the `value` of a [`ReportKind::Failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum MountPart {
    /// Finding or copying the source.
    Source = 1,
    /// Setting attributes.
    Attributes = 2,
    /// Finding the target.
    Target = 3,
    /// An option of a file system.
    Options = 4,
    /// The file system itself.
    FileSystem = 5,
    /// Mounting it there.
    Attach = 6,
    /// Unmounting what was there before.
    Detach = 7,
}

impl MountPart {
    /// Every part, with the words for it.
    pub const ALL: [(MountPart, &str); 7] = [
        (MountPart::Source, "looking up the source"),
        (MountPart::Attributes, "setting its attributes"),
        (MountPart::Target, "looking up the target"),
        (MountPart::Options, "an option"),
        (MountPart::FileSystem, "making the file system"),
        (MountPart::Attach, "mounting it there"),
        (MountPart::Detach, "letting go of the old root"),
    ];
}

/// One fixed-size record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Report {
    /// [`MAGIC`].
    pub magic: u32,
    /// A [`ReportKind`].
    pub kind: u32,
    /// The step, where there is one.
    pub step: u32,
    /// The error number, or a [`Fault`].
    pub errno: i32,
    /// Depends on the kind.
    pub value: i64,
    /// The kernel's `struct rusage`: two timevals and fourteen longs (getrusage(2)).
    pub rusage: [i64; 18],
}

/// The size of a [`Report`] on the wire.
pub const REPORT: usize = size_of::<Report>();

impl Report {
    /// A record of this kind with all else zero.
    pub fn new(kind: ReportKind) -> Self {
        Report { magic: MAGIC, kind: kind as u32, step: 0, errno: 0, value: 0, rusage: [0; 18] }
    }

    /// Room for bytes, where there is no resource usage.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: plain integers, of which any bytes are valid ones.
        unsafe { core::slice::from_raw_parts_mut(self.rusage.as_mut_ptr().cast(), size_of_val(&self.rusage)) }
    }

    /// The first bytes of that room, as many as `errno` says.
    pub fn bytes(&self) -> &[u8] {
        let length = usize::try_from(self.errno).unwrap_or(0).min(size_of_val(&self.rusage));
        // SAFETY: plain integers, and not more than there are.
        unsafe { core::slice::from_raw_parts(self.rusage.as_ptr().cast(), length) }
    }

    /// The record as bytes.
    pub fn to_bytes(self) -> [u8; REPORT] {
        // SAFETY: `Report` is `repr(C)`, without padding (4 * 4 + 8 + 18 * 8 bytes), and made of plain integers.
        unsafe { core::mem::transmute(self) }
    }

    /// The record in `bytes`, when they are one.
    pub fn from_bytes(bytes: [u8; REPORT]) -> Option<(ReportKind, Self)> {
        // SAFETY: any bit pattern is a valid `Report`, which is plain integers without padding.
        let report: Report = unsafe { core::mem::transmute(bytes) };
        let kind = match report.kind {
            1 => ReportKind::Refused,
            2 => ReportKind::MapsWanted,
            3 => ReportKind::Failed,
            4 => ReportKind::Started,
            5 => ReportKind::Exited,
            6 => ReportKind::Forked,
            7 => ReportKind::Performed,
            8 => ReportKind::Done,
            9 => ReportKind::Happened,
            _ => return None,
        };
        (report.magic == MAGIC).then_some((kind, report))
    }
}

/// The one byte by which the caller says that the maps are written. Any other says that it gives up.
pub const GO: u8 = b'g';

/// The byte by which the caller gives up.
pub const END: u8 = b'x';

/// The byte that says that a request is in a file: the second descriptor that comes with it.
pub const FILED: u8 = b'f';

/// The kernel passes this many descriptors with one message (unix(7), SCM_MAX_FD).
pub const MOST_DESCRIPTORS: usize = 253;
