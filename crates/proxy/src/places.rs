use std::sync::Arc;

use tokio::runtime::Handle;

/// The runtimes that serve connections.
#[derive(Debug)]
pub(crate) struct Places(Vec<Place>);

/// A runtime, and a clone of the count for each connection that it serves.
#[derive(Debug)]
struct Place {
    runtime: Handle,
    count: Arc<()>,
}

/// A connection's place. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Seat(#[expect(dead_code, reason = "it is counted")] Arc<()>);

impl Places {
    /// The runtime that this is called in serves all.
    pub(crate) fn here() -> Self {
        Self::of([Handle::current()])
    }

    pub(crate) fn of(runtimes: impl IntoIterator<Item = Handle>) -> Self {
        let place = |runtime| Place { runtime, count: Arc::new(()) };
        Self(runtimes.into_iter().map(place).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A place in the runtime that serves the fewest connections. `None` where there is no runtime.
    pub(crate) fn take(&self) -> Option<(&Handle, Seat)> {
        let emptiest = self.0.iter().min_by_key(|place| Arc::strong_count(&place.count))?;
        Some((&emptiest.runtime, Seat(Arc::clone(&emptiest.count))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emptiest_runtime_is_next() {
        let runtimes = [(); 2].map(|()| tokio::runtime::Builder::new_current_thread().build());
        let runtimes = runtimes.map(Result::unwrap);
        let [one, two] = [&runtimes[0], &runtimes[1]].map(|runtime| runtime.handle().id());
        let places = Places::of(runtimes.iter().map(|runtime| runtime.handle().clone()));
        let take = || places.take().map(|(runtime, seat)| (runtime.id(), seat)).unwrap();
        let ((first, seat), (second, kept)) = (take(), take());
        assert_eq!((first, second), (one, two));
        drop(seat);
        assert_eq!(take().0, one);
        drop(kept);
    }
}
