//! A container cannot make itself unkillable, whatever it does to its cgroup.
