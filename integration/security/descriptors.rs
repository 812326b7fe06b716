//! Names that the image chose never lead to a descriptor of the host.
//!
//! `/proc/self/fd/N/..` leads to whatever directory a process has open there: the image, which
//! chooses what such a name stands for, must find none of the host's (A1, CVE-2024-21626).

use crate::harness::{Bundle, Container, Output, Step, Value, deviates, exits, json, needs};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The descriptors that are tried one by one, and all at once.
const FEW: Range<u32> = 3..16;
const ALL: Range<u32> = 3..64;

/// A program of a few bytes: makes `/tmp/escaped` and exits with 77.
fn host_program() -> Vec<u8> {
    let mut code = vec![0x48, 0x8d, 0x3d, 29, 0, 0, 0]; // lea rdi, [path]
    code.extend([0xbe, 0x41, 0x02, 0, 0]); // mov esi, O_WRONLY | O_CREAT | O_TRUNC
    code.extend([0xba, 0xb6, 0x01, 0, 0]); // mov edx, 0666
    code.extend([0xb8, 2, 0, 0, 0, 0x0f, 0x05]); // open(2)
    code.extend([0xbf, 77, 0, 0, 0]); // mov edi, 77
    code.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(2)
    code.extend(b"/tmp/escaped\0");
    elf(None, &code)
}

