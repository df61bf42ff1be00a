//! A day of blocks, of the size that an ingester makes, through the choice of merges: how many blocks there
//! are at any time, and how often each byte is written again.

use std::{collections::HashSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{CompactionLimits, jobs};
use crate::block::Meta;

/// Blocks of a day.
const BLOCKS: i64 = 1000;
/// Traces and bytes of each: a head of 48 MiB of live spans.
const TRACES: u64 = 6000;
const BYTES: u64 = 8_000_000;

fn meta(end: Timestamp, traces: u64, size: u64, level: u32) -> Arc<Meta> {
    let json = format!(
        r#"{{"format":"vParquet4","blockID":"{}","tenantID":"t","startTime":"{end}","endTime":"{end}","totalObjects":{traces},"size":{size},"compactionLevel":{level},"replicationFactor":1}}"#,
        uuid::Uuid::new_v4(),
    );
    Arc::new(Meta::from_json(json.as_bytes()).unwrap())
}

/// What a run of the policy came to.
#[derive(Debug)]
struct Outcome {
    most_live: usize,
    live_at_the_end: usize,
    /// Bytes written by merges for each byte that arrived.
    amplification: f64,
}

/// A day of arrivals and a day and a half without, with a look every cycle; merges take no time and lose nothing.
fn simulate(max_inputs: usize) -> Outcome {
    let limits = CompactionLimits {
        window: SignedDuration::from_hours(1),
        max_inputs,
        max_objects: 6_000_000,
        max_bytes: 107_374_182_400,
        max_level: None,
    };
    let begin: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let (mut live, mut written, mut arrived, mut most_live): (Vec<Arc<Meta>>, _, _, _) =
        (Vec::new(), 0, 0, 0);
    let mut next = 0;
    for cycle in 0..(36 + 24) * 3600 / 30 {
        let now = begin + SignedDuration::from_secs(cycle * 30);
        while next < BLOCKS && begin + SignedDuration::from_millis(next * 86_400_000 / BLOCKS) <= now {
            // The block of an ingester ends some seconds before it is there.
            live.push(meta(now - SignedDuration::from_secs(5), TRACES, BYTES, 0));
            arrived += BYTES;
            next += 1;
        }
        most_live = most_live.max(live.len());
        let chosen = jobs(&live, now, &limits, |_| false);
        for job in chosen {
            let ids: HashSet<_> = job.inputs.iter().map(|meta| meta.id).collect();
            let before = live.len();
            live.retain(|meta| !ids.contains(&meta.id));
            assert_eq!(before - live.len(), job.inputs.len(), "no block is in two jobs");
            let (traces, size) = job.inputs.iter().fold((0, 0), |(t, s), m| (t + m.traces, s + m.size));
            let end = job.inputs.iter().map(|meta| meta.end).max().unwrap();
            written += size;
            live.push(meta(end, traces, size, job.level));
        }
    }
    assert_eq!(next, BLOCKS);
    let amplification = written as f64 / arrived as f64;
    Outcome { most_live, live_at_the_end: live.len(), amplification }
}

#[test]
fn a_thousand_blocks_a_day_become_at_most_two_an_hour_and_each_byte_is_written_again_three_times_at_most() {
    let four = simulate(4);
    assert!(four.most_live <= 60 && four.live_at_the_end <= 40, "{four:?}");
    assert!(four.amplification <= 3.0, "{four:?}");
    let sixteen = simulate(16);
    assert!(sixteen.most_live <= 80 && sixteen.live_at_the_end <= 48, "{sixteen:?}");
    assert!(sixteen.amplification <= 2.0, "{sixteen:?}");
}
