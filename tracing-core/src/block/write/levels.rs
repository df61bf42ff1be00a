//! Repetition and definition levels: how the rows of one level hang on those of the level above.

/// The levels of one kind of row in a page, an entry for each row and for each parent without any.
#[derive(Debug, Default)]
pub(super) struct Levels {
    pub(super) rep: Vec<u8>,
    pub(super) def: Vec<u8>,
    /// Depth at which a row is there, which is also the highest repetition level.
    pub(super) depth: u8,
    /// Number of rows that are there.
    pub(super) rows: usize,
}

impl Levels {
    /// `count` rows of the uppermost level.
    pub(super) fn roots(count: usize) -> Self {
        Self { rep: vec![0; count], def: vec![0; count], rows: count, ..Self::default() }
    }

    /// The level below, `counts` being the number of children of each row.
    pub(super) fn below(&self, counts: impl Iterator<Item = usize>) -> Self {
        let mut levels = Self { depth: self.depth + 1, ..Self::default() };
        let mut counts = counts;
        levels.rep.reserve(self.rep.len());
        levels.def.reserve(self.rep.len());
        for (&rep, &def) in self.rep.iter().zip(&self.def) {
            let children = if def < self.depth { 0 } else { counts.next().unwrap_or(0) };
            levels.rep.push(rep);
            if children == 0 {
                levels.def.push(def);
                continue;
            }
            let last = levels.rep.len() + children - 1;
            levels.rep.resize(last, levels.depth);
            levels.def.resize(last, levels.depth);
            levels.rows += children;
        }
        levels
    }

    /// Both levels of a column that every row has a value in.
    pub(super) fn all(&self) -> (&[u8], &[u8]) {
        (&self.rep, &self.def)
    }

    /// The definition levels of a column that only the rows in `present`, ascending, have a value in.
    pub(super) fn optional(&self, mut present: impl Iterator<Item = u32>) -> Vec<u8> {
        let mut def = self.def.clone();
        let mut next = present.next();
        let mut row = 0;
        for level in &mut def {
            if next.is_none() {
                break;
            }
            if *level == self.depth {
                if next == Some(row) {
                    *level += 1;
                    next = present.next();
                }
                row += 1;
            }
        }
        def
    }
}
