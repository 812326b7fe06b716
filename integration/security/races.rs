//! Races against the runtime, bounded in time: a loop of renameat2(RENAME_EXCHANGE) beside it.
