//! Which values have been computed already? A table by node, without clearing memory for each tape.

use crate::memory::Buffer;

/// A value kept for later reads.
#[derive(Clone)]
pub(crate) struct Value {
    pub buffer: Buffer,
    pub offset: usize,
    /// Whether the buffer holds nothing else; otherwise it is the arena of a run.
    pub whole: bool,
}

/// Values by node. Entries count where their stamp is the current round.
#[derive(Default)]
pub(crate) struct Values {
    round: u32,
    places: Vec<Place>,
    list: Vec<Option<Value>>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    round: u32,
    at: u32,
}

impl Values {
    /// Lets go of all values.
    pub fn clear(&mut self) {
        if self.list.is_empty() {
            return;
        }
        self.list.clear();
        self.round = self.round.checked_add(1).unwrap_or_else(|| {
            self.places.clear();
            0
        });
    }

    /// The value of a node.
    #[inline]
    pub fn get(&self, id: usize) -> Option<&Value> {
        if self.list.is_empty() {
            return None;
        }
        let place = self.places.get(id).filter(|p| p.round == self.round)?;
        self.list.get(place.at as usize)?.as_ref()
    }

    /// Enters the value of a node.
    pub fn set(&mut self, id: usize, value: Value) {
        if id >= self.places.len() {
            // What is new here counts in no round that is still to come.
            let stale = Place { round: self.round.wrapping_sub(1), at: 0 };
            self.places.resize((id + 1).next_power_of_two(), stale);
        }
        let place = &mut self.places[id];
        if place.round != self.round || self.list.get(place.at as usize).is_none() {
            *place = Place { round: self.round, at: self.list.len() as u32 };
            self.list.push(None);
        }
        self.list[place.at as usize] = Some(value);
    }

    /// Lets go of a node's value.
    pub fn forget(&mut self, id: usize) {
        if let Some(place) = self.places.get(id).filter(|p| p.round == self.round)
            && let Some(value) = self.list.get_mut(place.at as usize)
        {
            *value = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(offset: usize) -> Value {
        Value { buffer: Buffer::new(8), offset, whole: true }
    }

    #[test]
    fn a_cleared_table_holds_nothing_of_before() {
        let mut values = Values::default();
        for round in 0..3 {
            assert!((0..40).all(|id| values.get(id).is_none()), "round {round}");
            for id in [0, 7, 30] {
                values.set(id, value(id + round));
            }
            values.set(7, value(100));
            values.forget(30);
            let offsets: Vec<_> = [0, 7, 30, 31].map(|id| values.get(id).map(|v| v.offset)).into();
            assert_eq!(offsets, [Some(round), Some(100), None, None]);
            values.clear();
        }
    }
}
