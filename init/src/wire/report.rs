//! Reports, and the single bytes that the caller sends.

use crate::wire::fields::{Fault, Malformed};

/// A step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Its number.
    pub step: u32,
    /// The error number (errno(3)), or the negative number of the signal that ended the process in this step.
    pub errno: i32,
    /// More about it, where one number can say it: a descriptor, a [`MountPart`], or another part of the step.
    pub value: i64,
}

/// Resource usage: the kernel's `struct rusage`, two timevals and fourteen longs (getrusage(2)).
pub type Usage = [i64; 18];

/// What nsbox-init sends to the caller. All reports have the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The plan was refused.
    Refused(Malformed),
    /// The user namespace exists, and its first process, which is the sender, waits for its maps.
    MapsWanted,
    /// A step failed.
    Failed(Failure),
    /// The payload runs. A pidfd of it is attached.
    Started {
        /// Its PID as nsbox-init sees it.
        pid: i32,
    },
    /// The payload ended.
    Exited {
        /// Its wait status (wait(2)).
        status: i32,
        /// What it and its reaped children used.
        usage: Usage,
        /// Whether other processes are left that end with nsbox-init.
        left: bool,
    },
    /// Sent by the payload's process as its first act: the kernel attaches its PID, translated for the receiver
    /// (unix(7), SCM_CREDENTIALS). Without /proc there is no other way to get an outer PID that is free of races.
    Forked {
        /// Its PID in its own namespace.
        pid: i32,
    },
    /// An operation of a box was carried out. `Copy`, `OpenProc`, `SendTree`, `OpenOwn`, `Detached` and `Socket` attach a
    /// descriptor.
    Performed {
        /// The step.
        step: u32,
        /// How long it took.
        nanoseconds: i64,
        /// What `Read` has read, or `OpenProc` has found.
        data: Data,
    },
    /// All operations of a request, or of a box's plan, were carried out.
    Done,
    /// Something happened in a box.
    Happened {
        /// What.
        event: Event,
        /// The PID of a process in the box; 0 for a signal.
        pid: i32,
        /// A wait status, or the number of a signal.
        status: i32,
        /// CLOCK_MONOTONIC, in nanoseconds.
        time: i64,
        /// The number of the event, counted from 0.
        number: i64,
    },
    /// The directory in memory to which a new root is written is attached.
    Layer,
}

/// A few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    length: i64,
    words: Usage,
}

impl Data {
    /// No bytes.
    pub const NONE: Data = Data { length: 0, words: [0; 18] };

    /// Fill it by `read`, which returns how many bytes it has written.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E>(read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Data, E> {
        let mut words = Self::NONE.words;
        // SAFETY: plain integers, of which any bytes are valid ones.
        let room = unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(&words)) };
        let length = read(room)? as i64;
        Ok(Data { length, words })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        let length = usize::try_from(self.length).unwrap_or(0).min(size_of_val(&self.words));
        // SAFETY: plain integers, and not more bytes than there are.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast(), length) }
    }
}

/// What happens in a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
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

impl Event {
    const ALL: [Event; 4] = [Event::Started, Event::Exited, Event::Reaped, Event::Signalled];
}

/// Which part of a mount failed: the `value` of a [`Failure`].
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
    /// Every part, with a text for it.
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

/// A report as numbers: its kind, up to five numbers, and a [`Usage`] or the words of a [`Data`].
type Words = [i64; 6 + 18];

/// Size of a [`Report`] on the wire, in bytes.
pub const REPORT: usize = size_of::<Words>();

impl Report {
    /// The report as bytes.
    pub fn to_bytes(&self) -> [u8; REPORT] {
        let (kind, numbers, long) = match *self {
            Report::Refused(Malformed { fault, offset }) => (1, [fault as i64, offset as i64, 0, 0, 0], [0; 18]),
            Report::MapsWanted => (2, [0; 5], [0; 18]),
            Report::Failed(Failure { step, errno, value }) => (3, [step.into(), errno.into(), value, 0, 0], [0; 18]),
            Report::Started { pid } => (4, [pid.into(), 0, 0, 0, 0], [0; 18]),
            Report::Exited { status, usage, left } => (5, [status.into(), left.into(), 0, 0, 0], usage),
            Report::Forked { pid } => (6, [pid.into(), 0, 0, 0, 0], [0; 18]),
            Report::Performed { step, nanoseconds, data } => {
                (7, [step.into(), nanoseconds, data.length, 0, 0], data.words)
            }
            Report::Done => (8, [0; 5], [0; 18]),
            Report::Happened { event, pid, status, time, number } => {
                (9, [event as i64, pid.into(), status.into(), time, number], [0; 18])
            }
            Report::Layer => (100, [0; 5], [0; 18]),
        };
        let mut words: Words = [0; 6 + 18];
        words[0] = kind;
        words[1..6].copy_from_slice(&numbers);
        words[6..].copy_from_slice(&long);
        // SAFETY: plain integers.
        unsafe { core::mem::transmute(words) }
    }

    /// The report in `bytes`, if they are one.
    pub fn from_bytes(bytes: [u8; REPORT]) -> Option<Self> {
        // SAFETY: plain integers, for which any bytes are valid ones.
        let words: Words = unsafe { core::mem::transmute(bytes) };
        let [kind, first, second, third, fourth, fifth, long @ ..] = words;
        Some(match kind {
            1 => {
                let fault = Fault::ALL.into_iter().find(|fault| *fault as i64 == first)?;
                Report::Refused(Malformed { fault, offset: second as usize })
            }
            2 => Report::MapsWanted,
            3 => Report::Failed(Failure { step: first as u32, errno: second as i32, value: third }),
            4 => Report::Started { pid: first as i32 },
            5 => Report::Exited { status: first as i32, usage: long, left: second != 0 },
            6 => Report::Forked { pid: first as i32 },
            7 => {
                Report::Performed { step: first as u32, nanoseconds: second, data: Data { length: third, words: long } }
            }
            8 => Report::Done,
            9 => {
                let event = Event::ALL.into_iter().find(|event| *event as i64 == first)?;
                Report::Happened { event, pid: second as i32, status: third as i32, time: fourth, number: fifth }
            }
            100 => Report::Layer,
            _ => return None,
        })
    }
}

/// The byte by which the caller says that the maps are written.
pub const GO: u8 = b'g';
/// The byte by which the caller ends everything.
pub const END: u8 = b'x';
/// The byte by which the caller asks for the namespaces of nsbox-init. A socket for the replies comes with it: a
/// [`Report::Performed`] for nsbox-init, and one for each process that waits above it, with an id for each kind; then
/// [`Report::Done`].
pub const NAMESPACES: u8 = b'n';
/// The byte that says that a plan is in a file, which comes with this message: for a request after the socket for the
/// replies. From a caller that starts nsbox-init, the lifeline comes with it, and the file with the next message.
pub const FILED: u8 = b'f';

/// Number of descriptors that the kernel passes with one message (unix(7), SCM_MAX_FD).
pub const MAX_DESCRIPTORS: usize = 253;
