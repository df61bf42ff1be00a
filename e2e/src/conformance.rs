//! Conformance: a recorded corpus is sent to a server, recorded questions are asked, and the answers held against those that Tempo gave.
//! Asked in every place that spans can be in: just acknowledged, replayed from the WAL after a crash, flushed, read from blocks after a restart,
//! flushed in the other format, in parts that lie in two blocks and in memory, and merged from blocks that each held a part of a trace.

mod compare;
mod kinds;
mod streamed;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

use crate::artifacts;
use crate::blocks;
use crate::home::Home;
use crate::http::{Client, encode};
use crate::report::Report;
use crate::roles;
use crate::server::{Server, Setup};
use crate::stack::wait;
use crate::streaming::Streaming;

use self::kinds::KINDS;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Ask only these kinds (also ones that are not asked by default)
    #[arg(long, value_delimiter = ',')]
    kind: Vec<String>,
    /// Ask only these questions
    #[arg(long, value_delimiter = ',')]
    id: Vec<String>,
    /// Ask a server that runs and holds the corpus already, instead of starting one
    #[arg(long)]
    api: Option<String>,
    /// With --api: send the corpus to this OTLP/HTTP address first
    #[arg(long)]
    otlp: Option<String>,
}

/// One recorded question.
#[derive(Debug, Deserialize)]
struct Question {
    id: String,
    kind: String,
    path: String,
    params: BTreeMap<String, Value>,
}

/// The questions to ask, and the recorded answers by id.
#[derive(Debug)]
pub(crate) struct Recording {
    questions: Vec<Question>,
    answers: BTreeMap<String, Value>,
}

/// Start a server, send the corpus and ask in every placement.
pub(crate) fn run(home: &Home, options: &Options, report: &mut Report) -> Result<()> {
    let recording = Recording::open(home, options)?;
    say_what_is_not_asked(options);
    let corpus = corpus(home)?;
    if let Some(api) = &options.api {
        if let Some(otlp) = &options.otlp {
            send(otlp, &corpus)?;
        }
        recording.check(api, "given server", report);
        return Ok(());
    }
    let binary = artifacts::vivace(home)?;
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let server = Server::start(&binary, folder.path())?;
    send(&server.otlp, &corpus)?;
    recording.check(&server.api, "live", report);
    server.kill()?;
    let server = Server::start(&binary, folder.path())?;
    recording.check(&server.api, "replayed after kill -9", report);
    server.flush()?;
    report.check("conformance: the flush wrote blocks", || blocks(&folder.path().join("traces")));
    recording.check(&server.api, "flushed", report);
    recording.check_streamed(&server.grpc, "flushed, streamed", report)?;
    server.stop()?;
    let server = Server::start(&binary, folder.path())?;
    recording.check(&server.api, "restarted on blocks", report);
    server.stop()?;
    let store = folder.path().join("traces").display().to_string();
    report.check("conformance: blocks check finds nothing wrong", || blocks::check(&binary, &store));
    as_vparquet5(&binary, &recording, &corpus, report)?;
    roles::run(home, &binary, &recording, &corpus, report)?;
    in_parts(&binary, &recording, &corpus, report)?;
    merged(&binary, &recording, &corpus, report)
}

/// The other format that blocks are written in.
fn as_vparquet5(binary: &Path, recording: &Recording, corpus: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let setup = Setup { version: Some("vParquet5"), ..Setup::default() };
    let server = Server::start_as(&setup, binary, folder.path())?;
    send(&server.otlp, corpus)?;
    server.flush()?;
    recording.check(&server.api, "flushed as vParquet5", report);
    server.stop()?;
    let store = folder.path().join("traces").display().to_string();
    report.check("conformance: blocks check finds nothing wrong in vParquet5", || {
        blocks::check(binary, &store)
    });
    Ok(())
}

/// Asks for a number of a nested set as such. Numbers follow the order in which siblings came, and of a trace that was torn between
/// two blocks nobody knows it: the merged trace has valid numbers, and others than the trace that came whole.
const ABOUT_NUMBERS: &str = "search-064";

