//! The plan of the container's tree: the table of mount options in both
//! directions, and every error by the name of its field.
#![allow(missing_docs, clippy::unwrap_used)]

use pinnace::plan::Findings;
use pinnace::plan::mounts::{Kind, Maps, Mount};
use pinnace::plan::options::{
    PRIVATE, Propagation, Reach, SHARED, SLAVE, Super, UNBINDABLE, find, names,
};
use pinnace::plan::rootfs::{DeviceKind, Rootfs, plan};
use pinnace::spec::{self, Spec};
use pinnace::sys::mount::{
    ATIME_FIELD, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, STRICTATIME,
};
use serde_json::{Value, json};
use std::path::Path;

fn config(change: impl FnOnce(&mut Value)) -> Spec {
    let mut config = json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "mounts": [],
        "linux": {"namespaces": [{"type": "mount"}]},
    });
    change(&mut config);
    spec::parse_str("config.json", &config.to_string()).unwrap()
}

fn planned(change: impl FnOnce(&mut Value)) -> Result<(Rootfs, Vec<String>), Findings> {
    let mut findings = Findings::default();
    let rootfs = plan(&config(change), Path::new("/bundle"), &mut findings);
    match findings.errors() {
        [] => Ok((rootfs, findings.warnings().iter().map(ToString::to_string).collect())),
        _ => Err(findings),
    }
}

fn good(change: impl FnOnce(&mut Value)) -> (Rootfs, Vec<String>) {
    planned(change).map_err(|findings| format!("{findings:?}")).unwrap()
}

fn errors(change: impl FnOnce(&mut Value)) -> Vec<String> {
    planned(change).unwrap_err().errors().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn error(change: impl FnOnce(&mut Value), wanted: &str) {
    let errors = errors(change);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with(wanted), "{:?}\nnot\n{wanted:?}", errors[0]);
}

fn mount(mount: Value) -> Mount {
    good(|c| c["mounts"] = json!([mount])).0.mounts.remove(0)
}

fn bind(options: &[&str]) -> Mount {
    let mut all = vec!["bind"];
    all.extend(options);
    mount(json!({"destination": "/x", "source": "/y", "options": all}))
}

fn tmpfs(options: &[&str]) -> (Mount, pinnace::plan::mounts::FileSystem) {
    let mount = mount(json!({"destination": "/x", "type": "tmpfs", "options": options}));
    let Kind::FileSystem(fs) = mount.kind.clone() else { panic!("{mount:?}") };
    (mount, fs)
}

#[test]
fn every_option_of_the_spec_is_known() {
    let spec = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand \
        noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime \
        nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime \
        rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime \
        rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave \
        strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap";
    for name in spec.split_whitespace() {
        assert!(find(name).is_some(), "{name}");
    }
    assert!(find("rnodev").is_some() && find("size=1k").is_none() && find("").is_none());
    // The table is searched by halves.
    assert!(names().is_sorted());
    assert!(names().all(|name| find(name).is_some()));
}

#[test]
fn flags_in_both_directions() {
    for (on, off, bit) in [
        ("ro", "rw", RDONLY),
        ("nosuid", "suid", NOSUID),
        ("nodev", "dev", NODEV),
        ("noexec", "exec", NOEXEC),
        ("nodiratime", "diratime", NODIRATIME),
        ("nosymfollow", "symfollow", NOSYMFOLLOW),
    ] {
        let seen = |options: &[&str]| bind(options).attributes;
        let one = |options: &[&str]| (seen(options).one.set, seen(options).one.clear);
        assert_eq!(one(&[on]), (bit, 0), "{on}");
        assert_eq!(one(&[off]), (0, bit), "{off}");
        assert_eq!(one(&[on, off]), (0, bit), "{on},{off}");
        assert_eq!(one(&[off, on]), (bit, 0), "{off},{on}");

        let (ron, roff) = (format!("r{on}"), format!("r{off}"));
        let all = |options: &[&str]| (seen(options).all.set, seen(options).all.clear);
        assert_eq!(all(&[&ron]), (bit, 0), "{ron}");
        assert_eq!(all(&[&ron, &roff]), (0, bit), "{ron},{roff}");
        assert_eq!(one(&[on, &roff]), (0, 0), "{on},{roff}: the last word is recursive");
        assert_eq!(one(&[&ron, off]), (0, bit), "{ron},{off}");
        assert_eq!(all(&[&ron, off]), (bit, 0), "{ron},{off}: but below it stays");
        assert_eq!(seen(&[&ron, off]).flat(), 0);
    }
}

