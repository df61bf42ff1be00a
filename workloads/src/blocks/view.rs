//! `vivace blocks view`.

use clap::Args;
use serde::Serialize;
use tracing_core::block::{Bloom, DedicatedScope, Meta};
use vivace_config::CommandLine;

use super::{
    Common,
    columns::{self, Column},
    data::Data,
    list, print,
    print::Table,
    survey::{Block, Survey},
};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// The block, or the beginning of its id
    block: String,
}

#[derive(Debug, Serialize)]
struct View {
    meta: Meta,
    live: bool,
    created_by: String,
    spans: u64,
    bytes_per_span: f64,
    row_groups: Vec<RowGroup>,
    blooms: Vec<Fill>,
    objects: Vec<Object>,
    columns: Vec<Column>,
}

#[derive(Debug, Serialize)]
struct RowGroup {
    traces: u64,
    compressed: u64,
    uncompressed: u64,
}

#[derive(Debug, Serialize)]
struct Fill {
    bits: u64,
    set: u64,
    hashes: u64,
    /// Share of absent ids that are taken for present, as the bits that are set make it.
    false_positive: f64,
}

#[derive(Debug, Serialize)]
struct Object {
    name: String,
    size: u64,
}

pub(super) async fn run(options: &Options, line: &CommandLine) -> anyhow::Result<()> {
    let place = options.common.place(line)?;
    let survey = Survey::take(&place.objects, options.common.tenant()?.as_ref()).await?;
    let block = survey.find(&options.block)?;
    let meta = block.meta(&place.objects).await?;
    let data = Data::open(&place.objects, &block).await?;
    let mut blooms = Vec::new();
    for number in 0..meta.bloom_shards {
        let shard = Bloom::decode(place.objects.get(&block.key(&format!("bloom-{number}"))).await?)?;
        let ((set, bits), hashes) = (shard.fill(), shard.hashes());
        let false_positive = (set as f64 / bits as f64).powi(hashes as i32);
        blooms.push(Fill { bits, set, hashes, false_positive });
    }
    let view = view(&data, &block, meta, blooms).await?;
    if options.common.json {
        return print::json(&view);
    }
    show(&view);
    Ok(())
}

async fn view(data: &Data, block: &Block, meta: Meta, blooms: Vec<Fill>) -> anyhow::Result<View> {
    let groups = data.meta.row_groups().iter().map(|group| RowGroup {
        traces: group.num_rows().max(0) as u64,
        compressed: group.compressed_size().max(0) as u64,
        uncompressed: group.total_byte_size().max(0) as u64,
    });
    let objects = block.seen.objects.iter().map(|(name, size)| Object { name: name.clone(), size: *size });
    let spans = data.spans();
    Ok(View {
        meta,
        live: block.seen.is_live(),
        created_by: data.meta.file_metadata().created_by().unwrap_or_default().to_owned(),
        spans,
        bytes_per_span: data.size as f64 / spans.max(1) as f64,
        row_groups: groups.collect(),
        blooms,
        objects: objects.collect(),
        columns: columns::columns(data).await?,
    })
}

fn show(view: &View) {
    let meta = &view.meta;
    let mut table = Table::new(&["block", &meta.id.to_string()]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("tenant", meta.tenant.to_string());
    row("format", format!("{}, by {}", meta.format, view.created_by));
    row(
        "state",
        match meta.compacted {
            _ if view.live => "live".to_owned(),
            Some(at) => format!("compacted at {at}"),
            None => "compacted".to_owned(),
        },
    );
    row("time", format!("{} to {}", meta.start, meta.end));
    row("level", meta.compaction_level.to_string());
    row("traces, spans", format!("{}, {}", meta.traces, view.spans));
    row(
        "size",
        format!("{} ({} bytes), {:.1} a span", print::size(meta.size), meta.size, view.bytes_per_span),
    );
    row("footer", print::size(meta.footer_size.into()));
    row("replication", meta.replication_factor.to_string());
    row("dedicated", list::dedicated(&meta.dedicated));
    for column in &meta.dedicated {
        let scope = match column.scope {
            DedicatedScope::Resource => "resource",
            DedicatedScope::Span => "span",
            DedicatedScope::Event => "event",
        };
        row("", format!("{scope}.{} ({:?})", column.name, column.kind).to_lowercase());
    }
    table.print();
    println!();
    let mut groups = Table::new(&[">row group", ">traces", ">compressed", ">uncompressed"]);
    for (number, group) in view.row_groups.iter().enumerate() {
        let sizes = [group.compressed, group.uncompressed].map(print::size);
        let [compressed, uncompressed] = sizes;
        groups.row([number.to_string(), group.traces.to_string(), compressed, uncompressed]);
    }
    groups.print();
    println!();
    let mut beside = Table::new(&["object", ">size", "content"]);
    for object in &view.objects {
        let number: Option<usize> = object.name.strip_prefix("bloom-").and_then(|number| number.parse().ok());
        let fill = number.and_then(|number| view.blooms.get(number)).map(|fill| {
            let share = 100.0 * fill.set as f64 / fill.bits as f64;
            let wrong = 100.0 * fill.false_positive;
            format!(
                "{} of {} bits set ({share:.2} %), {} hashes, {wrong:.4} % wrongly found",
                fill.set, fill.bits, fill.hashes
            )
        });
        beside.row([object.name.clone(), print::size(object.size), fill.unwrap_or_default()]);
    }
    beside.print();
    println!();
    columns::table(&view.columns).print();
}
