//! Wengert.
