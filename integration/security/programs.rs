//! What comes from the image runs as the container does: hooks, umask, files that are read.
