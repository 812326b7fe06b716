//! No process of the runtime that a container sees can be traced or read, in create, run and exec.
