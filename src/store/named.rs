//! Who has named the state root: its errors tell that, and what helps.

use crate::error::Error;
use rustix::io::Errno;
use std::path::Path;

/// Who has named the state root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// `--root`. One that is not there is a typing error then.
    Option,
    /// `XDG_RUNTIME_DIR`.
    Variable,
    /// Nobody: the directory of the user's session was found.
    Session,
    /// Nobody: it is the default one, which is root's.
    Nobody,
}

impl NamedBy {
    /// As messages call the state root.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Option => "--root",
            Self::Variable => "XDG_RUNTIME_DIR",
            Self::Session | Self::Nobody => "state directory",
        }
    }

    /// An error of the state root as a whole, with what helps where its place was the wrong one.
    pub(super) fn explain(self, error: Error) -> Error {
        let error = error.at(self.name());
        let is_the_place =
            matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT));
        match self {
            _ if !is_the_place => error,
            Self::Option => error,
            Self::Variable => {
                error.hint("set XDG_RUNTIME_DIR to a directory of your own, or give --root DIR")
            }
            Self::Session | Self::Nobody => error.hint(UNSET),
        }
    }

    /// For who has not found a container in `root`: where else it may be.
    pub(super) fn elsewhere(self, root: &Path) -> String {
        let looked = format!("looked for in {}; `pinnace list` names those there", root.display());
        match self {
            Self::Nobody if !rustix::process::geteuid().is_root() => format!("{looked}; {UNSET}"),
            _ => format!("{looked}, --root another directory"),
        }
    }
}

const UNSET: &str = "XDG_RUNTIME_DIR is not set: an ordinary user sets it to a directory of \
    their own, or gives --root DIR";
