//! What will be done: `config.json` and the command line turned into data, with
//! every check and every default decided. Nothing here has a side effect; what
//! carries a plan out takes it as it is.

pub mod mounts;
pub mod options;
pub mod paths;
pub mod rootfs;

pub use rootfs::Rootfs;
