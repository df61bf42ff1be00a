//! `vivace blocks rewrite`, and what it shares with `migrate`: a block written again from its tables. IO.
//!
//! The new block's id follows from the old one's and the options, so that a rewrite that was cut short and is
//! repeated finishes the same block (rule *one-rewrite-a-block*). The old block is marked compacted once the new
//! one is visible.

use std::{fs::File, io::BufWriter, path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use clap::Args;
use sha2::{Digest, Sha256};
use tracing_core::{
    block::{
        self, Continued, Dedicated, DedicatedColumn, DedicatedKind, DedicatedScope, Meta, Version,
        WriteOptions, Written,
    },
    model::BlockId,
    store::{Objects, Stage},
    table::SpanTable,
};
use vivace_config::CommandLine;

use super::{
    Common,
    place::Place,
    print,
    survey::{Block, Survey},
    tables::Tables,
};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// The blocks, or the beginnings of their ids
    #[arg(required_unless_present = "all")]
    blocks: Vec<String>,
    /// All live blocks
    #[arg(long, conflicts_with = "blocks")]
    all: bool,
    #[command(flatten)]
    form: Form,
}

/// How blocks are written.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Form {
    /// vParquet4 or vParquet5; as it is if not given
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Attributes with a column of their own: keep, auto (by what the block holds), none, or a list such as
    /// resource.k8s.pod.name,span.http.route,span.server.port:int
    #[arg(long, value_name = "LIST", default_value = "keep")]
    dedicated: String,
    /// End a row group at this estimated size, as Tempo estimates it
    #[arg(long, value_name = "BYTES", default_value_t = WriteOptions::default().row_group_bytes)]
    row_group_bytes: u64,
}

pub(super) async fn run(options: &Options, line: &CommandLine) -> anyhow::Result<()> {
    options.form.check()?;
    let place = options.common.place(line)?;
    let survey = Survey::take(&place.objects, options.common.tenant()?.as_ref()).await?;
    let blocks: Vec<_> = if options.all {
        survey.blocks().filter(|block| block.seen.is_live()).collect()
    } else {
        options.blocks.iter().map(|text| survey.find(text)).collect::<anyhow::Result<_>>()?
    };
    let mut done = Vec::new();
    for block in blocks {
        ensure!(block.seen.is_live(), "block {}: is compacted, expected a live one", block.id);
        let (from, to) = one(&place, &survey, &block, &options.form)
            .await
            .with_context(|| format!("block {}", block.id))?;
        if !options.common.json {
            let sizes = [from.size, to.size].map(print::size);
            println!("{} {} ({}) -> {} {} ({})", from.id, from.format, sizes[0], to.id, to.format, sizes[1]);
        }
        done.push(serde_json::json!({"from": from, "to": to}));
    }
    if options.common.json { print::json(&done) } else { Ok(()) }
}

/// Rewrites a block in its store; answers with both metas.
async fn one(place: &Place, survey: &Survey, block: &Block, form: &Form) -> anyhow::Result<(Meta, Meta)> {
    let meta = block.meta(&place.objects).await?;
    let id = form.id(&meta);
    ensure!(id != meta.id, "is what these options would write");
    let there = survey.blocks().find(|other| other.id == id && other.tenant == block.tenant);
    let written = if let Some(other) = there.filter(|other| other.seen.is_live()) {
        other.meta(&place.objects).await?
    } else {
        let scratch = tempfile::tempdir().context("a directory for the block")?;
        let (written, dir) = form.write(&place.objects, block, &meta, scratch.path()).await?;
        place.store.commit(&written, &dir).await?;
        Meta::clone(&written)
    };
    place.store.mark_compacted(&block.tenant, block.id).await?;
    Ok((meta, written))
}

impl Form {
    /// Whether blocks stay as they are.
    pub(super) fn is_same(&self) -> bool {
        let Self { format, dedicated, row_group_bytes } = self;
        let usual = *row_group_bytes == WriteOptions::default().row_group_bytes;
        format.is_none() && dedicated == "keep" && usual
    }

