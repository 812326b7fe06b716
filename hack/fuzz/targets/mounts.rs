//! The options of a mount: a line is one; the first are destination, type and source.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinnace::plan::Findings;
use pinnace::plan::mounts::{UserNamespace, plan};
use pinnace::spec::{IdMapping, Mount};
use pinnace_fuzz::told;
use std::path::Path;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n').map(str::to_owned);
    let ids = vec![IdMapping { container_id: 0, host_id: 1000, size: 1 }];
    let mapped = text.len() % 2 == 0;
    let mount = Mount {
        destination: lines.next().unwrap_or_default(),
        kind: lines.next().filter(|kind| !kind.is_empty()),
        source: lines.next().filter(|source| !source.is_empty()),
        options: lines.collect(),
        uid_mappings: if mapped { ids.clone() } else { Vec::new() },
        gid_mappings: if mapped { ids.clone() } else { Vec::new() },
    };
    for userns in [UserNamespace::Host, UserNamespace::Joined, UserNamespace::New(&ids, &ids)] {
        let mut findings = Findings::default();
        let planned = plan(0, &mount, Path::new("/bundle"), userns, &mut findings);
        // Options that are shown are options that can be given.
        for option in planned.iter().flat_map(|mount| mount.options()) {
            assert!(pinnace::plan::options::find(option).is_some(), "{option}");
        }
        match findings.finish(planned) {
            Ok((planned, _)) => {
                let planned = planned.unwrap_or_else(|| panic!("nothing, and no error"));
                assert!(planned.destination.starts_with('/'));
                assert!(!planned.destination.split('/').any(|part| part == ".."));
            }
            Err(error) => told(&error.to_string()),
        }
    }
});