#[test]
fn access_times() {
    for (options, wanted) in [
        (&["noatime"][..], Some(NOATIME)),
        (&["strictatime"], Some(STRICTATIME)),
        (&["relatime"], Some(0)),
        (&["atime"], Some(0)),
        (&["noatime", "atime"], Some(0)),
        (&["atime", "noatime"], Some(NOATIME)),
        (&["noatime", "relatime"], Some(0)),
        (&["relatime", "noatime"], Some(NOATIME)),
        (&["strictatime", "nostrictatime"], Some(0)),
        (&["strictatime", "norelatime"], Some(STRICTATIME)),
        (&["noatime", "nostrictatime"], Some(NOATIME)),
        (&["nodiratime"], None),
        (&["rnoatime", "strictatime"], Some(STRICTATIME)),
    ] {
        let one = bind(options).attributes.one;
        let seen = (one.clear & ATIME_FIELD != 0).then_some(one.set & ATIME_FIELD);
        assert_eq!(seen, wanted, "{options:?}");
        // The kernel refuses a mode without the whole field in attr_clr.
        assert!(one.set & ATIME_FIELD == 0 || one.clear & ATIME_FIELD == ATIME_FIELD);
    }
    let all = |option| bind(&[option]).attributes.all;
    for (option, mode) in [
        ("rnoatime", NOATIME),
        ("rstrictatime", STRICTATIME),
        ("rrelatime", 0),
        ("ratime", 0),
        ("rnorelatime", 0),
        ("rnostrictatime", 0),
    ] {
        assert_eq!((all(option).set, all(option).clear), (mode, ATIME_FIELD), "{option}");
    }
}

#[test]
fn superblock_flags() {
    for (on, off, flag) in [
        ("sync", "async", Super::Sync),
        ("mand", "nomand", Super::Mand),
        ("lazytime", "nolazytime", Super::LazyTime),
        ("iversion", "noiversion", Super::IVersion),
        ("silent", "loud", Super::Silent),
    ] {
        assert_eq!(tmpfs(&[on]).1.flags, [(flag, true)]);
        assert_eq!(tmpfs(&[on, off]).1.flags, [(flag, false)]);
        assert_eq!(tmpfs(&[off, on]).1.flags, [(flag, true)]);
    }
    assert_eq!(tmpfs(&["dirsync"]).1.flags, [(Super::DirSync, true)]);
    let (_, warnings) = good(|c| {
        c["mounts"] = json!([{"destination": "/x", "source": "/y", "options": ["bind", "sync"]}]);
    });
    assert!(warnings[0].starts_with("mounts[0].options[1]: \"sync\""), "{warnings:?}");
}

#[test]
fn propagation_types() {
    for (name, flag) in
        [("shared", SHARED), ("slave", SLAVE), ("private", PRIVATE), ("unbindable", UNBINDABLE)]
    {
        assert_eq!(bind(&[name]).propagation, [Propagation { flag, reach: Reach::One }]);
        let recursive = format!("r{name}");
        let wanted = Propagation { flag, reach: Reach::All };
        assert_eq!(bind(&[&recursive]).propagation, [wanted]);
        let (rootfs, _) = good(|c| c["linux"]["rootfsPropagation"] = json!(recursive));
        assert_eq!(rootfs.propagation, Some(wanted));
    }
    assert_eq!(good(|_| ()).0.propagation, None);
    error(
        |c| c["linux"]["rootfsPropagation"] = json!("Shared"),
        "linux.rootfsPropagation: \"Shared\" is none of",
    );
}

