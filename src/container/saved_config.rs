//! The parts of the saved config.json that `start` and `delete` need: hooks, seccomp listener.
//! Most containers have none of them; the record then says so, and the file is not read.

use super::Container;
use super::seccomp::Receiver;
use crate::error::Result;
use crate::plan::{self, Findings, Hooks};
use crate::spec::{self, Spec};
use crate::store::{Dir, Record};

/// The parts of `config.json` that matter after `create`.
#[derive(Debug, Default)]
pub(super) struct SavedConfig {
    /// Whether there is a program to start.
    pub process: bool,
    /// The hooks.
    pub hooks: Hooks,
    /// Who gets the notification fd.
    pub receiver: Option<Receiver>,
}

impl SavedConfig {
    /// Whether there is nothing to be found in `config`: a program, but neither
    /// hooks for later nor a listener.
    pub fn is_not_needed(config: &Spec) -> bool {
        let hooks = config.hooks.as_ref();
        let later = |hooks: &spec::Hooks| {
            hooks.start_container.len() + hooks.poststart.len() + hooks.poststop.len()
        };
        config.process.is_some() && hooks.map_or(0, later) == 0 && Receiver::of(config).is_none()
    }

    /// That of a container.
    ///
    /// # Errors
    /// If the configuration is to be read and cannot be.
    pub fn of(container: &Container) -> Result<Self> {
        Self::read(&container.dir, &container.record)
    }

    /// As [`Self::of`].
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn read(dir: &Dir, record: &Record) -> Result<Self> {
        if record.config_not_needed {
            return Ok(Self { process: true, ..Self::default() });
        }
        let config: Spec = spec::parse("config.json", &dir.config()?)?;
        Ok(Self {
            process: config.process.is_some(),
            hooks: plan::hooks::plan(config.hooks.as_ref(), &mut Findings::default()),
            receiver: Receiver::of(&config),
        })
    }
}
