//! The names of resources (getrlimit(2)), in the order of the kernel's numbers, which is the same on every architecture
//! nsbox runs on (asm-generic/resource.h).

use crate::call::{Name, Value};

/// The names. The place of each is its number.
const NAMES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// The number of a resource.
pub fn number(name: &str) -> Option<u32> {
    NAMES.iter().position(|other| *other == name).map(|at| at as u32)
}

/// The name of the constant for a number.
pub fn constant(number: u32) -> Name {
    let name = NAMES.get(number as usize);
    name.map_or_else(|| number.to_string(), |name| format!("RLIMIT_{}", name.to_uppercase())).into()
}

/// A limit as an argument of a call.
pub fn value(limit: u64) -> Value {
    i64::try_from(limit).map_or(Value::constant("RLIM_INFINITY"), Value::Number)
}
