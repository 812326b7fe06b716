//! The keys that the spec knows. What else stands in a configuration is ignored, as the spec
//! demands (config.md, "Extensibility"), and so is a key with a slip of the finger in it.
//! Only who is asked for advice looks: creating a container costs nothing more.

use crate::error::Error;
use crate::nearest::nearest;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Every key in its place: `{}` holds the keys of an object, or of each in a list, `*` stands
/// before what each member of a map is. Of what has neither nothing is looked at. A test
/// keeps this equal to the spec's own schema.
const KEYS: &str = "ociVersion hostname domainname annotations windows solaris vm zos freebsd \
    root{path readonly} \
    mounts{destination type source options \
        uidMappings{containerID hostID size} gidMappings{containerID hostID size}} \
    process{terminal consoleSize{height width} cwd env args commandLine rlimits{type hard soft} \
        apparmorProfile capabilities{bounding effective permitted inheritable ambient} \
        noNewPrivileges oomScoreAdj scheduler{policy nice priority flags runtime deadline period} \
        selinuxLabel ioPriority{class priority} execCPUAffinity{initial final} \
        user{uid gid umask additionalGids username}} \
    hooks{prestart{path args env timeout} createRuntime{path args env timeout} \
        createContainer{path args env timeout} startContainer{path args env timeout} \
        poststart{path args env timeout} poststop{path args env timeout}} \
    linux{namespaces{type path} sysctl cgroupsPath rootfsPropagation maskedPaths readonlyPaths \
        mountLabel uidMappings{containerID hostID size} gidMappings{containerID hostID size} \
        timeOffsets*{secs nanosecs} devices{type path major minor fileMode uid gid} \
        netDevices*{name} personality{domain flags} memoryPolicy{mode nodes flags} \
        intelRdt{closID schemata l3CacheSchema memBwSchema enableMonitoring} \
        seccomp{defaultAction defaultErrnoRet architectures flags listenerPath listenerMetadata \
            syscalls{names action errnoRet args{index value valueTwo op}}} \
        resources{devices{allow type major minor access} \
            memory{limit reservation swap kernel kernelTCP swappiness disableOOMKiller \
                useHierarchy checkBeforeUpdate} \
            cpu{shares quota burst period realtimeRuntime realtimePeriod cpus mems idle} \
            pids{limit} blockIO{weight leafWeight \
                weightDevice{major minor weight leafWeight} \
                throttleReadBpsDevice{major minor rate} throttleWriteBpsDevice{major minor rate} \
                throttleReadIOPSDevice{major minor rate} \
                throttleWriteIOPSDevice{major minor rate}} \
            hugepageLimits{pageSize limit pagesize} network{classID priorities{name priority}} \
            rdma*{hcaHandles hcaObjects} unified}}";

/// Of so many the neighbours are looked for: whoever has more has made no slip.
const MAX_GUESSES: usize = 100;

/// A key that nobody knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its path, as `mounts[3].option`.
    pub path: String,
    /// The key that may have been meant: of the same object, or with its whole path.
    pub near: Option<String>,
}

impl Unknown {
    /// What becomes of it.
    pub fn told(&self) -> Error {
        Error::new("is unknown, and so ignored").at(&self.path).guess(self.near.as_deref())
    }
}

/// The keys of a document, in JSON, that nobody knows. `place` is where its object stands in a
/// configuration: nothing, or `linux.resources`.
pub fn unknown(document: &str, place: &str) -> Vec<Unknown> {
    let mut found = Vec::new();
    let place = Place { block: below(place), is_map: false, path: "", found: &mut found };
    // Of what is no JSON it has been told by who has parsed it.
    let _is_json = place.deserialize(&mut serde_json::Deserializer::from_str(document)).is_ok();
    found
}

/// The keys of an object of the configuration, by its path.
pub fn keys(place: &str) -> impl Iterator<Item = &'static str> + use<> {
    Keys(below(place)).map(|key| key.name)
}

/// What the braces at a place hold; nothing if there is no such place.
fn below(place: &str) -> &'static str {
    place.split('.').filter(|name| !name.is_empty()).fold(KEYS, |block, name| {
        // Without the place in a list.
        let name = name.split('[').next();
        Keys(block).find(|key| Some(key.name) == name).map_or("", |key| key.below)
    })
}

/// One key of an object.
struct Key<'a> {
    name: &'a str,
    is_map: bool,
    below: &'a str,
}

/// Reads the keys of one object, one by one.
struct Keys<'a>(&'a str);

impl<'a> Iterator for Keys<'a> {
    type Item = Key<'a>;

