//! Documents of an image layout: indexes, manifests, and configurations to what becomes of them.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pinnace_fuzz::mutate_json;

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate_json(data, size, most, seed)
});

fuzz_target!(|data: &[u8]| {
    pinnace::image::layout::fuzz(data);
    pinnace::image::config::fuzz(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(digest) = pinnace::image::digest::Digest::parse(text)
    {
        assert_eq!(digest.to_string(), text);
    }
});