/// The trace of the corpus that holds a span twice: whoever merges blocks drops one of the two, and the recorded
/// answers come from blocks that were not merged.
const SENT_TWICE: &str = "ed000000000000000000000000000054";

/// Some of the traces torn between two blocks and what is not in a block yet.
fn in_parts(binary: &Path, recording: &Recording, corpus: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let server = Server::start(binary, folder.path())?;
    let torn = corpus.iter().enumerate().map(|(at, request)| match at % 4 {
        0 => tear::<3>(request),
        _ => Ok([request.clone(), Vec::new(), Vec::new()]),
    });
    let torn: Vec<_> = torn.collect::<Result<_>>()?;
    for part in [0, 1, 2] {
        let part = torn.iter().filter_map(|parts| parts.get(part).cloned());
        let part: Vec<_> = part.filter(|request| !request.is_empty()).collect();
        server.flush()?;
        send(&server.otlp, &part)?;
    }
    recording.check_put_together(&server.api, "in two blocks and in memory", report);
    server.stop()
}

/// Traces torn between two blocks, which are then merged.
fn merged(binary: &Path, recording: &Recording, corpus: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let store = folder.path().join("traces").display().to_string();
    let setup = Setup { compacts: true, ..Setup::default() };
    let server = Server::start_as(&setup, binary, folder.path())?;
    let halves: Vec<_> = corpus.iter().map(|request| tear::<2>(request)).collect::<Result<_>>()?;
    for half in [0, 1] {
        let part: Vec<_> = halves.iter().filter_map(|halves| halves.get(half).cloned()).collect();
        send(&server.otlp, &part)?;
        server.flush()?;
    }
    let merged = report.check("conformance: two blocks of torn traces are merged", || {
        wait(Duration::from_mins(1), "one block of all", || {
            let listed = blocks::list(binary, &store)?;
            let all = listed["blocks"].as_array().context("no blocks")?;
            let live: Vec<_> = all.iter().filter(|block| block["compacted"].is_null()).collect();
            ensure!(live.len() == 1 && all.len() > 1, "{} blocks, {} of them live", all.len(), live.len());
            Ok(format!("{} blocks became one of level {}", all.len() - 1, live[0]["level"]))
        })
    });
    if merged {
        // The block list is polled every five seconds.
        std::thread::sleep(Duration::from_secs(6));
        recording.check_put_together(&server.api, "merged from torn traces", report);
    }
    server.stop()?;
    report.check("conformance: blocks check finds nothing wrong in merged blocks", || {
        blocks::check(binary, &store)
    });
    Ok(())
}

/// A request cut in parts, resource by resource: most traces have spans in several.
fn tear<const PARTS: usize>(request: &[u8]) -> Result<[Vec<u8>; PARTS]> {
    let mut parts = [const { Vec::new() }; PARTS];
    let (mut rest, mut count) = (request, 0);
    while let [0x0a, after @ ..] = rest {
        let (size, tail) = varint(after)?;
        let head = rest.len() - tail.len();
        let (resource, after) =
            rest.split_at_checked(head + size).context("the corpus ends inside a resource")?;
        if let Some(part) = parts.get_mut(count % PARTS) {
            part.extend_from_slice(resource);
        }
        (rest, count) = (after, count + 1);
    }
    ensure!(rest.is_empty(), "a request of the corpus holds more than resources");
    Ok(parts)
}

/// A number in front, and what follows it.
fn varint(mut rest: &[u8]) -> Result<(usize, &[u8])> {
    let (mut value, mut shift) = (0_usize, 0_u32);
    loop {
        let (byte, after) = rest.split_first().context("the corpus ends inside a length")?;
        rest = after;
        value |= usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if *byte < 0x80 {
            return Ok((value, rest));
        }
    }
}

/// The number of blocks below a folder of local storage, as `<tenant>/<block>/meta.json`.
fn blocks(folder: &Path) -> Result<String> {
    let mut count = 0;
    for tenant in folder.read_dir().with_context(|| folder.display().to_string())? {
        for block in tenant?.path().read_dir()? {
            count += usize::from(block?.path().join("meta.json").is_file());
        }
    }
    if count == 0 {
        bail!("no block with a meta.json below {}", folder.display());
    }
    Ok(format!("{count} blocks"))
}

