//! Boxes: an nsbox-init that waits for requests.

pub mod handle;
pub mod open;
mod process;
