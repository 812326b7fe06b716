//! A session keyring of the container's own, so that it can neither see nor
//! fill the one of the user who started it (session-keyring(7)).

use crate::error::{Context, Error, Result};
use crate::sys::keyring;
use rustix::io::Errno;
use std::ffi::CString;

/// `KEY_USR_SEARCH`: lets the processes of the container find the keyring
/// by its user permissions (linux/key.h).
const USER_SEARCH: u32 = 0x0008_0000;

/// Joins the new session keyring `_ses.ID`.
///
/// # Errors
/// Those of keyctl(2), but for a kernel without keyrings.
pub fn join(id: &str) -> Result<()> {
    let name = CString::new(format!("_ses.{id}")).map_err(|_| Error::new("id: contains NUL"))?;
    let key = match keyring::join_session(&name) {
        Err(Errno::NOSYS) => return Ok(()),
        result => result.call(|| format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, _ses.{id})"))?,
    };
    let description = keyring::describe(key).call(|| "keyctl(KEYCTL_DESCRIBE)".into())?;
    let mask = description.split(';').nth(3).and_then(|field| u32::from_str_radix(field, 16).ok());
    let mask =
        mask.ok_or_else(|| Error::new(format!("keyctl(KEYCTL_DESCRIBE): {description:?}")))?;
    keyring::set_permissions(key, mask | USER_SEARCH).call(|| "keyctl(KEYCTL_SETPERM)".into())
}
