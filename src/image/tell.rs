//! What is told besides the result: on standard error, a line each.

use crate::error::{Error, brief};
use std::io::Write as _;

/// Something that the caller may want to know.
pub fn tell(message: &str) {
    line(&format!("pinnace-image: {}\n", brief(message)));
}

/// Something that was done otherwise than asked.
pub fn warn(message: &str) {
    line(&format!("pinnace-image: warning: {}\n", brief(message)));
}

/// The error that ends the command.
pub fn error(error: &Error) {
    tell(&error.to_string());
}

/// Nobody can be told that nobody can be told.
fn line(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}
