//! The `pinnace` program: parse, call, print the error once, exit code.

#[global_allocator]
static ALLOCATOR: pinnace::sys::alloc::Bump = pinnace::sys::alloc::Bump::new();

fn main() -> std::process::ExitCode {
    let code = pinnace::cli::main(std::env::args_os());
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(255))
}
