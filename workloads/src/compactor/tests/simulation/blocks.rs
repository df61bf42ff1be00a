//! Blocks that are written once and stored by every run under ids of its own.

use std::sync::OnceLock;

use super::*;

/// Windows of blocks, in hours from the beginning: those of the first are old already, those of the last outlive
/// the run.
const WINDOWS: [i64; 5] = [-30, -4, 10, 30, 55];
/// Blocks of a window.
const BLOCKS: u8 = 4;

pub(super) struct SpanAt {
    trace: u8,
    number: u8,
    pub(super) error: bool,
    pub(super) end: Timestamp,
}

impl SpanAt {
    pub(super) fn name(&self) -> (u8, u8) {
        (self.trace, self.number)
    }
}

pub(super) struct Prepared {
    pub(super) spans: Vec<SpanAt>,
    pub(super) end: Timestamp,
    written: Written,
    data: Vec<u8>,
}

/// The blocks of two or three windows, not always all of them.
pub(super) fn some(dice: &FaultStore) -> Vec<&'static Prepared> {
    let (first, second) = (dice.random(WINDOWS.len() as u64), dice.random(WINDOWS.len() as u64));
    let of = |window: u64| prepared().iter().skip(window as usize * BLOCKS as usize).take(BLOCKS.into());
    let mut some: Vec<_> = of(first).chain(of(second).filter(|_| first != second)).collect();
    some.retain(|_| dice.random(6) > 0);
    some
}

fn prepared() -> &'static [Prepared] {
    static PREPARED: OnceLock<Vec<Prepared>> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (stage, _) = Stage::open(dir.path()).unwrap();
        let numbers =
            (0..WINDOWS.len() as u8).flat_map(|window| (0..BLOCKS).map(move |block| (window, block)));
        numbers.map(|(window, block)| Prepared::write(&stage, window, block)).collect()
    })
}

impl Prepared {
    /// Traces of the block's own, two that all blocks of the window hold parts of, and of these a span that is in
    /// all of them: a client sent it again.
    fn write(stage: &Stage, window: u8, block: u8) -> Self {
        let end =
            begin() + SignedDuration::from_mins(WINDOWS[window as usize] * 60 + 5 + 10 * i64::from(block));
        let (all, own) = (window * 40, window * 40 + 5 + block * 4);
        let spans: Vec<SpanOf> = vec![
            (all, block, 0),
            (all, 99, 0),
            (all + 1, block, 2),
            (all + 1, 99, 2),
            (own, 1, 0),
            (own + 1, 1, 2),
            (own + 1, 2, 0),
            (own + 2, 1, 0),
        ];
        let id = BlockId::random();
        let written = written(stage, id, &spans, end);
        let data = std::fs::read(stage.finish(&written).unwrap().dir.join(DATA)).unwrap();
        let error = |trace: u8| trace == all + 1 || trace == own + 1;
        let at = |&(trace, number, _): &SpanOf| SpanAt { trace, number, error: error(trace), end };
        Self { spans: spans.iter().map(at).collect(), end, written, data }
    }

    /// A finished block on a writer's disk.
    pub(super) fn stage(&self, dir: &Path, id: BlockId) -> Staged {
        let (stage, _) = Stage::open(dir.join(format!("stage-{id}"))).unwrap();
        std::fs::write(stage.begin(&tenant(), id).unwrap(), &self.data).unwrap();
        let Written { meta, bloom, index, extra } = &self.written;
        let meta = Meta { id, ..meta.clone() };
        stage
            .finish(&Written { meta, bloom: bloom.clone(), index: index.clone(), extra: extra.clone() })
            .unwrap()
    }
}
