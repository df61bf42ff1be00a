//! What lies beside the data: Bloom filter and index, against the ids in the data.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tracing_core::{
    block::{Bloom, Continued, Meta},
    model::TraceId,
    store::Objects,
};

use super::{Content, Findings};
use crate::blocks::survey::Block;

/// The object `index`.
#[derive(Debug, Deserialize)]
struct Index {
    /// Last trace id of each row group, in base64.
    #[serde(rename = "rowGroups")]
    row_groups: Vec<String>,
}

pub(super) async fn check(
    findings: &mut Findings,
    objects: &Objects,
    block: &Block,
    meta: &Meta,
    content: &Content,
) {
    for number in 0..meta.bloom_shards {
        bloom(findings, objects, block, (number, meta.bloom_shards), content).await;
    }
    if meta.bloom_shards == 0 {
        findings.wrong("meta.json", "bloomShards is 0");
    }
    let surplus = format!("bloom-{}", meta.bloom_shards);
    if block.seen.objects.contains_key(&surplus) {
        findings.wrong(surplus, format!("bloomShards is {}", meta.bloom_shards));
    }
    index(findings, objects, block, content).await;
    if meta.continued > 0 || block.seen.objects.contains_key(Continued::NAME) {
        continued(findings, objects, block, meta, content).await;
    }
}

/// The list of traces that an earlier block has spans of, too.
async fn continued(
    findings: &mut Findings,
    objects: &Objects,
    block: &Block,
    meta: &Meta,
    content: &Content,
) {
    let read = objects.get(&block.key(Continued::NAME)).await.map_err(anyhow::Error::from);
    let continued = match read.and_then(|bytes| Ok(Continued::decode(&bytes)?)) {
        Ok(continued) => continued,
        Err(error) => {
            findings.wrong(Continued::NAME, format!("{error:#}"));
            return;
        }
    };
    findings.same("meta.json", "vivaceContinued", meta.continued, continued.entries().len());
    let stranger = continued.entries().iter().find(|(id, _)| content.ids.binary_search(id).is_err());
    if let Some((id, _)) = stranger.filter(|_| content.whole) {
        findings.wrong(Continued::NAME, format!("names the trace {id}, which the block does not hold"));
    }
}

async fn bloom(
    findings: &mut Findings,
    objects: &Objects,
    block: &Block,
    (number, shards): (u32, u32),
    content: &Content,
) {
    let name = format!("bloom-{number}");
    let read = objects.get(&block.key(&name)).await.map_err(anyhow::Error::from);
    let bloom = match read.and_then(|bytes| Ok(Bloom::decode(bytes)?)) {
        Ok(bloom) => bloom,
        Err(error) => {
            findings.wrong(name, format!("{error:#}"));
            return;
        }
    };
    let own = || content.ids.iter().copied().filter(|id| Bloom::shard_of(*id, shards) == number);
    let missing: Vec<TraceId> = own().filter(|id| !bloom.may_hold(*id)).collect();
    if let Some(first) = missing.first() {
        findings
            .wrong(&name, format!("{} ids of the block are not found, the first is {first}", missing.len()));
    } else if content.whole {
        let (set, all) = bloom.fill();
        let (expected, _) = bloom.holding(own()).fill();
        if set != expected {
            findings.wrong(&name, format!("{set} of {all} bits are set, the block's ids set {expected}"));
        }
    }
}

async fn index(findings: &mut Findings, objects: &Objects, block: &Block, content: &Content) {
    if !block.seen.objects.contains_key("index") {
        findings.wrong("index", "is missing");
        return;
    }
    let read = objects.get(&block.key("index")).await.map_err(anyhow::Error::from);
    let index = match read.and_then(|bytes| Ok(serde_json::from_slice::<Index>(&bytes)?)) {
        Ok(index) => index,
        Err(error) => {
            findings.wrong("index", format!("{error:#}"));
            return;
        }
    };
    if !content.whole {
        return;
    }
    findings.same("index", "rowGroups", index.row_groups.len(), content.groups.len());
    let mut end = 0;
    for (number, (said, count)) in index.row_groups.iter().zip(&content.groups).enumerate() {
        end += count;
        let last = end.checked_sub(1).and_then(|at| content.ids.get(at)).copied().unwrap_or_default();
        if *said != STANDARD.encode(last.0) {
            findings.wrong(
                "index",
                format!("rowGroups[{number}] is {said}, the last trace of the row group is {last}"),
            );
        }
    }
}