    /// Checks what can be checked without a block.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.version()?;
        if !matches!(self.dedicated.as_str(), "keep" | "auto" | "none") {
            self.columns()?;
        }
        Ok(())
    }

    fn version(&self) -> anyhow::Result<Option<Version>> {
        let Some(format) = &self.format else { return Ok(None) };
        let known = [Version::V4, Version::V5];
        let found = known.into_iter().find(|version| version.name().eq_ignore_ascii_case(format));
        Ok(Some(
            found.with_context(|| format!("--format: expected vParquet4 or vParquet5, found `{format}`"))?,
        ))
    }

    /// The id of what `meta`'s block becomes.
    pub(super) fn id(&self, meta: &Meta) -> BlockId {
        let mut hash = Sha256::new();
        hash.update(b"vivace blocks rewrite");
        hash.update(meta.id.0.as_bytes());
        hash.update(format!("{self:?}"));
        let bytes: [u8; 32] = hash.finalize().into();
        let half = bytes.first_chunk().copied().unwrap_or_default();
        BlockId(uuid::Builder::from_random_bytes(half).into_uuid())
    }

    fn columns(&self) -> anyhow::Result<Vec<DedicatedColumn>> {
        self.dedicated.split(',').map(column).collect()
    }

    fn options(&self, meta: &Meta) -> anyhow::Result<WriteOptions> {
        let own = Version::of(&meta.format);
        let version =
            self.version()?.or(own).with_context(|| format!("format {} is not written", meta.format))?;
        let dedicated = match self.dedicated.as_str() {
            "none" => Dedicated::Fixed(Vec::new()),
            "auto" => Dedicated::Auto,
            "keep" if own == Some(version) => Dedicated::Fixed(meta.dedicated.clone()),
            // Those of them that the other format takes.
            "keep" => Dedicated::Fixed(Dedicated::Auto.merged(version, [meta])),
            _ => Dedicated::Fixed(self.columns()?),
        };
        let (row_group_bytes, compaction_level) = (self.row_group_bytes, meta.compaction_level);
        Ok(WriteOptions { version, dedicated, row_group_bytes, compaction_level, ..WriteOptions::default() })
    }

    /// Writes a block below `scratch`; answers with its meta and where its files lie.
    pub(super) async fn write(
        &self,
        objects: &Objects,
        block: &Block,
        meta: &Meta,
        scratch: &Path,
    ) -> anyhow::Result<(Arc<Meta>, std::path::PathBuf)> {
        let (stage, _) = Stage::open(scratch)?;
        let id = self.id(meta);
        let path = stage.begin(&block.tenant, id)?;
        let tables = Tables::open(objects, block, meta).await?;
        let mut written = write(tables, self.options(meta)?, meta, id, &path).await?;
        let (before, now) = (meta.traces, written.meta.traces);
        ensure!(before == now, "{now} traces were written, its meta says that there are {before}");
        // Whether copies of these spans are in other blocks does not change by writing them again.
        written.meta.replication_factor = meta.replication_factor;
        written.meta.replaces = vec![meta.id];
        if meta.continued > 0 {
            let continued = objects.get(&block.key(Continued::NAME)).await?;
            written.note_continued(&Continued::decode(&continued)?)?;
        }
        let staged = stage.finish(&written)?;
        Ok((staged.meta, staged.dir))
    }
}

/// Reads row groups while those before them are written.
async fn write(
    mut tables: Tables,
    options: WriteOptions,
    meta: &Meta,
    id: BlockId,
    path: &Path,
) -> anyhow::Result<Written> {
    let (send, mut receive) = tokio::sync::mpsc::channel::<Arc<SpanTable>>(1);
    let file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    let tenant = meta.tenant.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let tables = std::iter::from_fn(|| receive.blocking_recv());
        let rows = tables.flat_map(|table| {
            let traces = table.trace_count() as u32;
            (0..traces).map(move |row| (Arc::clone(&table), row))
        });
        block::write(rows, &options, &tenant, id, file)
    });
    let read = async {
        while let Some(table) = tables.next().await? {
            if send.send(Arc::new(table)).await.is_err() {
                break; // the writer has given up, and says why
            }
        }
        anyhow::Ok(())
    };
    let read = read.await;
    drop(send);
    let written = writer.await.context("the writer")?;
    read?;
    Ok(written?)
}

/// `span.http.route`, `resource.k8s.pod.name`, `span.server.port:int`
fn column(text: &str) -> anyhow::Result<DedicatedColumn> {
    let (name, kind) = match text.rsplit_once(':') {
        Some((name, "int")) => (name, DedicatedKind::Int),
        Some((name, "string")) => (name, DedicatedKind::String),
        _ => (text, DedicatedKind::String),
    };
    let scopes = [
        ("span.", DedicatedScope::Span),
        ("resource.", DedicatedScope::Resource),
        ("event.", DedicatedScope::Event),
    ];
    let found = scopes.iter().find_map(|(prefix, scope)| Some((*scope, name.strip_prefix(prefix)?)));
    let (scope, name) = found.filter(|(_, name)| !name.is_empty()).with_context(|| {
        format!("--dedicated: `{text}`: expected span.NAME, resource.NAME or event.NAME, with :int behind it for integers")
    })?;
    Ok(DedicatedColumn { kind, ..DedicatedColumn::string(scope, name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dedicated_columns_are_read_by_scope_and_type() {
        let form = |text: &str| Form { dedicated: text.to_owned(), ..Form::default() };
        let columns = form("resource.k8s.pod.name,span.server.port:int").columns().unwrap();
        assert_eq!(columns[0], DedicatedColumn::string(DedicatedScope::Resource, "k8s.pod.name"));
        assert_eq!(columns[1].kind, DedicatedKind::Int);
        form("none").check().unwrap();
        assert!(form("http.route").check().unwrap_err().to_string().contains("expected span.NAME"));
    }
}
