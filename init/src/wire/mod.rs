//! The wire format between the extension and `nsbox-init`: plan down, reports up.
//!
//! It never allocates. A plan is a header and a list of operations; every byte after the header is covered by a checksum,
//! and [`Plan::parse`] validates all of it before the first operation is carried out, so that a truncated or
//! corrupted plan is refused whole.
//!
//! Numbers are in the machine's own byte order: both ends always run on the same kernel.

/// First word of every plan and every report ("nsbx").
pub const MAGIC: u32 = u32::from_ne_bytes(*b"nsbx");
/// Raised whenever the meaning of a byte changes. Both ends are built together, so a difference is a bug.
pub const VERSION: u16 = 1;

const HEADER: usize = 24;

/// Where the encoder puts its bytes.
pub trait Sink {
    /// Append `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

/// Why a plan is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Fault {
    /// Shorter than its header, or than the length the header states.
    Truncated = 1,
    /// Not a plan at all.
    Magic = 2,
    /// Made for another version of nsbox-init.
    Version = 3,
    /// The checksum does not match.
    Checksum = 4,
    /// An operation this init does not know.
    Operation = 5,
    /// A field is malformed: a string without its NUL, a list that does not end where it should.
    Field = 6,
    /// The operations do not form a plan; see [`Shape`].
    Order = 7,
}

impl Fault {
    /// Every fault, for turning a number from a report back into one.
    pub const ALL: [Fault; 7] =
        [Fault::Truncated, Fault::Magic, Fault::Version, Fault::Checksum, Fault::Operation, Fault::Field, Fault::Order];
}

/// A [`Fault`] and the offset in the plan at which it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// The offset of the offending byte.
    pub offset: usize,
}

/// A C string: bytes ending in their only NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<S>(pub S);

/// A C string, or none (a NULL pointer): the empty slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaybeText<S>(pub S);

/// Any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob<S>(pub S);

/// `count` C strings, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts<S> {
    /// How many strings there are.
    pub count: u32,
    /// The strings, each with its NUL.
    pub joined: S,
}

/// 32-bit numbers, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers<S>(pub S);

impl<S: AsRef<[u8]>> Numbers<S> {
    /// The numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.as_ref().chunks_exact(4).map(|four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
    }
}

impl<S: AsRef<[u8]>> Texts<S> {
    /// The strings, in order, each with its NUL.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.joined.as_ref().split_inclusive(|&byte| byte == 0)
    }
}

/// A field that can be appended to a plan.
trait Put {
    fn put(&self, out: &mut impl Sink);
}

/// A field that can be read back.
trait Take<'a>: Sized {
    fn take(from: &mut Reader<'a>) -> Result<Self, Malformed>;
}

struct Reader<'a> {
    all: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, fault: Fault) -> Result<T, Malformed> {
        Err(Malformed { fault, offset: self.at })
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        match self.at.checked_add(length) {
            Some(end) if end <= self.end => {
                let bytes = &self.all[self.at..end];
                self.at = end;
                Ok(bytes)
            }
            _ => self.fail(Fault::Truncated),
        }
    }
}

macro_rules! number_fields {
    ($($number:ty),*) => {$(
        impl Put for $number {
            fn put(&self, out: &mut impl Sink) {
                out.put(&self.to_ne_bytes());
            }
        }
        impl Take<'_> for $number {
            fn take(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                let mut number = [0; size_of::<$number>()];
                number.copy_from_slice(from.bytes(size_of::<$number>())?);
                Ok(<$number>::from_ne_bytes(number))
            }
        }
    )*};
}
number_fields!(u16, u32, i32, u64);

impl Put for [i32; 3] {
    fn put(&self, out: &mut impl Sink) {
        self.iter().for_each(|number| number.put(out));
    }
}

impl Take<'_> for [i32; 3] {
    fn take(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok([i32::take(from)?, i32::take(from)?, i32::take(from)?])
    }
}

fn put_slice(bytes: &[u8], out: &mut impl Sink) {
    (bytes.len() as u32).put(out);
    out.put(bytes);
}