#[test]
fn data_for_the_file_system() {
    let (mount, fs) = tmpfs(&[
        "defaults",
        "",
        "size=1k,mode=700",
        "noswap",
        "nosuid",
        r#"context="a:b:c1,c2""#,
        r"upper=a\,b",
    ]);
    let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    assert_eq!(
        fs.data,
        [
            pair("size", Some("1k")),
            pair("mode", Some("700")),
            pair("noswap", None),
            pair("context", Some("a:b:c1,c2")),
            pair("upper", Some(r"a\,b")),
        ]
    );
    assert_eq!(mount.attributes.flat(), NOSUID);
    assert_eq!(fs.source, None);
    assert!(tmpfs(&["ro"]).1.late_readonly && tmpfs(&["rro"]).1.late_readonly);
    assert!(!tmpfs(&["ro", "rw"]).1.late_readonly);
    assert!(tmpfs(&["tmpcopyup"]).1.copy_up);
}

#[test]
fn bind_sources() {
    let source = |text: &str| {
        let Kind::Bind(bind) = mount(json!({"destination": "/x", "source": text, "type": "dummy",
            "options": ["rbind", "src-nofollow"]}))
        .kind
        else {
            panic!()
        };
        assert!(bind.recursive && bind.nofollow && !bind.copy_symlink);
        bind.source.display().to_string()
    };
    assert_eq!(source("/abs"), "/abs");
    assert_eq!(source("a/b"), "/bundle/a/b");
    let one = |mount: Value| move |c: &mut Value| c["mounts"] = json!([mount]);
    error(one(json!({"destination": "/x", "options": ["bind"]})), "mounts[0].source: required");
    error(
        one(json!({"destination": "/x", "source": "/y", "options": ["rbind", "ro", "nosiud"]})),
        "mounts[0].options[2]: \"nosiud\" is unknown",
    );
    let size = json!({"destination": "/x", "source": "/y", "options": ["rbind", "ro", "size=1"]});
    let (_, warnings) = good(one(size));
    assert!(warnings[0].contains("options[2]: \"size=1\" belongs to the file system"));
    error(one(json!({"destination": "/x", "source": "/y"})), "mounts[0].type: required");
    error(
        one(json!({"destination": "/x", "type": "bind", "source": "/y"})),
        "mounts[0].options: a mount of type \"bind\" needs",
    );
    error(
        one(json!({"destination": "/x", "type": "proc", "options": ["tmpcopyup"]})),
        "mounts[0].options[0]: \"tmpcopyup\" is for tmpfs",
    );
    error(
        one(json!({"destination": "/x", "source": "/y", "options": ["bind", "tmpcopyup"]})),
        "mounts[0].options[1]: \"tmpcopyup\" is for a new tmpfs",
    );
}

#[test]
fn rbind_counts_wherever_it_stands() {
    for (options, recursive) in [
        (json!(["rbind", "bind"]), true),
        (json!(["bind", "rbind"]), true),
        (json!(["rbind", "rprivate", "ro", "bind"]), true),
        (json!(["bind", "bind"]), false),
    ] {
        let Kind::Bind(bind) =
            mount(json!({"destination": "/x", "type": "bind", "source": "/y", "options": options}))
                .kind
        else {
            panic!()
        };
        assert_eq!(bind.recursive, recursive, "{options}");
    }
}

#[test]
fn a_bind_is_exact_if_an_option_names_a_flag_of_it() {
    let exact = |options: &[&str]| {
        let Kind::Bind(bind) = bind(options).kind else { panic!() };
        bind.exact
    };
    for name in ["ro", "rw", "exec", "nodev", "suid", "noatime", "atime", "symfollow", "nodiratime"]
    {
        assert!(exact(&[name]) && exact(&[name, "rro", "private"]), "{name}");
    }
    for name in ["rro", "rrw", "rnosuid", "rprivate", "slave", "defaults", "rnoatime", "sync"] {
        assert!(!exact(&[name]), "{name}");
    }
}

