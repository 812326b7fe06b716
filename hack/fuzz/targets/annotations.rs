//! `org.systemd.property.*` annotations: a line for the name, the rest is the value.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (name, value) = text.split_once('\n').unwrap_or(("Abc", text));
    if let Err(error) = pinnace::cgroup::fuzz::annotation(name, value) {
        pinnace_fuzz::told(&error.to_string());
    }
});
