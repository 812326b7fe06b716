//! Bridges of our own: real packets between namespaces.

mod beside;
mod crash;
mod edges;
mod firewalls;
mod holes;
mod life;
mod mended;
mod modes;
mod paths;
mod said;
mod world;
