//! What the D-Bus daemon and the kernel's rtnetlink answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    pinnace::cgroup::fuzz::replies(data);
    pinnace::net::fuzz(data);
});
