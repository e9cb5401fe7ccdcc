//! The names of resources (getrlimit(2)), in the order of the kernel's numbers, which is the same on every architecture
//! nsbox runs on (asm-generic/resource.h).

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

/// The kernel's constant for a number.
pub fn constant(number: u32) -> String {
    NAMES.get(number as usize).map_or_else(|| number.to_string(), |name| format!("RLIMIT_{}", name.to_uppercase()))
}

/// A limit as C has it.
pub fn limit(value: u64) -> String {
    if value == u64::MAX { "RLIM_INFINITY".into() } else { value.to_string() }
}