fn take_slice<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = u32::take(from)?;
    from.bytes(length as usize)
}

/// How many strings `bytes` holds when it is a sequence of C strings.
fn count_texts(bytes: &[u8]) -> Option<usize> {
    match bytes.last() {
        None => Some(0),
        Some(0) => Some(bytes.iter().filter(|&&byte| byte == 0).count()),
        Some(_) => None,
    }
}

impl<S: AsRef<[u8]>> Put for Blob<S> {
    fn put(&self, out: &mut impl Sink) {
        put_slice(self.0.as_ref(), out);
    }
}

impl<'a> Take<'a> for Blob<&'a [u8]> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        take_slice(from).map(Blob)
    }
}

impl<S: AsRef<[u8]>> Put for Text<S> {
    fn put(&self, out: &mut impl Sink) {
        put_slice(self.0.as_ref(), out);
    }
}

impl<'a> Take<'a> for Text<&'a [u8]> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let bytes = take_slice(from)?;
        if count_texts(bytes) == Some(1) { Ok(Text(bytes)) } else { from.fail(Fault::Field) }
    }
}

impl<S: AsRef<[u8]>> Put for MaybeText<S> {
    fn put(&self, out: &mut impl Sink) {
        put_slice(self.0.as_ref(), out);
    }
}

impl<'a> Take<'a> for MaybeText<&'a [u8]> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let bytes = take_slice(from)?;
        if matches!(count_texts(bytes), Some(0 | 1)) { Ok(MaybeText(bytes)) } else { from.fail(Fault::Field) }
    }
}

impl<S: AsRef<[u8]>> Put for Texts<S> {
    fn put(&self, out: &mut impl Sink) {
        self.count.put(out);
        put_slice(self.joined.as_ref(), out);
    }
}

impl<'a> Take<'a> for Texts<&'a [u8]> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = u32::take(from)?;
        let joined = take_slice(from)?;
        if count_texts(joined) == Some(count as usize) { Ok(Texts { count, joined }) } else { from.fail(Fault::Field) }
    }
}

impl<S: AsRef<[u8]>> Put for Numbers<S> {
    fn put(&self, out: &mut impl Sink) {
        put_slice(self.0.as_ref(), out);
    }
}

impl<'a> Take<'a> for Numbers<&'a [u8]> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let bytes = take_slice(from)?;
        if bytes.len().is_multiple_of(4) { Ok(Numbers(bytes)) } else { from.fail(Fault::Field) }
    }
}

