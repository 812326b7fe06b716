//! The runtime as an ordinary user: uid 1000 is root of the container's user namespace, and nobody else.

use crate::harness::{Bundle, Call, Container, copy_program, json, runtime};
use std::fs;
use std::path::PathBuf;

/// Bends a bundle so that uid 1000 may make a container of it.
pub fn rootless(bundle: Bundle) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .edit(|c| {
            c["linux"].as_object_mut().unwrap().remove("resources");
            let mounts = c["mounts"].as_array_mut().unwrap();
            let pts = mounts.iter_mut().find(|m| m["destination"] == "/dev/pts").unwrap();
            pts["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
        })
}

/// Calls of the runtime by uid 1000, who owns the bundle and the state.
pub struct Rootless {
    program: PathBuf,
    state: PathBuf,
}

impl Rootless {
    pub fn new(c: &Container) -> Self {
        let (program, state) = (c.bundle.dir().join("runtime"), c.bundle.dir().join("own-state"));
        copy_program(&runtime().path, &program);
        fs::create_dir(&state).unwrap();
        let owned = Call::new("/bin/chown").args(["-R", "1000:1000"]);
        owned.args([state.as_path(), &c.bundle.path()]).run().ok();
        Self { program, state }
    }

    pub fn call(&self, args: &[&str]) -> Call {
        Call::new("/usr/bin/setpriv")
            .args(["--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all"])
            .args([self.program.as_path(), "--root".as_ref(), &self.state])
            .args(args)
    }
}
