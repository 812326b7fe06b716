//! Bridges of our own: real packets between namespaces.

mod beside;
mod crash;
mod holes;
mod life;
mod modes;
mod paths;
mod world;
