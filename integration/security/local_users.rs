//! Other users of the host: state, sockets, pid files, logs and keyrings are not theirs to take.
