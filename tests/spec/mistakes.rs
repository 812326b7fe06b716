//! Mistakes that people make in a config.json that they write by hand. Each is told in one
//! line that names the field, the rule and the way out, in words of people who do not know
//! what the program is written in. Those that only the host can tell are in
//! `integration/plan.rs`.

use super::leaves::{field, maximal, with};
use super::preview;
use pinnace::error::brief;
use pinnace::spec::known::unknown;
use pinnace::spec::{self, Spec};
use serde_json::{Value, json};

/// Words of the parser and of Rust.
const FOREIGN: [&str; 22] = [
    "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "usize", "f64", "struct", "sequence",
    "map", "unit", "integer", "floating", "boolean", "tuple", "enum", "variant", "eof", "ident",
];

/// A configuration without a mistake.
fn base() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "cwd": "/", "args": ["sh"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/srv", "source": "/srv", "options": ["rbind"]},
        ],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    })
}

/// All that `plan` tells of a text but for what it sees on the host: `field: rule`.
fn told(text: &[u8]) -> Vec<String> {
    let spec: Spec = match spec::parse("config.json", text) {
        Err(error) => return vec![brief(&error.to_string())],
        Ok(spec) => spec,
    };
    let document = preview(&spec).to_json();
    let findings = document["findings"].as_array().unwrap().iter();
    let is_default = |field: &Value| field == "default filesystems" || field == "default devices";
    let findings = findings.filter(|finding| !is_default(&finding["field"]));
    let findings = findings.map(|finding| {
        format!("{}: {}", finding["field"].as_str().unwrap(), finding["rule"].as_str().unwrap())
    });
    let keys = unknown(std::str::from_utf8(text).unwrap(), "");
    findings.chain(keys.iter().map(|key| key.told().to_string())).collect()
}

/// Lays an object over another one; `null` takes a key away (RFC 7396).
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (name, patch) in patch {
        match patch {
            Value::Null => drop(value.as_object_mut().unwrap().remove(name)),
            _ => merge(&mut value[name.as_str()], patch),
        }
    }
}

/// Whether a message is fit to be read, and why not.
fn unfit(message: &str) -> Option<String> {
    let lower = message.to_lowercase();
    let mut words = lower.split(|letter: char| !letter.is_alphanumeric());
    if let Some(word) = words.find(|word| FOREIGN.contains(word)) {
        return Some(format!("{word:?} in {message}"));
    }
    let long = message.len() > 1200 || message.contains('\n');
    long.then(|| format!("no short line: {message}"))
}

/// `text => what its one message holds`.
const TEXTS: &[(&[u8], &[&str])] = &[
    (b"", &["config.json: the file is empty"]),
    (b"[]", &["expected an object", "found a list"]),
    (b"[{\"ociVersion\": \"1.0.2\"}]", &["expected an object", "found a list"]),
    (b"null", &["expected an object", "found null"]),
    (b"\"config\"", &["expected an object", "found a string"]),
    (b"\xef\xbb\xbf{}", &["line 1 column 1: a byte order mark", "save it without"]),
    (b"\xff\xfe{\0}\0", &["not UTF-8 at byte 0", "UTF-16: save it as UTF-8"]),
    (b"{\"hostname\": \"\xe4\"}", &["not UTF-8 at byte 14"]),
    (b"// mine\n{}", &["line 1 column 1", "JSON has no comments"]),
    (b"{\n // mine\n\"hostname\": \"x\"}", &["line 2 column 2", "JSON has no comments"]),
    (b"{\"hostname\": \"x\" /* mine */}", &["JSON has no comments"]),
    (b"{\"ociVersion\": \"1.0.2\"\n} # mine", &["line 2", "JSON has no comments"]),
    (b"{'hostname': 'x'}", &["a key in double quotes", "strings stand in double quotes"]),
    (b"{\"hostname\": 'x'}", &["hostname", "strings stand in double quotes"]),
    (b"{\"hostname\": \xe2\x80\x9cx\xe2\x80\x9d}", &["hostname", "plain double quotes"]),
    (b"{hostname: \"x\"}", &["a key in double quotes"]),
    (b"{\"ociVersion\": \"1.0.2\",}", &["line 1 column 24", "trailing comma"]),
    (b"{\"process\": {\"args\": [\"sh\",]}}", &["process.args[1]", "trailing comma"]),
    (b"{\"ociVersion\": \"1.0.2\" \"root\": {}}", &["expected `,` or `}`"]),
    (b"{\"ociVersion\" \"1.0.2\"}", &["expected `:`"]),
    (
        b"{\"process\": {\"terminal\": True}}",
        &["process.terminal", "true is written in lower case"],
    ),
    (b"{\"process\": {\"terminal\": tru}}", &["process.terminal", "expected true, false or null"]),
    (b"{\"hostname\": None}", &["hostname", "nothing is written null"]),
    (b"{\"process\": {\"args\": [\"sh\"", &["process.args", "before the closing ]"]),
    (b"{\"process\": {\"args\": [\"sh\"]", &["process", "before the closing }"]),
    (b"{\"hostname\": \"x", &["hostname", "its second quote is missing"]),
    (b"{\"hostname\":", &["hostname", "where a value is expected"]),
    (b"{\"ociVersion\": \"1.0.2\"} {}", &["more behind the end of the object"]),
    (b"{\"process\": {\"user\": {\"umask\": 022}}}", &["process.user.umask", "octal 022 is 18"]),
    (b"{\"hostname\": \"a\nb\"}", &["hostname", "a line break"]),
    (b"{\"hostname\": \"a\\d\"}", &["hostname", "write \\\\ for a backslash"]),
    (b"{\"hostname\": \"a\", \"hostname\": \"b\"}", &["hostname: stands there twice"]),
    (b"{\"process\": {\"cwd\": \"/\", \"cwd\": \"/\"}}", &["process.cwd: stands there twice"]),
];

