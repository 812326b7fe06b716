//! Digests (image-spec, descriptor.md): their grammar, which keeps them from being paths, and
//! the two algorithms that are registered for all.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// As it stands in a digest, and in the path of a blob.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// `sha256:` and 64 hexadecimal digits, or the same of SHA-512.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    /// The function.
    pub algorithm: Algorithm,
    /// Digits, in lower case: a name of a file.
    pub hex: String,
}

impl Digest {
    /// Reads one.
    ///
    /// # Errors
    /// What is none: it must not come near a path (CVE-2024-3727).
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(format!("{text:?} is no digest"))
                .hint("sha256: or sha512:, and as many hexadecimal digits in lower case as it has")
        };
        let (name, hex) = text.split_once(':').ok_or_else(wrong)?;
        let (algorithm, length) = match name {
            "sha256" => (Algorithm::Sha256, 64),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(wrong()),
        };
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != length || !hex.bytes().all(is_hex) {
            return Err(wrong());
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }

    /// As many digits as a person needs.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A sum that is being made.
#[derive(Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Box<Sha256>),
    /// SHA-512.
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Box::default()),
            Algorithm::Sha512 => Self::Sha512(Box::default()),
        }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all of them.
    pub fn finish(self) -> Digest {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hash) => {
                Digest { algorithm: Algorithm::Sha256, hex: hex(&hash.finalize()) }
            }
            Self::Sha512(hash) => {
                Digest { algorithm: Algorithm::Sha512, hex: hex(&hash.finalize()) }
            }
        }
    }
}

/// The digest of a whole text.
pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digest_is_a_path() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(Digest::parse(&format!("sha256:{hex}")).unwrap().short(), "0123456789ab");
        for bad in [
            String::new(),
            hex.clone(),
            "sha256:".into(),
            "sha256:../../../etc/passwd".into(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{hex}0"),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!("../sha256:{hex}"),
            format!("sha256:{}/.", &hex[2..]),
        ] {
            Digest::parse(&bad).unwrap_err();
        }
    }

    #[test]
    fn the_sums_are_those_of_everybody() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of(Algorithm::Sha256, b"").hex, empty);
        assert!(of(Algorithm::Sha512, b"").hex.starts_with("cf83e1357eefb8bd"));
    }
}