#[test]
fn several_options_in_one_string() {
    let one = |options: Value| {
        move |c: &mut Value| {
            c["mounts"] = json!([{"destination": "/x", "type": "tmpfs", "source": "/y",
                "options": options}]);
        }
    };
    for (options, wanted) in [
        (
            json!(["rbind,ro"]),
            "mounts[0].options[0]: \"rbind,ro\" is several options (each is a string",
        ),
        (json!(["bind", "ro, nosuid"]), "mounts[0].options[1]: \"ro, nosuid\" is several options"),
        (json!(["bind", "size=1,ro"]), "mounts[0].options[1]: \"size=1,ro\" is several options"),
        (json!(["nodev,size=1k"]), "mounts[0].options[0]: \"nodev,size=1k\" is several options"),
    ] {
        error(one(options), wanted);
    }
    for options in ["ro,size=1k", "sync,mode=700", "size=1k,mode=700", r#"context="a:b:c1,c2""#] {
        good(one(json!([options])));
    }
    for kind in ["none", "bind"] {
        error(
            |c| c["mounts"] = json!([{"destination": "/x", "type": kind, "source": "/y"}]),
            &format!("mounts[0].options: a mount of type \"{kind}\" needs the option \"bind\""),
        );
    }
}

#[test]
fn destinations() {
    let (rootfs, warnings) =
        good(|c| c["mounts"] = json!([{"destination": "a/./b//../c", "type": "tmpfs"}]));
    assert_eq!(rootfs.mounts[0].destination, "/a/c");
    assert!(warnings[0].starts_with("mounts[0].destination: \"a/./b//../c\" is relative"));
    error(
        |c| c["mounts"] = json!([{"destination": "", "type": "tmpfs"}]),
        "mounts[0].destination:",
    );

    let at = |destination: &str, kind: &str, options: Value| {
        let mount =
            json!({"destination": destination, "type": kind, "source": "/s", "options": options});
        planned(|c| c["mounts"] = json!([mount]))
            .map(|_| ())
            .map_err(|findings| findings.errors()[0].to_string())
    };
    for path in "/proc/cpuinfo /proc/diskstats /proc/meminfo /proc/stat /proc/swaps /proc/uptime \
        /proc/loadavg /proc/slabinfo /proc/sys/kernel/ns_last_pid /proc/sys/crypto/fips_enabled \
        /proc/net/dev /proc"
        .split_whitespace()
    {
        assert_eq!(at(path, "", json!(["bind"])), Ok(()), "{path}");
    }
    assert_eq!(at("/proc", "proc", json!([])), Ok(()));
    assert_eq!(at("/process", "tmpfs", json!([])), Ok(()));
    for path in ["/proc/self", "/proc/sys", "/x/../proc/1/attr", "proc/keys", "/proc/uptime/x"] {
        let message = at(path, "", json!(["bind"])).unwrap_err();
        assert!(message.contains("inside /proc"), "{message}");
        assert!(at(path, "tmpfs", json!([])).is_err());
    }
    for kind in ["tmpfs", "sysfs", "cgroup", "overlay"] {
        let message = at("/proc/", kind, json!([])).unwrap_err();
        assert!(message.contains("takes only a mount of type proc"), "{message}");
    }
}