/// An ELF file with one segment, and an interpreter if it names one.
fn elf(interpreter: Option<&str>, code: &[u8]) -> Vec<u8> {
    let headers = 64 + 56 * (1 + u64::from(interpreter.is_some()));
    let name = interpreter.map(|name| format!("{name}\0")).unwrap_or_default();
    let entry = headers + name.len() as u64;
    let size = entry + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let halves = |file: &mut Vec<u8>, list: &[u16]| {
        list.iter().for_each(|half| file.extend(half.to_le_bytes()));
    };
    halves(&mut file, &[3, 62, 1, 0]); // ET_DYN, EM_X86_64
    [entry, 64, 0].iter().for_each(|word| file.extend(word.to_le_bytes()));
    halves(&mut file, &[0, 0, 64, 56, if interpreter.is_some() { 2 } else { 1 }, 64, 0, 0]);
    let mut segment = |kind: u32, flags: u32, words: [u64; 6]| {
        file.extend(kind.to_le_bytes());
        file.extend(flags.to_le_bytes());
        words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    if interpreter.is_some() {
        let length = name.len() as u64;
        segment(3, 4, [headers, headers, headers, length, length, 1]); // PT_INTERP
    }
    segment(1, 5, [0, 0, 0, size, size, 4096]); // PT_LOAD
    file.extend(name.bytes());
    file.extend(code);
    file
}

fn write_program(path: PathBuf, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// `start`, then the way up from there and down to the decoy's directory.
fn way(bundle: &Bundle, start: &str) -> String {
    let decoy = bundle.dir().join("decoy");
    format!("{start}/{}{}", "../".repeat(16), decoy.to_str().unwrap().trim_start_matches('/'))
}

/// A bundle whose `/links/N` leads to the directory of a program of the host, if descriptor N is a
/// directory of the host; `/scripts/N` and `/elf/N` are to be interpreted by that program.
fn trap(bundle: Bundle) -> Bundle {
    write_program(bundle.dir().join("decoy/prog"), &host_program());
    for dir in ["links", "more", "tricks"] {
        fs::create_dir(bundle.rootfs(dir)).unwrap();
    }
    for n in ALL {
        let link = |at: &str, start: &str| {
            symlink(way(&bundle, start), bundle.rootfs(&format!("{at}{n}"))).unwrap();
        };
        link("links/", &format!("/proc/self/fd/{n}"));
        link("more/", &format!("/proc/thread-self/fd/{n}/."));
        link("more/task", &format!("/proc/self/task/../fd/{n}"));
        let interpreter = format!("/links/{n}/prog");
        let script = format!("#!{interpreter}\n");
        write_program(bundle.rootfs(&format!("scripts/{n}")), script.as_bytes());
        write_program(bundle.rootfs(&format!("elf/{n}")), &elf(Some(&interpreter), b"\xf4"));
    }
    bundle
}

/// A search path of all these directories.
fn path_of(names: impl IntoIterator<Item = String>) -> String {
    format!("PATH={}", names.into_iter().collect::<Vec<_>>().join(":"))
}

fn every_link() -> String {
    path_of(
        ALL.flat_map(|n| [format!("/links/{n}"), format!("/more/{n}"), format!("/more/task{n}")]),
    )
}

#[track_caller]
fn holds(c: &Container, what: &str, out: &Output) {
    let escaped = c.bundle.rootfs("tmp/escaped").exists();
    assert!(!escaped && out.code != 77, "{what}: a program of the host has run: {out:?}");
}

/// `run`, then `create` and `start`, of the bundle with that change.
#[track_caller]
fn run_and_start(c: &Container, what: &str, change: impl FnOnce(&mut Value)) {
    let mut config = c.bundle.config().clone();
    change(&mut config);
    let text = serde_json::to_vec(&config).unwrap();
    fs::write(c.bundle.path().join("config.json"), text).unwrap();
    holds(c, &format!("run {what}"), &c.run());
    let mut out = c.create();
    if out.code == 0 {
        let pid = c.pid();
        out = c.start();
        assert!(exits(pid), "start {what}: does not end");
    }
    c.call(["delete", "--force", &c.id]).run();
    holds(c, &format!("start {what}"), &out);
}

macro_rules! needs_x86_64 {
    () => {
        needs!(cfg!(target_arch = "x86_64"), "x86_64: the decoy is its machine code");
    };
}

/// The trap itself: the program and its interpreted forms do run where they may.
#[test]
fn the_program_of_the_trap_runs() {
    needs_x86_64!();
    for (path, name) in [("inside/prog", "/inside/prog"), ("own/elf", "/own/elf")] {
        let bundle = Bundle::new([name]);
        write_program(bundle.rootfs("inside/prog"), &host_program());
        write_program(bundle.rootfs("own/elf"), &elf(Some("/inside/prog"), b"\xf4"));
        let c = bundle.container();
        assert_eq!(c.run().code, 77, "{path}");
        assert!(c.bundle.rootfs("tmp/escaped").exists());
    }
}

/// A1
#[test]
fn a_program_is_not_found_through_a_descriptor() {
    needs_x86_64!();
    let c = trap(Bundle::sleeper()).container();
    for n in FEW {
        let args = json!([format!("/links/{n}/prog")]);
        run_and_start(&c, &format!("/links/{n}"), |config| config["process"]["args"] = args);
    }
}

/// A1
#[test]
fn a_script_is_not_interpreted_through_a_descriptor() {
    needs_x86_64!();
    let c = trap(Bundle::sleeper()).container();
    for n in FEW {
        let args = json!([format!("/scripts/{n}")]);
        run_and_start(&c, &format!("/scripts/{n}"), |config| config["process"]["args"] = args);
    }
}

/// A1
#[test]
fn an_elf_file_has_no_interpreter_through_a_descriptor() {
    needs_x86_64!();
    let c = trap(Bundle::sleeper()).container();
    for n in FEW {
        let args = json!([format!("/elf/{n}")]);
        run_and_start(&c, &format!("/elf/{n}"), |config| config["process"]["args"] = args);
    }
}

/// A1: a startContainer hook is a file of the image.
#[test]
fn a_hook_is_not_found_through_a_descriptor() {
    needs_x86_64!();
    let c = trap(Bundle::new(["true"])).container();
    for n in FEW {
        for path in [format!("/links/{n}/prog"), format!("/scripts/{n}"), format!("/elf/{n}")] {
            let hooks = json!({"startContainer": [{"path": path}]});
            run_and_start(&c, &path, |config| config["hooks"] = hooks);
        }
    }
}

/// A1: names that are relative to a directory of descriptors.
#[test]
fn a_relative_name_does_not_lead_through_a_descriptor() {
    needs_x86_64!();
    let c = trap(Bundle::sleeper()).container();
    for cwd in ["/proc/self/fd", "/proc/thread-self/fd", "/proc/1/fd"] {
        let names = FEW.map(|n| way(&c.bundle, &n.to_string()));
        let path = path_of(names);
        run_and_start(&c, cwd, |config| {
            config["process"]["cwd"] = json!(cwd);
            config["process"]["env"] = json!([path]);
            config["process"]["args"] = json!(["prog"]);
        });
        let one = way(&c.bundle, "./6");
        run_and_start(&c, cwd, |config| {
            config["process"]["cwd"] = json!(cwd);
            config["process"]["args"] = json!([format!("{one}/prog")]);
        });
    }
}

/// A1: all descriptors at once, for each kind of container.
#[test]
fn no_kind_of_container_finds_its_program_through_a_descriptor() {
    needs_x86_64!();
    let first = Bundle::sleeper().user_namespace().container().up();
    let pid = first.pid().as_raw_pid();
    let path = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    let base = || trap(Bundle::new(["prog"])).set("/process/env", json!([every_link()]));
    let joined = |kinds: &[&str]| {
        let bundle = base().user_namespace().without_namespace("user");
        let bundle = bundle.unset("/linux", "uidMappings").unset("/linux", "gidMappings");
        kinds.iter().fold(bundle, |bundle, kind| bundle.namespace(kind, Some(&path(kind))))
    };
    let user = json!({"uid": 1000, "gid": 1000});
    for (what, bundle) in [
        ("plain", base()),
        ("user namespace", base().user_namespace()),
        ("the host's pids", base().without_namespace("pid")),
        ("the host's cgroups", base().namespace("cgroup", None)),
        ("pod: pid", joined(&["pid"])),
        ("pod: user and pid", joined(&["user", "pid"])),
        ("an ordinary user", base().set("/process/user", user)),
        (
            "a bundle with hooks",
            base().set("/hooks/createContainer/-", json!({"path": "/bin/true"})),
        ),
    ] {
        run_and_start(&bundle.container(), what, |_| ());
    }
}

/// A1: exec in a running container and in one that was only created.
#[test]
fn exec_finds_no_program_through_a_descriptor() {
    needs_x86_64!();
    for (start, users) in [(true, false), (false, false), (true, true)] {
        let bundle = trap(Bundle::sleeper());
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let c = bundle.container();
        c.create().ok();
        if start {
            c.start().ok();
        }
        for n in FEW {
            for name in [format!("/links/{n}/prog"), format!("/scripts/{n}"), format!("/elf/{n}")] {
                let out = c.exec([name.as_str()]);
                holds(&c, &format!("exec {name}"), &out);
            }
        }
        holds(&c, "exec by PATH", &c.exec_with(["--env", &every_link()], ["prog"]));
        let names = path_of(FEW.map(|n| way(&c.bundle, &n.to_string())));
        let out = c.exec_with(["--cwd", "/proc/self/fd", "--env", &names], ["prog"]);
        holds(&c, "exec by PATH from /proc/self/fd", &out);
    }
}

/// Other links of procfs that could lead out.
#[test]
fn no_other_link_of_procfs_leads_to_a_program_of_the_host() {
    needs_x86_64!();
    let me = std::process::id();
    for pids in [true, false] {
        let bundle = trap(Bundle::sleeper());
        let bundle = if pids { bundle } else { bundle.without_namespace("pid") };
        let mut starts: Vec<String> = ["cwd", "root", "fd/0", "fd/1", "fd/2", "exe", "task/1/cwd"]
            .iter()
            .flat_map(|link| ["self", "1", "thread-self"].map(|who| format!("/proc/{who}/{link}")))
            .collect();
        starts.extend(["root", "cwd"].map(|link| format!("/proc/{me}/{link}")));
        for (n, start) in starts.iter().enumerate() {
            symlink(way(&bundle, start), bundle.rootfs(&format!("tricks/{n}"))).unwrap();
        }
        let path = path_of((0..starts.len()).map(|n| format!("/tricks/{n}")));
        let c = bundle.container();
        run_and_start(&c, "by tricks", |config| {
            config["process"]["args"] = json!(["prog"]);
            config["process"]["env"] = json!([path]);
        });
        c.bundle.write_config();
        c.create().ok();
        c.start().ok();
        holds(&c, "exec by tricks", &c.exec_with(["--env", &path], ["prog"]));
    }
}

/// What a process has open beyond its stdio that has a place in a file system, but not on a mount
/// of its own mount namespace.
fn open_files(pid: i32) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let mounts = read("mountinfo");
    let own = |number: u32| {
        let info = read(&format!("fdinfo/{number}"));
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
        mounts.lines().any(|line| line.split(' ').next() == id)
    };
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        let strange = number > 2 && target.starts_with('/') && !own(number);
        strange.then(|| format!("{number} -> {target}"))
    });
    links.collect()
}

