//! Signing threads.