#[test]
fn a_mistake_in_the_text_is_told_in_one_line_with_its_place_and_the_way_out() {
    let mut wrong = Vec::new();
    for (text, words) in TEXTS {
        let all = told(text);
        let shown = String::from_utf8_lossy(text);
        let fits = |message: &&String| words.iter().all(|word| message.contains(word));
        if all.len() != 1 || !all.iter().any(|message| fits(&message)) {
            wrong.push(format!("{shown}: wanted {words:?} in {all:#?}"));
        }
        wrong.extend(all.iter().filter_map(|message| unfit(message)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `patch => what one message holds`: values of another type.
const TYPES: &[(&str, &[&str])] = &[
    (r#"{"ociVersion": 1.0}"#, &["ociVersion", "string in double quotes", "write \"1.0\""]),
    (r#"{"root": "rootfs"}"#, &["root: expected an object with path, readonly, found the string"]),
    (r#"{"root": {"readonly": "yes"}}"#, &["root.readonly", "true or false", "write true"]),
    (r#"{"process": {"terminal": "no"}}"#, &["process.terminal", "write false"]),
    (r#"{"process": {"terminal": 1}}"#, &["process.terminal", "found the number 1", "write true"]),
    (
        r#"{"process": {"args": "sh -c id"}}"#,
        &["process.args: expected a list of words", "write [\"sh\", \"-c\", \"id\"]"],
    ),
    (r#"{"process": {"args": ["sleep", 1]}}"#, &["process.args[1]", "write \"1\""]),
    (r#"{"process": {"args": [["sh"]]}}"#, &["process.args[0]", "found a list"]),
    (r#"{"process": {"cwd": ["/"]}}"#, &["process.cwd:", "found a list"]),
    (r#"{"process": {"env": {"A": "b"}}}"#, &["process.env", "list of strings", "found an object"]),
    (r#"{"process": {"env": ["A=b", 7]}}"#, &["process.env[1]", "write \"7\""]),
    (
        r#"{"process": {"capabilities": ["CAP_KILL"]}}"#,
        &[
            "process.capabilities: expected an object with bounding, effective, permitted, inheritable, ambient, found a list",
        ],
    ),
    (
        r#"{"process": {"capabilities": {"bounding": "CAP_KILL"}}}"#,
        &["process.capabilities.bounding", "write [\"CAP_KILL\"]"],
    ),
    (r#"{"process": {"user": "root"}}"#, &["process.user: expected an object with uid, gid"]),
    (r#"{"process": {"user": {"uid": "root"}}}"#, &["process.user.uid", "`id -u root`"]),
    (r#"{"process": {"user": {"gid": "staff"}}}"#, &["process.user.gid", "`getent group staff`"]),
    (r#"{"process": {"user": {"uid": "0"}}}"#, &["process.user.uid", "write 0, without quotes"]),
    (r#"{"process": {"user": {"uid": -1}}}"#, &["process.user.uid", "from 0 to 4294967295", "-1"]),
    (r#"{"process": {"user": {"umask": "022"}}}"#, &["process.user.umask", "octal 022 is 18"]),
    (r#"{"process": {"user": {"additionalGids": "10"}}}"#, &["additionalGids", "write [10]"]),
    (
        r#"{"process": {"oomScoreAdj": "500"}}"#,
        &["process.oomScoreAdj", "write 500, without quotes"],
    ),
    (
        r#"{"process": {"consoleSize": [24, 80]}}"#,
        &["process.consoleSize: expected an object with height, width"],
    ),
    (
        r#"{"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": "unlimited"}]}}"#,
        &["process.rlimits[0].hard", "no limit is 18446744073709551615"],
    ),
    (
        r#"{"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": -1, "hard": 0}]}}"#,
        &["process.rlimits[0].soft", "no limit is 18446744073709551615"],
    ),
    (
        r#"{"mounts": {"destination": "/x"}}"#,
        &["mounts: expected a list of objects", "write [{ ... }]"],
    ),
    (
        r#"{"mounts": ["/x"]}"#,
        &["mounts[0]: expected an object with destination, type, source, options"],
    ),
    (
        r#"{"mounts": [{"destination": "/x", "options": "ro, nosuid"}]}"#,
        &["mounts[0].options", "write [\"ro\", \"nosuid\"]"],
    ),
    (r#"{"hooks": []}"#, &["hooks: expected an object with prestart", "found a list"]),
    (r#"{"hooks": {"poststop": {"path": "/x"}}}"#, &["hooks.poststop", "write [{ ... }]"]),
    (
        r#"{"hooks": {"poststop": [{"path": "/x", "timeout": "10s"}]}}"#,
        &["hooks.poststop[0].timeout", "a number of seconds, such as 10"],
    ),
    (r#"{"annotations": {"a": true}}"#, &["annotations.a", "write \"true\""]),
    (r#"{"linux": {"namespaces": {"type": "pid"}}}"#, &["linux.namespaces", "write [{ ... }]"]),
    (
        r#"{"linux": {"namespaces": ["pid"]}}"#,
        &["linux.namespaces[0]: expected an object with type, path"],
    ),
    (r#"{"linux": {"sysctl": {"net.core.somaxconn": 1}}}"#, &["linux.sysctl", "write \"1\""]),
    (r#"{"linux": {"maskedPaths": "/x"}}"#, &["linux.maskedPaths", "write [\"/x\"]"]),
    (r#"{"linux": {"seccomp": []}}"#, &["linux.seccomp: expected an object with defaultAction"]),
    (
        r#"{"linux": {"netDevices": {"eth0": "eth1"}}}"#,
        &["linux.netDevices.eth0", "expected an object"],
    ),
    (
        r#"{"linux": {"uidMappings": [{"containerID": "0", "hostID": 0, "size": 1}]}}"#,
        &["linux.uidMappings[0].containerID", "write 0, without quotes"],
    ),
    (
        r#"{"linux": {"devices": [{"type": "c", "path": "/x", "major": 1, "minor": 3, "fileMode": "0600"}]}}"#,
        &["linux.devices[0].fileMode", "decimal number", "octal 0600 is 384"],
    ),
    (
        r#"{"linux": {"resources": {"memory": {"limit": "512m"}}}}"#,
        &["linux.resources.memory.limit", "a number of bytes", "write 536870912"],
    ),
    (
        r#"{"linux": {"resources": {"memory": {"limit": "lots"}}}}"#,
        &["linux.resources.memory.limit", "a number of bytes, such as 536870912"],
    ),
    (
        r#"{"linux": {"resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": "1 GiB"}]}}}"#,
        &["linux.resources.hugepageLimits[0].limit", "write 1073741824"],
    ),
    (
        r#"{"linux": {"resources": {"pids": {"limit": 1.5}}}}"#,
        &["pids.limit", "a whole number", "1.5"],
    ),
    (r#"{"linux": {"resources": {"cpu": {"shares": -5}}}}"#, &["cpu.shares", "0 or more", "-5"]),
    (r#"{"linux": {"resources": {"cpu": {"cpus": 2}}}}"#, &["cpu.cpus", "write \"2\""]),
    (
        r#"{"linux": {"resources": {"blockIO": {"weight": 70000}}}}"#,
        &["blockIO.weight", "from 0 to 65535"],
    ),
    (
        r#"{"linux": {"resources": {"unified": {"memory.max": 1}}}}"#,
        &["unified.memory.max", "write \"1\""],
    ),
];

/// `patch => what one message holds`: values that mean nothing, and what is missing.
const VALUES: &[(&str, &[&str])] = &[
    (r#"{"ociVersion": null}"#, &["ociVersion: is missing"]),
    (r#"{"ociVersion": "1.0"}"#, &["ociVersion", "three numbers"]),
    (r#"{"root": null}"#, &["root: required"]),
    (r#"{"root": {"path": null}}"#, &["root.path: is missing"]),
    (
        r#"{"process": {"cwd": null}}"#,
        &["process.cwd: is missing", "an absolute path, such as \"/\""],
    ),
    (r#"{"process": {"cwd": "etc"}}"#, &["process.cwd", "\"etc\" is not an absolute path"]),
    (r#"{"process": {"args": []}}"#, &["process.args: is empty", "name at least a program"]),
    (r#"{"process": {"env": ["A"]}}"#, &["process.env[0]", "\"A\" is not of the form NAME=value"]),
    (r#"{"process": {"user": {"uid": null}}}"#, &["process.user.uid: is required; taken for 0"]),
    (r#"{"process": {"user": {"username": "nobody"}}}"#, &["process.user.username", "user 0"]),
    (
        r#"{"process": {"capabilities": {"bounding": ["NET_ADMIN"]}}}"#,
        &["process.capabilities.bounding", "did you mean \"CAP_NET_ADMIN\"?"],
    ),
    (
        r#"{"process": {"capabilities": {"bounding": ["CAP_NET_ADMN"]}}}"#,
        &["process.capabilities.bounding", "did you mean \"CAP_NET_ADMIN\"?"],
    ),
    (
        r#"{"process": {"capabilities": {"effective": ["CAP_KILL"]}}}"#,
        &[
            "process.capabilities.effective: cannot grant CAP_KILL: not in process.capabilities.permitted",
        ],
    ),
    (
        r#"{"process": {"capabilities": {"inheritable": ["CAP_KILL"]}}}"#,
        &["process.capabilities.inheritable: cannot grant CAP_KILL", "bounding"],
    ),
    (
        r#"{"process": {"rlimits": [{"type": "NOFILE", "soft": 1, "hard": 1}]}}"#,
        &["process.rlimits[0].type", "did you mean \"RLIMIT_NOFILE\"?"],
    ),
    (
        r#"{"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]}}"#,
        &["process.rlimits[0].soft: 2 is above the hard limit 1"],
    ),
    (
        r#"{"process": {"scheduler": {"policy": "SCHED_FIFOO"}}}"#,
        &["process.scheduler.policy", "did you mean \"SCHED_FIFO\"?"],
    ),
    (
        r#"{"process": {"ioPriority": {"class": "BE", "priority": 4}}}"#,
        &["process.ioPriority.class", "did you mean \"IOPRIO_CLASS_BE\"?"],
    ),
    (r#"{"process": {"oomScoreAdj": 5000}}"#, &["process.oomScoreAdj", "-1000 and 1000"]),
    (r#"{"hostname": "x"}"#, &["hostname", "add {\"type\": \"uts\"} to linux.namespaces"]),
    (r#"{"mounts": [{"type": "tmpfs"}]}"#, &["mounts[0].destination: is missing"]),
    (
        r#"{"mounts": [{"destination": "/x", "source": "/x", "options": ["bind", "nosiud"]}]}"#,
        &["mounts[0].options[1]", "did you mean \"nosuid\"?"],
    ),
    (
        r#"{"mounts": [{"destination": "/x", "source": "/x", "options": ["rbind,ro"]}]}"#,
        &["mounts[0].options[0]", "each is a string of its own: [\"rbind\", \"ro\"]"],
    ),
    (
        r#"{"mounts": [{"destination": "/x", "type": "bind", "source": "/x"}]}"#,
        &["mounts[0].options", "needs the option \"bind\" or \"rbind\""],
    ),
    (
        r#"{"mounts": [{"destination": "x", "type": "tmpfs"}]}"#,
        &["mounts[0].destination", "taken from /"],
    ),
    (
        r#"{"mounts": [{"destination": "/x", "options": ["bind"]}]}"#,
        &["mounts[0].source: required"],
    ),
    (r#"{"hooks": {"prestart": [{"path": "x"}]}}"#, &["hooks.prestart[0].path", "is not absolute"]),
    (
        r#"{"hooks": {"prestart": [{"path": "/x", "timeout": 0}]}}"#,
        &["hooks.prestart[0].timeout", "is not greater than zero"],
    ),
    (
        r#"{"linux": {"namespaces": [{"type": "mount"}, {"type": "net"}]}}"#,
        &["linux.namespaces[1].type", "did you mean \"network\"?"],
    ),
    (
        r#"{"linux": {"namespaces": [{"type": "mount"}, {"type": "pids"}]}}"#,
        &["linux.namespaces[1].type", "did you mean \"pid\"?"],
    ),
    (
        r#"{"linux": {"namespaces": [{"type": "mount"}, {"type": "nonsense"}]}}"#,
        &["linux.namespaces[1].type", "one of user, pid,"],
    ),
    (
        r#"{"linux": {"namespaces": [{"type": "mount"}, {"type": "mount"}]}}"#,
        &["linux.namespaces[1].type", "listed twice"],
    ),
    (
        r#"{"linux": {"namespaces": [{"type": "mount"}, {"type": "pid", "path": "ns"}]}}"#,
        &["linux.namespaces[1].path", "not absolute"],
    ),
    (
        r#"{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}}"#,
        &["linux.uidMappings", "\"containerID\": 0"],
    ),
    (
        r#"{"linux": {"uidMappings": [{"containerID": 0, "hostID": 0, "size": 0}]}}"#,
        &["linux.uidMappings[0].size: is 0"],
    ),
    (
        r#"{"linux": {"timeOffsets": {"monotonc": {"secs": 1}}}}"#,
        &["linux.timeOffsets", "did you mean \"monotonic\"?"],
    ),
    (
        r#"{"linux": {"devices": [{"type": "char", "path": "/dev/x", "major": 1, "minor": 3}]}}"#,
        &["linux.devices[0].type", "none of c, b, u, p"],
    ),
    (
        r#"{"linux": {"rootfsPropagation": "rshare"}}"#,
        &["linux.rootfsPropagation", "did you mean \"rshared\"?"],
    ),
    (r#"{"linux": {"maskedPaths": ["proc/keys"]}}"#, &["linux.maskedPaths[0]", "an absolute path"]),
    (r#"{"linux": {"sysctl": {"vm.swappiness": "1"}}}"#, &["linux.sysctl", "set it on the host"]),
    (
        r#"{"linux": {"personality": {"domain": "linux32"}}}"#,
        &["linux.personality.domain", "did you mean \"LINUX32\"?"],
    ),
    (
        r#"{"linux": {"memoryPolicy": {"mode": "BIND", "nodes": "0"}}}"#,
        &["linux.memoryPolicy.mode", "did you mean \"MPOL_BIND\"?"],
    ),
    (
        r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALOW"}}}"#,
        &["linux.seccomp.defaultAction", "did you mean \"SCMP_ACT_ALLOW\"?"],
    ),
    (
        r#"{"linux": {"seccomp": {"defaultAction": "allow"}}}"#,
        &["linux.seccomp.defaultAction", "did you mean \"SCMP_ACT_ALLOW\"?"],
    ),
    (
        r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86_64"]}}}"#,
        &["linux.seccomp.architectures[0]", "did you mean \"SCMP_ARCH_X86_64\"?"],
    ),
    (
        r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [ {"names": ["open"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "CMP_EQ"}]}]}}}"#,
        &["linux.seccomp.syscalls[0].args[0].op", "did you mean \"SCMP_CMP_EQ\"?"],
    ),
    (r#"{"linux": {"resources": {"memory": {"limit": -2}}}}"#, &["linux.resources.memory.limit"]),
    (r#"{"linux": {"resources": {"pids": {"limit": -5}}}}"#, &["linux.resources.pids.limit", "-5"]),
];

/// `patch => what one message holds`: keys that nobody knows.
const KEYS: &[(&str, &[&str])] = &[
    (r#"{"hostName": "x"}"#, &["hostName: is unknown", "did you mean \"hostname\"?"]),
    (r#"{"mount": []}"#, &["mount: is unknown", "did you mean \"mounts\"?"]),
    (
        r#"{"noNewPrivileges": true}"#,
        &["noNewPrivileges", "did you mean \"process.noNewPrivileges\"?"],
    ),
    (r#"{"comment": "mine"}"#, &["comment: is unknown, and so ignored"]),
    (r#"{"process": {"capabilites": {}}}"#, &["process.capabilites", "\"capabilities\"?"]),
    (
        r#"{"process": {"noNewPrivilege": true}}"#,
        &["process.noNewPrivilege", "\"noNewPrivileges\"?"],
    ),
    (r#"{"process": {"arg": ["sh"]}}"#, &["process.arg", "\"args\"?"]),
    (r#"{"process": {"user": {"UID": 7}}}"#, &["process.user.UID", "\"uid\"?"]),
    (r#"{"hooks": {"preStart": []}}"#, &["hooks.preStart", "\"prestart\"?"]),
    (r#"{"linux": {"namespace": []}}"#, &["linux.namespace", "\"namespaces\"?"]),
    (r#"{"linux": {"memory": {"limit": 1}}}"#, &["linux.memory", "\"linux.resources.memory\"?"]),
    (
        r#"{"linux": {"resources": {"memory": {"limits": 1}}}}"#,
        &["linux.resources.memory.limits", "\"limit\"?"],
    ),
    (
        r#"{"linux": {"resources": {"cpu": {"cpu": "0"}}}}"#,
        &["linux.resources.cpu.cpu", "\"cpus\"?"],
    ),
    (
        r#"{"mounts": [{"destination": "/x", "type": "tmpfs", "option": ["ro"]}]}"#,
        &["mounts[0].option", "\"options\"?"],
    ),
];

#[test]
fn a_mistake_in_a_value_or_a_key_is_told_in_one_line_with_its_field_and_the_way_out() {
    assert_eq!(told(base().to_string().as_bytes()), [""; 0]);
    let mut wrong = Vec::new();
    let count = TEXTS.len() + TYPES.len() + VALUES.len() + KEYS.len();
    assert!(count > 86, "{count}");
    for (patch, words) in [TYPES, VALUES, KEYS].into_iter().flatten() {
        let mut config = base();
        merge(&mut config, &serde_json::from_str(patch).unwrap());
        let all = told(config.to_string().as_bytes());
        let fits = |message: &String| words.iter().all(|word| message.contains(word));
        if !all.iter().any(fits) {
            wrong.push(format!("{patch}: wanted {words:?} in {all:#?}"));
        }
        wrong.extend(all.iter().filter_map(|message| unfit(message)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the spec wants ignored is in nobody's way.
#[test]
fn keys_of_other_platforms_and_annotations_are_no_mistakes() {
    let mut config = base();
    let others = json!({
        "windows": {"layerFolders": ["x"]}, "solaris": {"milestone": "x"}, "vm": {"kernel": {"path": "/x"}},
        "zos": {"namespaces": []}, "freebsd": {"devices": []}, "annotations": {"any.key": "x"},
        "process": {"commandLine": "x"},
    });
    merge(&mut config, &others);
    assert_eq!(told(config.to_string().as_bytes()), [""; 0]);
}

/// Each property of the schema with each wrong type: no word of Rust, and no long line.
#[test]
fn every_message_of_types_is_in_words_of_people() {
    let (config, leaves) = maximal();
    let mut wrong = Vec::new();
    let long = "x".repeat(100_000);
    for leaf in &leaves {
        for value in [
            json!({"object": 1}),
            json!([[]]),
            json!([{"a": 1}]),
            json!(1.5),
            json!(-1),
            json!(u64::MAX),
            json!(true),
            json!("text"),
            json!(long),
            json!("\"q\" \\ \u{7}"),
        ] {
            let text = with(&config, &leaf.way, value);
            let Err(error) = spec::parse::<Spec>("config.json", text.as_bytes()) else { continue };
            let message = brief(&error.to_string());
            let words = field(&leaf.way);
            // The field's own name may be any word.
            let rest = message.replace(&words, "");
            wrong.extend(unfit(&rest));
            if rest.contains(&"x".repeat(500)) {
                wrong.push(format!("{words}: too much of the value is shown"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
