//! Archives of layers, from any bytes: what is read, and that reading ends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pinnace::image::tar::fuzz(data));
