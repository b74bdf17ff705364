//! Reading values: the way from a recorded tensor through plan and execution to an array, and back into the tape's table.

use crate::Tape;
pub(crate) struct Reader {}
impl Reader { pub fn new() -> Self { Reader {} } }
pub(crate) fn configure(_: &Tape) {}