fn say_what_is_not_asked(options: &Options) {
    for kind in KINDS.iter().filter(|k| options.kind.iter().all(|chosen| chosen != k.name)) {
        if let Some(reason) = kind.later {
            println!("not yet asked: {}: {reason}", kind.name);
        }
    }
}

/// The requests of the corpus: each is preceded by its length as a varint.
fn corpus(home: &Home) -> Result<Vec<Vec<u8>>> {
    let path = home.part("data/corpus.otlp.gz");
    let mut data = Vec::new();
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    GzDecoder::new(file).read_to_end(&mut data).with_context(|| path.display().to_string())?;
    let mut rest = data.as_slice();
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let (size, after) = varint(rest)?;
        rest = after;
        let (request, after) = rest.split_at_checked(size).context("the corpus ends inside a request")?;
        requests.push(request.to_vec());
        rest = after;
    }
    Ok(requests)
}

pub(crate) fn send(otlp: &str, corpus: &[Vec<u8>]) -> Result<()> {
    let client = Client::new(Duration::from_mins(1));
    for (index, request) in corpus.iter().enumerate() {
        client.export(otlp, request).with_context(|| format!("request {index} of the corpus"))?;
    }
    println!("{} requests of the corpus sent", corpus.len());
    Ok(())
}

impl Recording {
    pub(crate) fn open(home: &Home, options: &Options) -> Result<Self> {
        let chosen = |q: &Question| {
            let asked = KINDS.iter().any(|k| k.name == q.kind && k.later.is_none());
            let kind = if options.kind.is_empty() { asked } else { options.kind.contains(&q.kind) };
            if options.id.is_empty() { kind } else { options.id.contains(&q.id) }
        };
        let path = home.part("data/queries.jsonl");
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let mut questions = Vec::new();
        for line in BufReader::new(file).lines() {
            let question: Question =
                serde_json::from_str(&line?).with_context(|| path.display().to_string())?;
            if !KINDS.iter().any(|k| k.name == question.kind) {
                bail!("{}: kind {} is not declared in conformance/kinds.rs", question.id, question.kind);
            }
            if chosen(&question) {
                questions.push(question);
            }
        }
        if questions.is_empty() {
            bail!("no recorded question is chosen by --kind and --id");
        }
        Ok(Self { questions, answers: answers(home)? })
    }

    /// Ask every question, print what differs and a line a kind, and count.
    pub(crate) fn check(&self, api: &str, placement: &str, report: &mut Report) {
        let client = Client::new(Duration::from_mins(1));
        tell(placement, report, &self.questions, |question| self.ask(&client, api, question, None));
    }

    /// Ask every question but one, with one trace left out of recorded and given search answers.
    fn check_put_together(&self, api: &str, placement: &str, report: &mut Report) {
        let client = Client::new(Duration::from_mins(1));
        let questions = self.questions.iter().filter(|question| question.id != ABOUT_NUMBERS);
        tell(placement, report, questions, |question| self.ask(&client, api, question, Some(SENT_TWICE)));
    }

    /// Ask every question that the streaming API takes, over gRPC at `address`.
    pub(crate) fn check_streamed(&self, address: &str, placement: &str, report: &mut Report) -> Result<()> {
        let client = Streaming::to(address)?;
        let questions = self.questions.iter().filter(|question| streamed::message(question).is_some());
        tell(placement, report, questions, |question| {
            let message = streamed::message(question).context("not a question for a stream")?;
            let wanted = self.answers.get(&question.id).context("no answer is recorded")?;
            let (status, body) = client.search(message)?;
            Ok(compare::differs(&question.kind, wanted, status, Some(&body)))
        });
        Ok(())
    }

    fn ask(
        &self,
        client: &Client,
        api: &str,
        question: &Question,
        but: Option<&str>,
    ) -> Result<Option<String>> {
        let mut wanted = self.answers.get(&question.id).context("no answer is recorded")?.clone();
        let answer = client.get(&question.url(api), &[("Accept", "application/json")])?;
        let mut body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        if let Some(id) = but {
            for body in [wanted.get_mut("body"), body.as_mut()].into_iter().flatten() {
                leave_out(id, body);
            }
        }
        let problem = compare::differs(&question.kind, &wanted, answer.status, body.as_ref());
        Ok(problem.map(|p| if answer.status == 200 { p } else { format!("{p}: {}", answer.text().trim()) }))
    }
}

