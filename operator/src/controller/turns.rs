//! Whose turn it is when many resources are to be reconciled: the objects of a few are written at one time, since an API server
//! and its disk are no faster for more. Who waits holds nothing but its name; of one that is new it is said meanwhile, by
//! whoever gives the turn, that it was seen.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// Resources reconciled at one time.
const WORK: usize = 8;
/// Resources besides of which a first status is written.
const GREETINGS: usize = 4;

pub(super) struct Turns {
    work: Semaphore,
    greetings: Semaphore,
    stop: CancellationToken,
}

impl Turns {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { work: Semaphore::new(WORK), greetings: Semaphore::new(GREETINGS), stop }
    }

    /// Waits for a turn, which lasts as long as what is answered; nothing when told to stop meanwhile. Whoever has to
    /// wait is greeted first, where there is a greeting.
    pub(super) async fn take(
        &self,
        greeting: Option<impl Future<Output = ()>>,
    ) -> Option<SemaphorePermit<'_>> {
        let turn = if let Ok(turn) = self.work.try_acquire() {
            turn
        } else {
            if let Some(greeting) = greeting {
                let _greets = self.greetings.acquire().await.ok()?;
                if !self.stop.is_cancelled() {
                    greeting.await;
                }
            }
            self.work.acquire().await.ok()?
        };
        (!self.stop.is_cancelled()).then_some(turn)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::{FutureExt, future::join_all};

    use super::*;

    const NOBODY: Option<std::future::Ready<()>> = None;

    #[tokio::test]
    async fn who_has_to_wait_is_greeted_and_who_has_a_turn_is_not() {
        let turns = Turns::new(CancellationToken::new());
        let greeted = Cell::new(0);
        let count = || Some(async { greeted.set(greeted.get() + 1) });
        let mut first = join_all((0..WORK).map(|_| turns.take(count()))).await;
        assert!(first.iter().all(Option::is_some));
        assert_eq!(greeted.get(), 0);
        let mut waits = Box::pin(turns.take(count()));
        assert!(waits.as_mut().now_or_never().is_none(), "there are no more turns");
        assert_eq!(greeted.get(), 1);
        assert!(turns.take(NOBODY).now_or_never().is_none(), "nor without a greeting");
        first.pop();
        assert!(waits.await.is_some());
        assert_eq!(greeted.get(), 1);
    }

    #[tokio::test]
    async fn few_are_greeted_at_one_time() {
        let turns = Turns::new(CancellationToken::new());
        let _busy = join_all((0..WORK).map(|_| turns.take(NOBODY))).await;
        let under_way = Cell::new(0);
        let greeting = || {
            Some(async {
                under_way.set(under_way.get() + 1);
                std::future::pending::<()>().await;
            })
        };
        let mut all = Box::pin(join_all((0..3 * GREETINGS).map(|_| turns.take(greeting()))));
        assert!(all.as_mut().now_or_never().is_none());
        assert_eq!(under_way.get(), GREETINGS);
    }

    #[tokio::test]
    async fn who_is_told_to_stop_begins_nothing_more() {
        let stop = CancellationToken::new();
        let turns = Turns::new(stop.clone());
        let mut busy = join_all((0..WORK).map(|_| turns.take(NOBODY))).await;
        let mut waits = Box::pin(turns.take(NOBODY));
        assert!(waits.as_mut().now_or_never().is_none());
        stop.cancel();
        busy.clear();
        assert!(waits.await.is_none());
        assert!(turns.take(NOBODY).await.is_none());
    }
}