    fn next(&mut self) -> Option<Key<'a>> {
        let text = self.0.trim_start();
        let end = text.find([' ', '{', '*']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let block = rest.trim_start_matches('*');
        let is_map = block.len() < rest.len();
        let mut depth = 0;
        let length = block.bytes().position(|byte| {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        // A space, or the braces with what is between them.
        let (block, rest) = block.split_at(length.map_or(0, |length| length + 1));
        self.0 = rest;
        let below = block.trim_matches(' ').strip_prefix('{').and_then(|b| b.strip_suffix('}'));
        (!name.is_empty()).then_some(Key { name, is_map, below: below.unwrap_or_default() })
    }
}

/// A value of the document, and the keys that it may have.
struct Place<'a> {
    block: &'static str,
    /// Whether the block is what each member of a map is.
    is_map: bool,
    path: &'a str,
    found: &'a mut Vec<Unknown>,
}

/// Reads as little as there is to know: a document may be large.
impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.block {
            "" => from.deserialize_ignored_any(IgnoredAny).map(drop),
            _ => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for i in 0.. {
            let path = format!("{}[{i}]", self.path);
            let place = Place { path: &path, found: &mut *self.found, ..self };
            if list.next_element_seed(place)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(name) = object.next_key::<String>()? {
            let path = join(self.path, &name);
            let key = match self.is_map {
                true => Some(Key { name: "", is_map: false, below: self.block }),
                false => Keys(self.block).find(|key| key.name == name),
            };
            let (block, is_map) = key.as_ref().map_or(("", false), |key| (key.below, key.is_map));
            object.next_value_seed(Place {
                block,
                is_map,
                path: &path,
                found: &mut *self.found,
            })?;
            if key.is_none() {
                let few = self.found.len() < MAX_GUESSES;
                let near = if few { near(&name, self.block) } else { None };
                self.found.push(Unknown { path, near });
            }
        }
        Ok(())
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A key of the same object with almost that name, or the only one of that name elsewhere.
fn near(name: &str, block: &'static str) -> Option<String> {
    if let Some(near) = nearest(name, Keys(block).map(|key| key.name)) {
        return Some(near.to_owned());
    }
    let mut places = Vec::new();
    elsewhere(name, KEYS, "", &mut places);
    places.pop().filter(|_| places.is_empty())
}

fn elsewhere(name: &str, block: &'static str, path: &str, places: &mut Vec<String>) {
    for key in Keys(block) {
        let path = join(path, key.name);
        elsewhere(name, key.below, &path, places);
        if key.name.eq_ignore_ascii_case(name) {
            places.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_that_nobody_knows_is_told_with_its_path_and_its_neighbour() {
        let document = json!({
            "hostName": "x", "noNewPrivileges": true, "nonsense": 1, "type": "x",
            "windows": {"anything": 1}, "annotations": {"any": "thing"},
            "process": {"capabilites": {}, "user": {"username": "x", "UID": 0}},
            "mounts": [{"destination": "/"}, {"option": [], "uidMappings": [{"containerId": 0}]}],
            "hooks": {"preStart": [], "poststop": [{"arg": []}]},
            "linux": {
                "namespace": [], "sysctl": {"a.b": "c"}, "memory": {},
                "timeOffsets": {"boottime": {"sec": 1}},
                "resources": {"memory": {"limits": 1}, "rdma": {"x": {"hcaHandle": 1}},
                    "cpu": {"cpu": ""}, "unified": {"memory.max": "1"}},
                "seccomp": {"syscalls": [{"name": "x", "args": [{"valuetwo": 1}]}]},
            },
        });
        let found = unknown(&document.to_string(), "");
        let found: Vec<_> =
            found.iter().map(|one| (one.path.as_str(), one.near.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("hooks.poststop[0].arg", Some("args")),
                ("hooks.preStart", Some("prestart")),
                ("hostName", Some("hostname")),
                ("linux.memory", Some("linux.resources.memory")),
                ("linux.namespace", Some("namespaces")),
                ("linux.resources.cpu.cpu", Some("cpus")),
                ("linux.resources.memory.limits", Some("limit")),
                ("linux.resources.rdma.x.hcaHandle", Some("hcaHandles")),
                ("linux.seccomp.syscalls[0].args[0].valuetwo", Some("valueTwo")),
                ("linux.seccomp.syscalls[0].name", Some("names")),
                ("linux.timeOffsets.boottime.sec", Some("secs")),
                ("mounts[1].option", Some("options")),
                ("mounts[1].uidMappings[0].containerId", Some("containerID")),
                ("noNewPrivileges", Some("process.noNewPrivileges")),
                ("nonsense", None),
                ("process.capabilites", Some("capabilities")),
                ("process.user.UID", Some("uid")),
                ("type", None),
            ]
        );
    }

    #[test]
    fn a_part_of_a_configuration_has_a_place() {
        let found = unknown(r#"{"memroy": {}, "pids": {"limit": 1}}"#, "linux.resources");
        let near = Some("memory".into());
        assert_eq!(found, [Unknown { path: "memroy".into(), near }]);
        assert!(keys("process.capabilities").eq([
            "bounding",
            "effective",
            "permitted",
            "inheritable",
            "ambient"
        ]));
        assert_eq!(keys("nowhere.at.all").count(), 0);
        assert_eq!(keys("annotations").count(), 0);
    }

    #[test]
    fn what_is_no_object_has_no_keys() {
        for text in ["null", "-1", "1.5", "true", r#""x""#, r#"[[1], "x"]"#, r#"{"root": 7}"#, ""] {
            assert_eq!(unknown(text, ""), [], "{text}");
        }
    }
}
