//! When the next commit is due, where each costs a request: seldom while little is written, and never more
//! often than the home wants. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::home::Pace;

/// After so long without a commit the next one comes soon.
const IDLE: Duration = Duration::from_secs(1);

/// See the file's head.
#[derive(Debug)]
pub(super) struct Rhythm {
    pace: Pace,
    interval: Duration,
    began: Option<Instant>,
    asked: Option<Instant>,
}

impl Rhythm {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, interval: pace.least, began: None, asked: None }
    }

    /// Something waits for the next commit.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
        if self.began.is_some_and(|began| now.duration_since(began) >= IDLE) {
            self.interval = self.pace.least;
        }
    }

    /// When it is due; none where nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let gathered = self.asked? + self.pace.first;
        Some(self.began.map_or(gathered, |began| gathered.max(began + self.interval)))
    }

    /// A commit of so many bytes began.
    pub(super) fn began(&mut self, now: Instant, bytes: u64) {
        let Pace { least, most, worth, .. } = self.pace;
        // Halving and doubling in small steps: what comes in lumps must not make it jump.
        self.interval = if bytes >= worth { self.interval * 2 / 3 } else { self.interval * 5 / 4 };
        self.interval = self.interval.clamp(least, most);
        self.began = Some(now);
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        first: Duration::from_millis(20),
        least: Duration::from_millis(50),
        most: Duration::from_millis(200),
        worth: 1000,
    };

    /// Commits begun in ten seconds where so many bytes a second wait all the time.
    fn commits(bytes_a_second: u64) -> u32 {
        let (mut rhythm, start) = (Rhythm::new(PACE), Instant::now());
        let (mut now, mut count) = (start, 0);
        while now.duration_since(start) < Duration::from_secs(10) {
            rhythm.asked(now);
            let due = rhythm.due().unwrap();
            let bytes = bytes_a_second * due.duration_since(now).as_millis() as u64 / 1000;
            now = due;
            rhythm.began(now, bytes);
            count += 1;
        }
        count
    }

    #[test]
    fn at_full_load_there_are_at_most_twenty_commits_a_second_and_few_where_little_is_written() {
        assert!((190..=201).contains(&commits(1_000_000)), "{}", commits(1_000_000));
        assert!((48..=60).contains(&commits(100)), "{}", commits(100));
        assert!(commits(10_000) < commits(1_000_000) && commits(10_000) > commits(100));
    }

    #[test]
    fn nothing_is_due_while_nothing_waits_and_soon_after_an_idle_time() {
        let (mut rhythm, start) = (Rhythm::new(PACE), Instant::now());
        assert_eq!(rhythm.due(), None);
        rhythm.asked(start);
        assert_eq!(rhythm.due(), Some(start + PACE.first));
        rhythm.began(start, 1);
        assert_eq!(rhythm.due(), None);
        let later = start + IDLE;
        rhythm.asked(later);
        assert_eq!(rhythm.due(), Some(later + PACE.first));
    }
}