/// Declares the operations once: the enum, its encoder and its decoder all come from this table.
macro_rules! operations {
    ($($(#[$doc:meta])* $tag:literal $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),* $(,)? })*) => {
        /// One thing nsbox-init does. `S` holds the bytes: owned in a plan, borrowed in init.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Op<S> {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $kind),* },)*
        }

        impl<S: AsRef<[u8]>> Op<S> {
            fn tag(&self) -> u16 {
                match self { $(Op::$name { .. } => $tag,)* }
            }

            fn put_fields(&self, out: &mut impl Sink) {
                match self { $(Op::$name { $($field),* } => { $($field.put(out);)* let _ = out; })* }
            }
        }

        impl<'a> Op<&'a [u8]> {
            fn take(tag: u16, from: &mut Reader<'a>) -> Result<Self, Malformed> {
                match tag {
                    $($tag => Ok(Op::$name { $($field: Take::take(from)?),* }),)*
                    _ => from.fail(Fault::Operation),
                }
            }
        }
    };
}

operations! {
    /// unshare(2), for what clone could not or should not do.
    1 Unshare { /** CLONE_NEW* */ flags: u64 }
    /// Tell the caller that the user namespace exists, and wait until it has written the maps.
    2 AwaitMaps {}
    /// Write `data` to the file at `path` in a single write(2).
    3 Write { /** where */ path: Text<S>, /** what */ data: Blob<S> }
    /// mount(2).
    4 Mount {
        /** the source argument */ source: MaybeText<S>,
        /** the target argument */ target: Text<S>,
        /** the type argument */ fstype: MaybeText<S>,
        /** MS_* */ flags: u64,
    }
    /// sethostname(2).
    5 SetHostname { /** the name */ name: Blob<S> }
    /// setdomainname(2).
    6 SetDomainname { /** the name */ name: Blob<S> }
    /// Bring the loopback interface up.
    7 LoopbackUp {}
    /// Split: what follows is done by a child, which becomes the payload; init stays behind and supervises.
    8 Fork {
        /** CLONE_NEW* for the child */ flags: u64,
        /** whether the caller wants to hear of failures and of the end alone */ quiet: u32,
    }
    /// setsid(2).
    9 Setsid {}
    /// setpgid(2) of the payload itself.
    10 Setpgid { /** the group, 0 for one of its own */ group: i32 }
    /// Make standard input the controlling terminal (TIOCSCTTY).
    11 ControllingTerminal {}
    /// Lay out the file descriptors.
    12 Descriptors {
        /** what becomes 0, 1, 2; -1 leaves that one as it is */ stdio: [i32; 3],
        /** descriptors kept under their own number */ pass: Numbers<S>,
        /** whether all others are closed */ close: u32,
    }
    /// chdir(2).
    13 Chdir { /** where to */ path: Text<S> }
    /// umask(2).
    14 Umask { /** the mask */ mask: u32 }
    /// setgroups(2).
    15 Setgroups { /** supplementary group ids */ groups: Numbers<S> }
    /// setresgid(2), all three.
    16 Setgid { /** the group id */ id: u32 }
    /// setresuid(2), all three.
    17 Setuid { /** the user id */ id: u32, /** whether permitted capabilities are kept */ keep_caps: u32 }
    /// Lower the ambient and inheritable capability sets to these masks.
    18 Capabilities { /** inheritable */ inheritable: u64, /** ambient */ ambient: u64 }
    /// prctl(PR_SET_NO_NEW_PRIVS).
    19 NoNewPrivs {}
    /// Signals as the caller had them.
    20 Signals { /** blocked */ mask: u64, /** reset from ignored to default */ reset: u64 }
    /// execve(2): the first of `paths` that can be executed.
    21 Exec { /** candidates */ paths: Texts<S>, /** argv */ argv: Texts<S>, /** envp */ envp: Texts<S> }
    /// Make a directory a mount of its own and the working directory, for [`Op::PivotRoot`].
    30 NewRoot { /** the directory */ path: Text<S> }
    /// Mount on `target` what is at `source` (open_tree(2), move_mount(2)).
    31 Bind {
        /** what is mounted */ source: Text<S>,
        /** where */ target: Text<S>,
        /** whether that is looked up in the new root */ inside: u32,
        /** whether the mounts below come along */ recursive: u32,
        /** MOUNT_ATTR_*, set on all of them */ attributes: u64,
    }
    /// Make a file system (fsopen(2)) and mount it on `target`.
    32 NewMount {
        /** its type */ fstype: Text<S>,
        /** names and values of its options, in turn; no value makes a flag */ options: Texts<S>,
        /** MOUNT_ATTR_* */ attributes: u64,
        /** where */ target: Text<S>,
        /** whether that is looked up in the new root */ inside: u32,
    }
    /// Make the working directory the root, and unmount the old one (pivot_root(2)).
    33 PivotRoot {}
    /// prlimit(2) of the payload itself.
    34 Rlimit { /** RLIMIT_* */ resource: u32, /** the soft limit */ soft: u64, /** the hard limit */ hard: u64 }
    /// There is a cgroup for what will be started. init removes it before it ends.
    35 Cgroup {
        /** a descriptor of the directory above */ parent: i32,
        /** a descriptor of its cgroup.procs */ procs: i32,
        /** its name there */ name: Text<S>,
    }
    /// Enter that cgroup (cgroups(7)).
    36 JoinCgroup { /** a descriptor of its cgroup.procs */ procs: i32 }
    /// Stay, as the init of a box, and do what is asked over the socket. The last operation of a box's plan.
    40 Serve {}
    /// What follows is done by a child, as after `Fork`, but init goes on serving. The first operation of such a request.
    41 Start {
        /** CLONE_NEW* for the child */ flags: u64,
        /** the number by which `Abort` knows it */ token: u32,
        /** whether only its failure or its end is reported */ quiet: u32,
    }
    /// Lay out the descriptors that came with the request: the first ones as standard input, output and error where
    /// `stdio` says so, the others under the numbers in `pass`.
    42 Received { /** 1 where there is one */ stdio: [i32; 3], /** numbers */ pass: Numbers<S> }
    /// Go on as another nsbox-init: its socket and its lifeline came with the request.
    43 CopyInit {}
    /// Write a file of the user namespace of a child: `uid_map`, `gid_map` or `setgroups`.
    44 WriteMap { /** the child */ pid: u32, /** which */ file: Text<S>, /** what */ data: Blob<S> }
    /// Open a file, and attach it to the report.
    45 Open { /** where */ path: Text<S> }
    /// Read a short file of init's own proc, and put what it says into the report.
    46 Read { /** where, from the root of the proc */ path: Text<S> }
    /// Open a file of init's own proc, and attach it to the report.
    52 OpenOwn {
        /** where, from the root of the proc */ path: Text<S>,
        /** whether it is one of the links that are no paths (proc_pid_ns(5)) */ link: u32,
    }
    /// Write `data` to a file of init's own proc in a single write(2).
    53 WriteOwn { /** where, from the root of the proc */ path: Text<S>, /** what */ data: Blob<S> }
    /// Make a file system of this type that is mounted nowhere, and attach it to the report (fsmount(2)).
    47 Detached { /** the type */ fstype: Text<S> }
    /// umount2(2).
    48 Unmount { /** where */ target: Text<S>, /** MNT_* */ flags: u32 }
    /// SIGKILL to the process that was started with this token.
    50 Abort { /** which */ token: u32 }
    /// Whether orphans are reaped as soon as they end, and whether those that wait are reaped now.
    49 Reap { /** from now on */ always: u32, /** once */ now: u32 }
    /// Make a socket, and attach it to the report.
    51 Socket { /** AF_* */ family: i32, /** SOCK_* */ kind: i32, /** the protocol */ protocol: i32 }
    /// setns(2); the descriptor is closed.
    60 Setns { /** a namespace */ fd: i32, /** its CLONE_NEW* */ flags: u64 }
    /// Root's ids in the user namespace that has been joined, as far as it has them.
    61 BecomeRoot {}
    /// chroot(2) to an open directory, which is closed.
    62 Chroot { /** the directory */ fd: i32 }
    /// fchdir(2); the descriptor is closed.
    63 Fchdir { /** the directory */ fd: i32 }
    /// What follows, but for this process's own end, is done by a child: only children are in a PID namespace that has
    /// been joined or unshared.
    64 Descend { /** CLONE_NEW* for the child */ flags: u64 }
}

/// FNV-1a on 64-bit words: enough to tell a damaged plan from a whole one, and two dozen instructions long.
pub fn checksum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &word| step(hash, u64::from_ne_bytes(word)));
    rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
}

struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Append one operation, carried out as step `step` of the plan people see.
pub fn encode_op<S: AsRef<[u8]>>(step: u16, op: &Op<S>, out: &mut impl Sink) {
    let mut length = Counter(0);
    op.put_fields(&mut length);
    op.tag().put(out);
    step.put(out);
    (length.0 as u32).put(out);
    op.put_fields(out);
}

/// The header that goes before the operations in `body`.
pub fn encode_header(count: u16, body: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0..4].copy_from_slice(&MAGIC.to_ne_bytes());
    header[4..6].copy_from_slice(&VERSION.to_ne_bytes());
    header[6..8].copy_from_slice(&count.to_ne_bytes());
    header[8..16].copy_from_slice(&((HEADER + body.len()) as u64).to_ne_bytes());
    header[16..24].copy_from_slice(&checksum(body).to_ne_bytes());
    header
}

/// How a plan ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Other,
    Exec,
    Serve,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A program in namespaces of its own: `Fork` once, an exec last.
    Program,
    /// A box, which waits for requests: `Serve` last.
    Box,
    /// A request: another process in the box. `Start` first, an exec last.
    Process,
    /// A request: operations that init carries out itself.
    Errand,
}

/// A validated plan, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    bytes: &'a [u8],
    /// What it is for.
    pub shape: Shape,
}

