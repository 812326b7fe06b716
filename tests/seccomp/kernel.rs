//! The kernel's opinion: filters on a thread, and what its calls then give.

use crate::{DOCKER, PODMAN, compile, parse};
use pinnace::security::seccomp::{FLAGS, Filter};
use pinnace::sys::seccomp as sys;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

/// Runs `calls` on a thread of its own, which has the filter. A filter without
/// TSYNC confines the thread that loads it, and ends with it.
fn confined<T: Send + 'static>(filter: Filter, calls: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        sys::load(&filter.program.instructions, filter.flags).unwrap();
        calls()
    });
    thread.join().unwrap()
}

#[test]
fn rules_and_arguments_hold_in_the_kernel() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["getpriority"],"action":"SCMP_ACT_ERRNO","errnoRet":100},
        {"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":97,
         "args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
    confined(compile(&parse(json)).unwrap(), || {
        assert_eq!(rustix::process::getpriority_process(None), Err(Errno::from_raw_os_error(100)));
        let of = |family, kind| socket(family, kind, None).err();
        assert_eq!(of(AddressFamily::INET, SocketType::DGRAM), Some(Errno::AFNOSUPPORT));
        assert_eq!(of(AddressFamily::INET, SocketType::STREAM), None);
        assert_eq!(of(AddressFamily::UNIX, SocketType::DGRAM), None);
    });
}

#[test]
fn engines_profiles_load() {
    for (json, umount) in [(DOCKER, Errno::PERM), (PODMAN, Errno::NOENT)] {
        let filter = compile(&parse(json)).unwrap();
        confined(filter, move || {
            assert!(rustix::process::getpriority_process(None).is_ok());
            // Docker's asks for CAP_SYS_ADMIN; podman's leaves that to the kernel.
            assert_eq!(
                rustix::mount::unmount("/nowhere", rustix::mount::UnmountFlags::empty()),
                Err(umount)
            );
        });
    }
}

#[test]
fn a_listener_comes_back() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x",
        "syscalls":[{"names":["mount"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let filter = compile(&parse(json)).unwrap();
    let fd = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        sys::load(&filter.program.instructions, filter.flags).unwrap()
    });
    assert!(fd.join().unwrap().is_some());
}

#[test]
fn the_kernel_knows_the_flags() {
    for (name, flag) in FLAGS {
        assert!(sys::knows(flag), "{name}");
    }
    assert!(!sys::knows(1 << 31));
    let filter = compile(&parse(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)).unwrap();
    let error = sys::load(&filter.program.instructions, 1 << 31).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL));
    assert!(error.to_string().contains("the kernel may lack one of the flags"), "{error}");
}
