//! The fields of operations: how each is written and read.

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
pub trait Put {
    /// Append it.
    fn put(&self, out: &mut impl Sink);
}

/// A field that can be read back.
pub trait Take<'a>: Sized {
    /// Read it.
    fn take(from: &mut Reader<'a>) -> Result<Self, Malformed>;
}

/// Bytes that are read from the front.
pub struct Reader<'a> {
    /// All of them.
    pub all: &'a [u8],
    /// The offset of the next one.
    pub at: usize,
    /// Where the operation ends.
    pub end: usize,
}

impl<'a> Reader<'a> {
    /// An error at this offset.
    pub fn fail<T>(&self, fault: Fault) -> Result<T, Malformed> {
        Err(Malformed { fault, offset: self.at })
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
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

pub fn put_slice(bytes: &[u8], out: &mut impl Sink) {
    (bytes.len() as u32).put(out);
    out.put(bytes);
}

pub fn take_slice<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
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
