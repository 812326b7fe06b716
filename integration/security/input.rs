//! What a configuration, a caller or an image makes the runtime read, hold or print has a bound.