#[test]
fn id_mappings() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let with = |options: Value, uids: bool, gids: bool, userns: Option<Value>| {
        let map = map.clone();
        move |c: &mut Value| {
            let mut mount = json!({"destination": "/x", "source": "/y", "options": options});
            if uids {
                mount["uidMappings"] = map.clone();
            }
            if gids {
                mount["gidMappings"] = map.clone();
            }
            c["mounts"] = json!([mount]);
            if let Some(userns) = userns {
                c["linux"]["namespaces"].as_array_mut().unwrap().push(userns);
                c["linux"]["uidMappings"] = map.clone();
                c["linux"]["gidMappings"] = map;
            }
        }
    };
    let seen = |change: &dyn Fn() -> Rootfs| change().mounts.remove(0).idmap;
    let idmap = seen(&|| good(with(json!(["bind", "idmap"]), true, true, None)).0).unwrap();
    assert_eq!(idmap.reach, Reach::One);
    assert!(matches!(idmap.maps, Maps::Given(ref uids, _) if uids[0].host_id == 1000));
    // Without the option the mapping still holds.
    assert!(seen(&|| good(with(json!(["bind"]), true, true, None)).0).is_some());
    let new = json!({"type": "user"});
    let idmap = seen(&|| good(with(json!(["rbind", "ridmap"]), false, false, Some(new.clone()))).0)
        .unwrap();
    assert_eq!(idmap.reach, Reach::All);
    assert!(matches!(idmap.maps, Maps::Given(..)));
    let joined = json!({"type": "user", "path": "/proc/1/ns/user"});
    let idmap =
        seen(&|| good(with(json!(["bind", "idmap"]), false, false, Some(joined.clone()))).0)
            .unwrap();
    assert_eq!(idmap.maps, Maps::JoinedUserNamespace);
    assert!(seen(&|| good(with(json!(["bind"]), false, false, Some(new.clone()))).0).is_none());

    error(with(json!(["bind"]), true, false, None), "mounts[0].gidMappings: uidMappings and");
    error(with(json!(["bind"]), false, true, None), "mounts[0].uidMappings: uidMappings and");
    error(
        with(json!(["bind", "idmap"]), false, false, None),
        "mounts[0].options: \"idmap\" without uidMappings and gidMappings needs a user namespace",
    );
}

#[test]
fn devices() {
    let list = |devices: Value| move |c: &mut Value| c["linux"]["devices"] = devices;
    let (rootfs, _) = good(|_| ());
    let paths: Vec<&str> = rootfs.devices.iter().map(|device| device.path.as_str()).collect();
    assert_eq!(
        paths,
        ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]
    );
    assert!(rootfs.devices.iter().all(|device| device.mode == 0o666));

    let (rootfs, _) = good(list(json!([
        {"type": "u", "path": "/dev//a", "major": 1, "minor": 2},
        {"type": "b", "path": "/srv/b", "major": 3, "minor": 4, "fileMode": 0o60660, "uid": 5, "gid": 6},
        {"type": "p", "path": "/c"},
        {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600},
        {"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2},
    ])));
    assert_eq!(rootfs.devices.len(), 9, "a default is replaced, ptmx is the container's own");
    assert_eq!((rootfs.devices[0].mode, rootfs.devices[0].index), (0o600, Some(3)));
    assert_eq!(rootfs.devices[6].kind, DeviceKind::Char(1, 2));
    assert_eq!(rootfs.devices[6].path, "/dev/a");
    assert_eq!(rootfs.devices[7].kind, DeviceKind::Block(3, 4));
    assert_eq!((rootfs.devices[7].mode, rootfs.devices[7].uid), (0o660, 5));
    assert_eq!(rootfs.devices[8].kind, DeviceKind::Fifo);

    for (device, wanted) in [
        (json!({"type": "x", "path": "/a", "major": 1, "minor": 1}), "type: \"x\" is none of"),
        (json!({"type": "c", "path": "/a", "minor": 1}), "major: required"),
        (json!({"type": "b", "path": "/a", "major": 1}), "minor: required"),
        (json!({"type": "c", "path": "/a", "major": -1, "minor": 1}), "major: -1 is out of range"),
        (json!({"type": "p", "path": "a"}), "path: \"a\" must be an absolute path"),
        (json!({"type": "p", "path": "/dev/../../a"}), "path: \"/dev/../../a\" must name a file"),
        (json!({"type": "p", "path": "/"}), "path: \"/\" must name a file"),
    ] {
        error(list(json!([device])), &format!("linux.devices[0].{wanted}"));
    }
    error(
        list(json!([
            {"type": "c", "path": "/a", "major": 1, "minor": 1},
            {"type": "c", "path": "/a", "major": 1, "minor": 2},
        ])),
        "linux.devices[1].path: /a is another device in linux.devices[0]",
    );
    let (_, warnings) =
        good(list(json!([{"type": "p", "path": "/a"}, {"type": "p", "path": "/a"}])));
    assert!(warnings[0].starts_with("linux.devices[1].path"), "{warnings:?}");
}