/// A1, CVE-2024-21626: the kernel resolves the names of program and interpreter, and that of a hook,
/// before it closes what is to be closed on execve.
#[test]
fn nothing_of_the_host_is_open_when_the_image_s_program_is_executed() {
    for (users, hook) in [(false, false), (true, false), (false, true)] {
        let mut bundle = Bundle::sleeper();
        if users {
            bundle = bundle.user_namespace();
        }
        if hook {
            bundle = bundle.set("/hooks/startContainer/-", json!({"path": "/bin/true"}));
        }
        let c = bundle.container();
        let open = Arc::new(Mutex::new((0, Vec::new())));
        let look = || {
            let open = open.clone();
            move |step: Step| {
                let inside = step.pids().len() > 1 && !step.link("exe").ends_with("/busybox");
                if inside && i64::from(step.call) == libc::SYS_execve {
                    let mut open = open.lock().unwrap();
                    open.0 += 1;
                    open.1.extend(open_files(step.pid));
                }
            }
        };
        let path = c.bundle.path();
        let create = c.call(["create", "--bundle", path.to_str().unwrap(), &c.id]);
        let create = create.output_to(c.log("stdout"), c.log("stderr"));
        let (running, steps) = create.stepwise(look());
        running.wait().ok();
        c.start().ok();
        let (exec, of_exec) = c.call(["exec", &c.id, "true"]).stepwise(look());
        exec.wait().ok();
        of_exec.end();
        c.stop();
        steps.end();
        let open = open.lock().unwrap();
        assert!(open.0 >= 2, "execve was seen {} times", open.0);
        deviates!(["runc", "crun"], "CVE-2024-21626: closed by execve(2) itself");
        assert!(open.1.is_empty(), "{:#?}", open.1);
    }
}

/// A1: while it waits, too.
#[test]
fn init_of_a_created_container_holds_nothing_of_the_host() {
    for users in [false, true] {
        let bundle = Bundle::sleeper();
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let c = bundle.container();
        c.create().ok();
        deviates!(["runc", "crun"], "A1: the fifo, and the state directory");
        let open = open_files(c.pid().as_raw_pid());
        assert!(open.is_empty(), "{open:#?}");
    }
}
