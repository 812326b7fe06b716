//! What an image, a container, a neighbour or a local user may not do. One file
//! a kind of attack (SECURITY.md has the threat model); each test has a decoy on
//! the host, a file or directory that must stay as it was.

mod advisories;
mod attacker;
mod cgroup_owners;
mod cgroups;
mod descriptors;
mod input;
mod keyrings;
mod lacking;
mod legitimate;
mod local_users;
mod notify;
mod passwd;
mod programs;
mod races;
pub mod rootless;
mod swapped;
mod traced;
mod tree;
