//! Two services of a compose file, under whoever speaks Docker's language.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::call::{Call, needs};
use crate::machine::IMAGE;

/// The client finds the server by its name, keeps what it gets, and ends all by its own end.
fn file(parent: &str) -> String {
    let common = format!("image: {IMAGE}\n    cgroup_parent: {parent}");
    format!(
        "version: '2.4'
services:
  server:
    {common}
    command: sh -c 'echo hello >/index.html; exec httpd -f -h /'
  client:
    {common}
    depends_on: [server]
    environment: {{CODE: 3}}
    volumes: ['kept:/kept']
    command: sh -c 'until wget -qO /kept/page http://server/; do usleep 50000; done; cat /kept/page; exit $$CODE'
volumes: {{kept: {{}}}}
"
    )
}

/// Brings them up by the daemon at `socket`, and down. `parent` is the cgroup of all; `up` looks at them meanwhile.
pub fn two_services(
    directory: &Path,
    socket: &str,
    parent: &str,
    up: impl FnOnce() -> Result<()>,
) -> Result<()> {
    needs("docker-compose")?;
    let path = directory.join("compose.yaml");
    fs::write(&path, file(parent))?;
    let path = path.display().to_string();
    let compose = |words: &[&str]| {
        Call::new(["docker-compose", "--host", socket, "--file", &path, "--project-name", "two"])
            .args(words)
            .env("HOME", &directory.display().to_string())
    };
    let options = ["up", "--no-color", "--timeout", "1"];
    let outcome = compose(&options).args(&["--exit-code-from", "client"]).run();
    let looked = up();
    compose(&["down", "--volumes", "--timeout", "1"]).ok()?;
    let output = outcome?;
    ensure!(output.code == 3 && output.stdout.contains("hello"), "{output}");
    looked
}
