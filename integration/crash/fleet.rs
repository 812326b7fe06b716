//! Many containers of one template, called from many threads.

use super::parallel::{Answer, Started, start};
use super::world::{Kind, Program, Template, World};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub struct Fleet<'a> {
    pub world: &'a World,
    template: Template,
}

impl<'a> Fleet<'a> {
    pub fn new(world: &'a World, kind: Kind) -> Self {
        super::parallel::reap_all();
        Self { world, template: world.template(kind, Program::Sleeper) }
    }

    /// The id of the `n`th container.
    pub fn id(&self, n: usize) -> String {
        format!("{}-{n}", self.world.name)
    }

    /// Makes the bundle of the `n`th container; they share a root file system.
    pub fn make_bundle(&self, n: usize) -> String {
        let path = self.bundle(n);
        self.template.write(&self.id(n), &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn bundle(&self, n: usize) -> PathBuf {
        self.world.dir.join("bundles").join(n.to_string())
    }

    /// Starts a call; each worker has a directory of its own for the output.
    pub fn start(&self, worker: usize, words: &[&str]) -> Started {
        let scratch = self.world.dir.join(format!("worker-{worker}"));
        fs::create_dir_all(&scratch).unwrap();
        start(self.world.command(words), &scratch)
    }

    pub fn call(&self, worker: usize, words: &[&str]) -> Answer {
        self.start(worker, words).answer(Duration::from_secs(60))
    }

    /// Deletes these; what cannot be deleted, and what is left then.
    pub fn delete_all(&self, numbers: impl Iterator<Item = usize>) -> anyhow::Result<Vec<String>> {
        let mut wrong = Vec::new();
        for n in numbers {
            let answer = self.call(0, &["delete", "--force", &self.id(n)]);
            let is_unknown = answer.err.contains("does not exist"); // crun says so
            if !answer.is_ok() && !is_unknown {
                wrong.push(format!("delete --force at the end: {:?} {}", answer.exit, answer.err));
            }
        }
        let left = self.world.leftovers()?;
        wrong.extend(left.into_iter().map(|line| format!("left: {line}")));
        Ok(wrong)
    }
}
