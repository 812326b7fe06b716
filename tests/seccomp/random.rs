//! Profiles by chance, the same in every run.

use crate::rng::Rng;
use pinnace::spec::{Names, Seccomp, SyscallArg, SyscallRule};

pub const ACTIONS: [(&str, Option<u32>); 9] = [
    ("SCMP_ACT_ALLOW", None),
    ("SCMP_ACT_ERRNO", None),
    ("SCMP_ACT_ERRNO", Some(5)),
    ("SCMP_ACT_KILL", None),
    ("SCMP_ACT_KILL_PROCESS", None),
    ("SCMP_ACT_TRAP", None),
    ("SCMP_ACT_TRACE", Some(9)),
    ("SCMP_ACT_TRACE", None),
    ("SCMP_ACT_LOG", None),
];
pub const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];
pub const VALUES: [u64; 12] = [
    0,
    1,
    2,
    5,
    0x10,
    0x7e02_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x5_0000_0000,
    u64::MAX,
];

/// `actions`: how many different ones a profile's conditional rules have.
pub fn random(rng: &mut Rng, conditional: &[(&str, Option<u32>)], most_args: u64) -> Seccomp {
    let calls = [
        "read",
        "write",
        "socket",
        "bind",
        "semop",
        "personality",
        "clone",
        "kill",
        "mmap",
        "futex",
    ];
    let (default_action, default_errno_ret) = rng.pick(&ACTIONS);
    let mut profile =
        Seccomp { default_action: default_action.into(), default_errno_ret, ..Seccomp::default() };
    for _ in 0..1 + rng.below(8) {
        let args: Vec<SyscallArg> = (0..rng.below(most_args + 1))
            .map(|_| SyscallArg {
                index: u32::try_from(rng.below(3)).unwrap(),
                value: rng.pick(&VALUES),
                value_two: rng.pick(&VALUES),
                op: rng.pick(&OPERATORS).into(),
            })
            .collect();
        let names: Names = (0..1 + rng.below(3)).map(|_| rng.pick(&calls)).collect();
        // Behind a multiplexer every rule is conditional.
        let conditional_too = names.iter().any(|name| ["socket", "bind", "semop"].contains(&name));
        let free = args.is_empty() && !conditional_too;
        let (action, errno_ret) = rng.pick(if free { &ACTIONS } else { conditional });
        profile.syscalls.push(SyscallRule { names, action: action.into(), errno_ret, args });
    }
    profile
}

/// Long lists of names, as engines' profiles have them: whatever the shape of
/// the tree, each number must be found in it.
pub fn random_long(rng: &mut Rng, calls: &[&str]) -> Seccomp {
    let actions = [rng.pick(&ACTIONS), rng.pick(&ACTIONS), rng.pick(&ACTIONS)];
    let (default_action, default_errno_ret) = rng.pick(&ACTIONS);
    let mut profile =
        Seccomp { default_action: default_action.into(), default_errno_ret, ..Seccomp::default() };
    // From nearly none to nearly all.
    let share = 1 + rng.below(99);
    // One action for all conditions: of several, the order is another test's.
    let conditional = rng.pick(&ACTIONS);
    for (action, errno_ret) in actions {
        let names = calls.iter().filter(|_| rng.below(100) < share).collect();
        let rule = SyscallRule { names, action: action.into(), errno_ret, args: Vec::new() };
        profile.syscalls.push(rule);
    }
    for _ in 0..rng.below(6) {
        let arg = SyscallArg {
            index: u32::try_from(rng.below(6)).unwrap(),
            value: rng.pick(&VALUES),
            value_two: rng.pick(&VALUES),
            op: rng.pick(&OPERATORS).into(),
        };
        let (action, errno_ret) = conditional;
        let (names, args) = ([rng.pick(calls)].into_iter().collect(), vec![arg]);
        profile.syscalls.push(SyscallRule { names, action: action.into(), errno_ret, args });
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    profile
}
