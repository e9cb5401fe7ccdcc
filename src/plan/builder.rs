//! Steps as they are collected, and the fields of their operations.

use pyo3::pybacked::PyBackedBytes;

use nsbox_init::wire::{Blob, MaybeText, Op, Text, Texts};

use crate::error::{Error, Result};
use crate::plan::step::{Action, Actor, CallerAction, Step};
use crate::step_name::StepName;

/// The steps being collected.
pub struct Builder {
    /// In order.
    pub steps: Vec<Step>,
    /// Who carries out the steps outside: the caller, or for a box in a box the outer nsbox-init.
    pub outside: Actor,
    /// The path at which the working directory is looked up after the mounts; `None` if it is inherited.
    pub directory: Option<Vec<u8>>,
}

impl Builder {
    /// Add a step of the caller, or of the outer nsbox-init.
    pub fn outside(&mut self, name: StepName, action: CallerAction, manual: &'static str, why: &'static str) {
        self.steps.push(Step { name, actor: self.outside, action: Action::Caller(action), manual, why });
    }

    /// Add a step that is sent to nsbox-init.
    pub fn op(&mut self, actor: Actor, name: StepName, op: Op<Vec<u8>>, manual: &'static str, why: &'static str) {
        self.steps.push(Step { name, actor, action: Action::Op(op), manual, why });
    }
}

/// Some bytes as a C string.
pub fn c_bytes(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"\0"].concat()
}

/// Numbers as they are sent.
pub fn packed(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
    numbers.flat_map(u32::to_ne_bytes).collect()
}

/// A mount(2); an empty text is NULL.
pub fn mount_op(source: &str, target: &str, fstype: &str, flags: u64) -> Op<Vec<u8>> {
    let maybe = |text: &str| MaybeText(if text.is_empty() { Vec::new() } else { c_bytes(text.as_bytes()) });
    Op::Mount { source: maybe(source), target: Text(c_bytes(target.as_bytes())), fstype: maybe(fstype), flags }
}

/// A write to a file.
pub fn write_op(path: &str, data: &str) -> Op<Vec<u8>> {
    Op::Write { path: Text(c_bytes(path.as_bytes())), data: Blob(data.as_bytes().to_vec()) }
}

/// Texts as they are sent; an error if one contains a NUL.
pub fn joined<'a>(argument: &str, texts: impl Iterator<Item = &'a PyBackedBytes>) -> Result<Texts<Vec<u8>>> {
    let (mut joined, mut count) = (Vec::with_capacity(2048), 0);
    for text in texts {
        if text.contains(&0) {
            return Err(Error::Spec(format!("{argument}: embedded null byte")));
        }
        joined.extend_from_slice(text);
        joined.push(0);
        count += 1;
    }
    Ok(Texts { count, joined })
}

/// The environment as C sees it, which `os.putenv` changes and `os.environ` does not show.
pub fn own_environment() -> Texts<Vec<u8>> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let (mut joined, mut count) = (Vec::with_capacity(4096), 0);
    // SAFETY: NULL, or a NULL-terminated array of C strings (environ(7)). Python code that changes it holds the GIL, as
    // we do here. C code in another thread that changes it races with every getenv(3) too.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            joined.extend_from_slice(std::ffi::CStr::from_ptr(*next).to_bytes_with_nul());
            count += 1;
            next = next.add(1);
        }
    }
    Texts { count, joined }
}
