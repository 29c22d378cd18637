//! How many flows there are, for those who give memory back after them.

use tokio::sync::watch;

/// The number of flows, told in powers of two so that it changes seldom: at once when there are more, when
/// there are fewer than a quarter, and when there are none.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    told: usize,
    watched: watch::Sender<usize>,
}

impl Crowd {
    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.watched.subscribe()
    }

    pub(super) fn count(&mut self, flows: usize) {
        let none = flows == 0 && self.told > 0;
        if flows > self.told || flows < self.told / 4 || none {
            self.told = if none { 0 } else { flows.next_power_of_two() };
            self.watched.send_replace(self.told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_changes_seldom() {
        let mut crowd = Crowd::default();
        let mut watched = crowd.watch();
        let mut told = Vec::new();
        for flows in (0..=1_000).chain((0..=1_000).rev()) {
            crowd.count(flows);
            assert!(*watched.borrow() >= flows);
            if watched.has_changed().unwrap() {
                told.push(*watched.borrow_and_update());
            }
        }
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 256, 64, 16, 4, 0]);
    }
}
