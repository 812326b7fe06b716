//! The `pinnace` program: parse, call, print the error once, exit code.
#![cfg_attr(not(test), no_main)]

#[global_allocator]
static ALLOCATOR: pinnace::sys::alloc::Bump = pinnace::sys::alloc::Bump::new();

#[cfg(not(test))]
pinnace::program!(pinnace::cli::main);