#[test]
fn the_root() {
    assert_eq!(good(|_| ()).0.path, Path::new("/bundle/rootfs"));
    assert_eq!(good(|c| c["root"]["path"] = json!("/r")).0.path, Path::new("/r"));
    error(|c| c["root"] = Value::Null, "root: required");
    error(|c| c["root"]["path"] = json!(""), "root.path: must not be empty");
    let dev = |options: Value| {
        good(|c| c["mounts"] = json!([{"destination": "/dev", "type": "tmpfs", "source": "/dev", "options": options}]))
            .0
            .populate_dev
    };
    assert!(dev(json!([])) && !dev(json!(["rbind"])));
}

#[test]
fn r151_owners_of_devices_have_ids_on_the_host() {
    let device = |owner: Value| {
        let mut entry = json!({"type": "c", "path": "/a", "major": 1, "minor": 1});
        entry.as_object_mut().unwrap().extend(owner.as_object().unwrap().clone());
        let map = json!([{"containerID": 1, "hostID": 100_000, "size": 10}]);
        let (rootfs, _) = good(|c| {
            c["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}]);
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
            c["linux"]["devices"] = json!([entry]);
        });
        rootfs.devices[6].on_host
    };
    assert_eq!(device(json!({"uid": 1, "gid": 10})), Some((100_000, 100_009)));
    assert_eq!(device(json!({"uid": 0, "gid": 1})), None);
    assert_eq!(device(json!({"uid": 1, "gid": 11})), None);
    assert_eq!(device(json!({})), Some((0, 0)), "nobody is root there");
}

#[test]
fn masked_and_readonly_paths() {
    for field in ["maskedPaths", "readonlyPaths"] {
        error(
            |c| c["linux"][field] = json!(["/ok", "bad"]),
            &format!("linux.{field}[1]: \"bad\" must be an absolute path"),
        );
    }
    let (rootfs, _) = good(|c| c["linux"]["maskedPaths"] = json!(["/proc//keys/"]));
    assert_eq!(rootfs.masked_paths, ["/proc/keys"]);
    for path in ["/", "/.", "//", "/a/.."] {
        error(
            |c| c["linux"]["maskedPaths"] = json!(["/ok", path]),
            &format!("linux.maskedPaths[1]: {path:?} is the root, which cannot be hidden (name"),
        );
        let (rootfs, _) = good(|c| c["linux"]["readonlyPaths"] = json!([path]));
        assert_eq!(rootfs.readonly_paths, ["/"]);
    }
}

#[test]
fn without_a_mount_namespace() {
    let none = |c: &mut Value| c["linux"]["namespaces"] = json!([]);
    assert!(good(|_| {}).0.is_mounted() && !good(none).0.is_mounted());
    let some: [fn(&mut Value); 4] = [
        |c| c["mounts"] = json!([{"destination": "/x", "type": "tmpfs"}]),
        |c| c["root"]["readonly"] = json!(true),
        |c| c["linux"]["maskedPaths"] = json!(["/a"]),
        |c| c["linux"]["rootfsPropagation"] = json!("private"),
    ];
    for one in some {
        let (rootfs, _) = good(|c| {
            none(c);
            one(c);
        });
        assert!(rootfs.is_mounted() && !rootfs.mount_namespace);
    }
    let seen = errors(|c| {
        c["linux"]["namespaces"] = json!([{"type": "user"}]);
        c["root"]["path"] = json!("/");
        c["mounts"] = json!([{"destination": "/", "type": "tmpfs"}]);
    });
    let fields: Vec<&str> = seen.iter().filter_map(|e| e.split(": ").next()).collect();
    assert_eq!(fields, ["mounts", "root.path", "mounts[0]"]);
}

#[test]
fn all_findings_at_once() {
    let seen = errors(|c| {
        c["root"] = Value::Null;
        c["mounts"] = json!([{"destination": "", "type": "tmpfs"}, {"destination": "/x"}]);
        c["linux"]["devices"] = json!([{"type": "?", "path": "/a"}]);
    });
    assert_eq!(seen.len(), 4, "{seen:?}");
}
