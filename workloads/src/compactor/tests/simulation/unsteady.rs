//! A process that dies, or sleeps, while it waits for something.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{Duration, Mutex, PoisonError};

/// What becomes of it, after it was woken so often.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Steady,
    /// It is dropped where it is.
    Dies {
        after: u64,
    },
    /// It stands still for that long and then goes on as if nothing had been. Where another sleeps, it does not.
    Sleeps {
        after: u64,
        time: Duration,
    },
}

pub(super) struct Unsteady<'a, F> {
    inner: Pin<Box<F>>,
    fate: Fate,
    woken: u64,
    asleep: &'a Mutex<bool>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<'a, F> Unsteady<'a, F> {
    pub(super) fn new(inner: F, fate: Fate, asleep: &'a Mutex<bool>) -> Self {
        Self { inner: Box::pin(inner), fate, woken: 0, asleep, sleep: None }
    }

    fn falls_asleep(&mut self) -> Option<Duration> {
        let Fate::Sleeps { after, time } = self.fate else { return None };
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        (self.woken == after && !std::mem::replace(&mut *asleep, true)).then_some(time)
    }
}

impl<F: Future> Future for Unsteady<'_, F> {
    /// Nothing where it died.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(sleep) = &mut this.sleep {
            ready!(sleep.as_mut().poll(context));
            this.sleep = None;
            *this.asleep.lock().unwrap_or_else(PoisonError::into_inner) = false;
        } else {
            this.woken += 1;
            if matches!(this.fate, Fate::Dies { after } if this.woken > after) {
                return Poll::Ready(None);
            }
            if let Some(time) = this.falls_asleep() {
                let sleep = this.sleep.insert(Box::pin(tokio::time::sleep(time)));
                ready!(sleep.as_mut().poll(context));
            }
        }
        this.inner.as_mut().poll(context).map(Some)
    }
}
