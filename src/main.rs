//! The `pinnace` program.

fn main() {}
