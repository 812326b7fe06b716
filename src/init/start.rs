//! The pause between `create` and `start`.

use crate::error::{Context, Result};
use crate::sync::{ChildEnd, ToChild};
use rustix::net::{SocketFlags, accept_with};
use std::os::fd::OwnedFd;

/// Waits to be started: by a connection on the container's start socket, or
/// where there is none (`run`, `exec`), by the process that made us. From then
/// on `wire` leads to whoever started us.
///
/// # Errors
/// If the other end goes away before it said so.
pub fn wait(wire: &mut ChildEnd, socket: Option<OwnedFd>) -> Result<()> {
    if let Some(socket) = socket {
        // The runtime has recorded us. If it ends before, nobody would find us.
        wire.expect(ToChild::Done)?;
        let connection = rustix::io::retry_on_intr(|| accept_with(&socket, SocketFlags::CLOEXEC))
            .call(|| "accept on the start socket".into())?;
        *wire = ChildEnd::from_socket(connection);
    }
    wire.expect(ToChild::Start)
}
