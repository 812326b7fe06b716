//! How far it is: one line on a terminal, nothing where there is none.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often the line changes.
const PACE: Duration = Duration::from_millis(100);

/// The line.
#[derive(Debug)]
pub struct Progress {
    label: String,
    begin: Instant,
    bytes: AtomicU64,
    /// Milliseconds after the beginning.
    shown: AtomicU64,
    is_on: bool,
}

impl Progress {
    /// One that begins with these words.
    pub fn new(label: String) -> Self {
        let is_on = std::io::stderr().is_terminal();
        let (bytes, shown) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { label, begin: Instant::now(), bytes, shown, is_on }
    }

    /// Counts more.
    pub fn add(&self, count: usize) {
        let bytes = self.bytes.fetch_add(count as u64, Relaxed) + count as u64;
        if !self.is_on {
            return;
        }
        let elapsed = self.begin.elapsed();
        let millis = elapsed.as_millis() as u64;
        if millis < self.shown.load(Relaxed) + PACE.as_millis() as u64 {
            return;
        }
        self.shown.store(millis, Relaxed);
        let rate = bytes / millis.max(1) / 1000;
        let line = format!("\r{}  {} MB  {rate} MB/s \x1b[K", self.label, bytes / 1_000_000);
        // A terminal that is gone misses nothing.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_on && self.shown.load(Relaxed) > 0 {
            drop(std::io::stderr().write_all(b"\r\x1b[K"));
        }
    }
}
