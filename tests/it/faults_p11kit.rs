//! p11-kit.
