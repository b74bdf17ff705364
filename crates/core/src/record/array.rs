//! What is a tensor's value off the tape?

/// A value.
#[derive(Clone)]
pub struct Array;
