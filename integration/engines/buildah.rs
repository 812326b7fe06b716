//! buildah: builds run their steps in containers, foreground, without conmon.

use std::fs;

use anyhow::{Result, ensure};

use crate::call::Call;
use crate::machine::{IMAGE, Machine};
use crate::podman::{says, settings};
use crate::{Engine, Test};

pub struct Buildah {
    globals: Vec<String>,
    directory: String,
    runtime: String,
    /// Its containers' cgroup, one after another: buildah makes no name of its own below.
    parent: String,
}

impl Engine for Buildah {
    const NAME: &'static str = "buildah";
    const NEEDS: &'static [&'static str] = &["buildah"];
    const TESTS: &'static [Test<Self>] = &[("run", run), ("terminal", terminal), ("build", build)];

    fn start(machine: &Machine) -> Result<Self> {
        let directory = machine.directory("buildah")?.display().to_string();
        let globals = [
            "buildah",
            "--root",
            &format!("{directory}/root"),
            "--runroot",
            &format!("{directory}/run"),
        ]
        .map(str::to_owned);
        let networks = format!("network_config_dir = \"{directory}/networks\"\n");
        fs::write(format!("{directory}/containers.conf"), settings("\"runc\"", false) + &networks)?;
        let engine = Self {
            globals: [globals.as_slice(), &["--storage-driver=overlay".to_owned()]].concat(),
            directory,
            runtime: machine.runtime(),
            parent: format!("--cgroup-parent=/{}/buildah", machine.unique),
        };
        let archive = format!("docker-archive:{}", machine.archive.display());
        engine.buildah(&["pull", "--quiet", &archive]).ok()?;
        engine.container("first", |name| engine.run(name, &[], &["true"]).ok().map(drop))?;
        Ok(engine)
    }

    fn reset(&self) {
        if let Err(error) = self.buildah(&["rm", "--all"]).ok() {
            eprintln!("buildah: {error:#}");
        }
    }
}

impl Buildah {
    fn buildah(&self, words: &[&str]) -> Call {
        let settings = format!("{}/containers.conf", self.directory);
        Call::new(self.globals.clone()).args(words).env("CONTAINERS_CONF", &settings)
    }

    fn run(&self, name: &str, options: &[&str], command: &[&str]) -> Call {
        self.buildah(&["run", "--runtime", &self.runtime, "--isolation", "oci"])
            .args(options)
            .args(&[name, "--"])
            .args(command)
    }

    /// A working container around `work`.
    fn container(&self, name: &str, work: impl FnOnce(&str) -> Result<()>) -> Result<()> {
        self.buildah(&["from", "--pull-never", &self.parent, "--name", name, IMAGE]).ok()?;
        work(name)?;
        self.buildah(&["rm", name]).ok().map(drop)
    }
}

fn run(engine: &Buildah) -> Result<()> {
    engine.container("run", |name| {
        let text = engine.run(name, &[], &["sh", "-c", "echo $$; ip -4 address show eth0"]).ok()?;
        ensure!(text.starts_with("1\n") && text.contains("inet 10."), "{text}");
        engine.run(name, &[], &["sh", "-c", "exit 7"]).code(7)?;
        engine.run(name, &["--user", "nobody"], &["sh", "-c", "test $(id -u) = 65534"]).ok()?;
        let volume = ["--volume", "/run/engines/image:/mnt:ro"];
        engine
            .run(name, &volume, &["sh", "-c", "test -e /mnt/manifest.json && ! touch /mnt/x"])
            .ok()?;
        let missing = engine.run(name, &[], &["/nothing/here"]).run()?;
        ensure!(missing.code != 0 && says(&missing, "no such file"), "{missing}");
        Ok(())
    })
}

fn terminal(engine: &Buildah) -> Result<()> {
    engine.container("tty", |name| {
        let text = engine.run(name, &["--tty"], &["tty"]).on_a_terminal().ok()?;
        ensure!(text.contains("/dev/"), "{text}");
        Ok(())
    })
}

fn build(engine: &Buildah) -> Result<()> {
    let context = format!("{}/context", engine.directory);
    fs::create_dir_all(&context)?;
    let steps = format!(
        "FROM {IMAGE}\nRUN echo built >/built\nRUN test -s /built\nUSER nobody\nRUN ! touch /x\n"
    );
    fs::write(format!("{context}/Containerfile"), steps)?;
    let options = [
        "build",
        "--runtime",
        &engine.runtime,
        "--isolation",
        "oci",
        "--pull-never",
        &engine.parent,
    ];
    engine.buildah(&options).args(&["--tag", "localhost/built", &context]).ok()?;
    engine.buildah(&["rmi", "localhost/built"]).ok().map(drop)
}
