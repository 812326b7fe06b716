//! Puts the five capability sets into force (capabilities(7)), in few calls.

use crate::error::{At, Context, Error, Result};
use crate::plan::capabilities::{Capabilities, list};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
    capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};

/// `CAP_SYS_ADMIN`: what seccomp(2) wants when `no_new_privs` is off.
pub const SYS_ADMIN: u64 = 1 << 21;

/// What the caller has given us.
///
/// # Errors
/// Those of capget(2).
pub fn own() -> Result<u64> {
    Ok(capabilities(None).call(|| "capget".into())?.permitted.bits())
}

/// Sets that we can give: what is not ours to give is left out, as the spec
/// asks, with a warning for each reason.
///
/// # Errors
/// Those of capget(2).
pub fn grantable(wanted: Capabilities) -> Result<(Capabilities, Vec<Error>)> {
    let own = own()?;
    let mut warnings = Vec::new();
    let missing =
        (wanted.effective | wanted.permitted | wanted.bounding | wanted.inheritable) & !own;
    if missing != 0 {
        let names = list(missing);
        let warning = Error::new(format!("cannot grant {names}: not the runtime's own"));
        warnings.push(warning.at("process.capabilities"));
    }
    let mut granted = Capabilities {
        effective: wanted.effective & own,
        permitted: wanted.permitted & own,
        inheritable: wanted.inheritable & own,
        bounding: wanted.bounding & own,
        ambient: wanted.ambient & own,
    };
    if granted.ambient != 0 {
        let bits = capabilities_secure_bits().call(|| "prctl(PR_GET_SECUREBITS)".into())?;
        if bits.contains(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE) {
            let names = list(granted.ambient);
            let why = "the caller has set SECBIT_NO_CAP_AMBIENT_RAISE";
            let warning = Error::new(format!("cannot grant {names}: {why}"));
            warnings.push(warning.at("process.capabilities.ambient"));
            granted.ambient = 0;
        }
    }
    Ok((granted, warnings))
}

/// Drops every capability that is not in `keep` from the bounding set. This
/// needs `CAP_SETPCAP`, so it comes before the ids change.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`, if there is one to drop.
pub fn limit_bounding(keep: u64) -> Result<()> {
    for number in (0..64).filter(|number| keep >> number & 1 == 0) {
        match drop_from_bounding(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // Beyond the last capability that this kernel has.
            Err(Errno::INVAL) => return Ok(()),
            Err(errno) => {
                let field = "process.capabilities.bounding";
                return Err(errno)
                    .call(|| format!("prctl(PR_CAPBSET_DROP, {number})"))
                    .at(|| &field)
                    .hint(|| "the runtime lacks CAP_SETPCAP");
            }
        }
    }
    Ok(())
}

/// The kernel asks for the privilege first: without it, whether there is anything to drop.
fn drop_from_bounding(one: CapabilitySet) -> rustix::io::Result<()> {
    match remove_capability_from_bounding_set(one) {
        Err(Errno::PERM) if !capability_is_in_bounding_set(one)? => Ok(()),
        done => done,
    }
}

/// Gives up the `extra` of [`set`].
///
/// # Errors
/// None in practice: what is given up, was there.
pub fn drop_extra(sets: Capabilities) -> Result<()> {
    let set = CapabilitySet::from_bits_retain;
    let new = CapabilitySets {
        effective: set(sets.effective),
        permitted: set(sets.permitted),
        inheritable: set(sets.inheritable),
    };
    set_capabilities(None, new).call(|| "capset".into())
}

/// Sets the other four. `extra` stays effective and permitted until execve(2),
/// which computes both sets anew from the inheritable, the bounding and the
/// ambient one (capabilities(7), "Transformation of capabilities").
///
/// # Errors
/// `EPERM` for a capability that we do not have.
pub fn set(sets: Capabilities, extra: u64) -> Result<()> {
    let set = CapabilitySet::from_bits_retain;
    let new = CapabilitySets {
        effective: set(sets.effective | extra),
        permitted: set(sets.permitted | extra),
        inheritable: set(sets.inheritable),
    };
    set_capabilities(None, new).call(|| "capset".into()).at(|| "process.capabilities")?;
    match clear_ambient_capability_set() {
        Ok(()) => {}
        Err(Errno::INVAL) if sets.ambient == 0 => return Ok(()),
        Err(errno) => return Err(errno).call(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".into()),
    }
    for number in (0..64).filter(|number| sets.ambient >> number & 1 == 1) {
        configure_capability_in_ambient_set(set(1 << number), true)
            .call(|| format!("prctl(PR_CAP_AMBIENT_RAISE, {number})"))
            .at(|| "process.capabilities.ambient")?;
    }
    Ok(())
}
