//! What a caller types: whole command lines (a line is a word), users, sizes,
//! signals, ids, lists of CPUs, regular expressions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinnace::container::parse_signal;
use pinnace::plan::{Findings, mask};
use pinnace::store::check_id;
use pinnace::sys::regex::Regex;
use pinnace_fuzz::told;

fuzz_target!(|data: &[u8]| {
    pinnace::cli::fuzz(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    for result in [parse_signal(text).map(drop), check_id(text)] {
        if let Err(error) = result {
            told(&error.to_string());
        }
    }
    let mut findings = Findings::default();
    let mask = mask::parse("field", text, &mut findings);
    assert_eq!(mask.is_some(), findings.errors().is_empty());
    if let Some(mask) = mask {
        assert!(mask.len() <= 128 && mask.last().is_some_and(|last| *last != 0));
    }
    match Regex::new(text) {
        Ok(regex) => drop(regex.is_in("web-1-abcabcabcabc")),
        Err(error) => told(&error.to_string()),
    }
});
