//! state.json, and the saved configuration as later commands read it; the saved filter.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pinnace::security::seccomp::Filter;
use pinnace::spec;
use pinnace::store::{Record, RecordSummary};
use pinnace_fuzz::{mutate_json, told};

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate_json(data, size, most, seed)
});

fuzz_target!(|data: &[u8]| {
    if let Err(error) = spec::parse::<RecordSummary>("state.json", data) {
        told(&error.to_string());
    }
    match spec::parse::<Record>("state.json", data) {
        Ok(record) => {
            // What is written again is read again.
            let text = serde_json::to_vec(&record).unwrap_or_default();
            let again: Record = match spec::parse("state.json", &text) {
                Ok(again) => again,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(serde_json::to_vec(&again).unwrap_or_default(), text);
        }
        Err(error) => told(&error.to_string()),
    }
    if let Some(filter) = Filter::from_bytes(data) {
        assert_eq!(filter.to_bytes().as_deref(), Some(data));
        filter.lets_us_speak();
        filter.program.notifies();
    }
});