/// Ask each of `questions`, print what differs and a line a kind, and count.
fn tell<'a>(
    placement: &str,
    report: &mut Report,
    questions: impl IntoIterator<Item = &'a Question>,
    ask: impl Fn(&Question) -> Result<Option<String>>,
) {
    let mut tally: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut failures = Vec::new();
    for question in questions {
        let problem = ask(question).unwrap_or_else(|error| Some(format!("no answer: {error:#}")));
        let (good, all) = tally.entry(&question.kind).or_default();
        *all += 1;
        if let Some(problem) = problem {
            let asked = question.params.get("q").and_then(Value::as_str).unwrap_or(&question.path);
            println!("FAIL  {} {placement}: {asked}\n      {problem}", question.id);
            failures.push(format!("conformance {placement}: {}: {problem}", question.id));
        } else {
            *good += 1;
        }
    }
    let kinds: Vec<_> = tally.iter().map(|(kind, (good, all))| format!("{kind} {good} of {all}")).collect();
    println!("conformance {placement}: {}", kinds.join(", "));
    report.count(tally.values().map(|(good, _)| good).sum(), failures);
}

/// Takes a trace out of a search answer; other answers stay as they are.
fn leave_out(id: &str, body: &mut Value) {
    if let Some(traces) = body.get_mut("traces").and_then(Value::as_array_mut) {
        traces.retain(|trace| trace["traceID"] != id);
    }
}

impl Question {
    fn url(&self, api: &str) -> String {
        let path = match self
            .path
            .split_once("/tag/")
            .and_then(|(head, tag)| Some((head, tag.strip_suffix("/values")?)))
        {
            Some((head, tag)) => format!("{head}/tag/{}/values", encode(tag)),
            None => self.path.clone(),
        };
        let pairs: Vec<_> =
            self.params.iter().map(|(name, value)| format!("{name}={}", encode(&plain(value)))).collect();
        format!("{}{path}?{}", api.trim_end_matches('/'), pairs.join("&")).trim_end_matches('?').to_owned()
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn answers(home: &Home) -> Result<BTreeMap<String, Value>> {
    let path = home.part("data/expected.jsonl.gz");
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let mut answers = BTreeMap::new();
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let answer: Value = serde_json::from_str(&line?).with_context(|| path.display().to_string())?;
        let id = answer["id"].as_str().context("a recorded answer without id")?.to_owned();
        answers.insert(id, answer);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::{Home, Options, Recording, compare, corpus};

    #[test]
    fn a_torn_request_is_the_same_resources_in_two_parts() {
        let request = [0x0a, 2, 7, 7, 0x0a, 1, 8, 0x0a, 0];
        let [one, two] = super::tear::<2>(&request).unwrap();
        assert_eq!((one, two), (vec![0x0a, 2, 7, 7, 0x0a, 0], vec![0x0a, 1, 8]));
        assert!(super::tear::<2>(&request[..3]).is_err());
    }

    #[test]
    fn every_recorded_answer_agrees_with_itself() {
        let home = Home::locate().unwrap();
        let kind = super::KINDS.iter().map(|k| k.name.to_owned()).collect();
        let recording = Recording::open(&home, &Options { kind, ..Options::default() }).unwrap();
        assert_eq!(recording.questions.len(), 464);
        for question in &recording.questions {
            let wanted = &recording.answers[&question.id];
            let status = u16::try_from(wanted["status"].as_u64().unwrap()).unwrap();
            assert_eq!(
                compare::differs(&question.kind, wanted, status, wanted.get("body")),
                None,
                "{}",
                question.id
            );
        }
    }

    #[test]
    fn the_corpus_is_whole() {
        let requests = corpus(&Home::locate().unwrap()).unwrap();
        assert!(
            requests.len() > 10 && requests.iter().all(|r| r.first() == Some(&0x0a)),
            "{} requests",
            requests.len()
        );
    }
}