impl<'a> Plan<'a> {
    /// Check every byte of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let refuse = |fault, offset| Err(Malformed { fault, offset });
        let mut header = Reader { all: bytes, at: 0, end: bytes.len() };
        if u32::take(&mut header)? != MAGIC {
            return refuse(Fault::Magic, 0);
        }
        if u16::take(&mut header)? != VERSION {
            return refuse(Fault::Version, 4);
        }
        let count = u16::take(&mut header)?;
        let length = u64::take(&mut header)?;
        let sum = u64::take(&mut header)?;
        if length != bytes.len() as u64 {
            return refuse(Fault::Truncated, 8);
        }
        if sum != checksum(&bytes[HEADER..]) {
            return refuse(Fault::Checksum, 16);
        }
        let plan = Plan { bytes, shape: Shape::Errand };
        let mut ops = plan.ops();
        let (mut forks, mut starts, mut seen, mut last) = (0, 0, 0u16, Last::Other);
        while let Some((_, op)) = ops.try_next()? {
            if last != Last::Other {
                return refuse(Fault::Order, ops.reader.at);
            }
            match op {
                Op::Fork { .. } => forks += 1,
                Op::Start { .. } if seen == 0 => starts += 1,
                Op::Start { .. } => return refuse(Fault::Order, ops.reader.at),
                Op::Descend { .. } if forks != 0 => return refuse(Fault::Order, ops.reader.at),
                Op::Exec { .. } | Op::CopyInit {} => last = Last::Exec,
                Op::Serve {} => last = Last::Serve,
                _ => {}
            }
            seen = seen.wrapping_add(1);
        }
        let shape = match (forks, starts, last) {
            (1, 0, Last::Exec) => Shape::Program,
            (0, 0, Last::Serve) => Shape::Box,
            (0, 1, Last::Exec) => Shape::Process,
            (0, 0, Last::Other) if seen > 0 => Shape::Errand,
            _ => return refuse(Fault::Order, bytes.len()),
        };
        if seen != count {
            return refuse(Fault::Order, bytes.len());
        }
        Ok(Plan { bytes, shape })
    }

    /// The same, for somebody who can do with a plan of these shapes only.
    pub fn parse_as(bytes: &'a [u8], shapes: [Shape; 2]) -> Result<Self, Malformed> {
        let plan = Self::parse(bytes)?;
        if shapes.contains(&plan.shape) {
            Ok(plan)
        } else {
            Err(Malformed { fault: Fault::Order, offset: bytes.len() })
        }
    }

    /// The operations with the step each belongs to.
    pub fn ops(self) -> Ops<'a> {
        Ops { reader: Reader { all: self.bytes, at: HEADER, end: self.bytes.len() } }
    }
}

/// An operation and the step it belongs to.
pub type Numbered<'a> = (u16, Op<&'a [u8]>);

/// Iterator over the operations of a [`Plan`].
pub struct Ops<'a> {
    reader: Reader<'a>,
}

impl<'a> Ops<'a> {
    fn try_next(&mut self) -> Result<Option<Numbered<'a>>, Malformed> {
        if self.reader.at == self.reader.all.len() {
            return Ok(None);
        }
        self.reader.end = self.reader.all.len();
        let tag = u16::take(&mut self.reader)?;
        let step = u16::take(&mut self.reader)?;
        let length = u32::take(&mut self.reader)? as usize;
        let start = self.reader.at;
        match start.checked_add(length) {
            Some(end) if end <= self.reader.all.len() => self.reader.end = end,
            _ => return self.reader.fail(Fault::Truncated),
        }
        let op = Op::take(tag, &mut self.reader)?;
        if self.reader.at != self.reader.end {
            return self.reader.fail(Fault::Field);
        }
        Ok(Some((step, op)))
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Numbered<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // Only reached through a parsed plan, in which every operation has been read once already.
        self.try_next().ok().flatten()
    }
}

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

#[cfg(test)]
mod tests;
