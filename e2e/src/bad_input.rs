//! What a server must refuse, and a disk that runs full: each with the answer that a sender can act upon, and nothing broken afterwards.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::artifacts;
use crate::home::Home;
use crate::http::{Answer, Client, encode};
use crate::otlp::{Trace, request};
use crate::progress::output;
use crate::report::Report;
use crate::server::Server;
use crate::shop::{Shop, now};
use crate::stack::{spans_of, wait};

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A server and a client for it.
#[derive(Debug)]
struct Bench {
    server: Server,
    client: Client,
}

/// Send everything bad to one server, then fill the disk of another.
pub(crate) fn run(home: &Home, report: &mut Report) -> Result<()> {
    let binary = artifacts::vivace(home)?;
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let bench =
        Bench { server: Server::start(&binary, folder.path())?, client: Client::new(Duration::from_mins(1)) };
    report.check("bad input: malformed protobuf is a 400", || {
        bench.refused(&[PROTOBUF], &[0x0a, 0xff, 0xff, 0xff], 400, &[])
    });
    report.check("bad input: malformed JSON is a 400", || {
        bench.refused(&[JSON], b"{\"resourceSpans\": [{", 400, &[])
    });
    report.check("bad input: JSON with a field of the wrong type is a 400", || {
        bench.refused(&[JSON], b"{\"resourceSpans\": [{\"scopeSpans\": 7}]}", 400, &[])
    });
    report.check("bad input: another content type is a 415", || {
        bench.refused(&[("Content-Type", "text/plain")], b"hello", 415, &[])
    });
    report.check("bad input: a body that says gzip and is not is a 400", || {
        bench.refused(&[PROTOBUF, ("Content-Encoding", "gzip")], b"not gzip", 400, &[])
    });
    report.check("bad input: a gzip bomb is refused and not unpacked", || bench.bomb());
    report.check("bad input: a body over the limit is a 413 that names the limit", || {
        // with Expect the refusal comes before the body, which a server need not read to its end
        bench.refused(&[PROTOBUF, ("Expect", "100-continue")], &vec![0; 80 << 20], 413, &["limit"])
    });
    report.check("bad input: a batch of wrong trace ids is a 400 that names the field", || bench.wrong_ids());
    report.check("bad input: the valid spans of a batch are taken, the others counted", || bench.partial());
    report.check("bad input: a wrong query is a 400 with the place and what was expected", || {
        bench.wrong_query()
    });
    report.check("bad input: the server still takes and answers", || bench.works());
    report.check("bad input: SIGTERM still ends it with status 0", || {
        bench.server.stop().map(|()| String::new())
    });
    report.check("full disk: writes are refused, reads go on, and it recovers", || full_disk(&binary));
    Ok(())
}

impl Bench {
    fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        self.client.post(&format!("{}/v1/traces", self.server.otlp), headers, body)
    }

    /// It must be refused with the status, and the message must hold the words.
    fn refused(&self, headers: &[(&str, &str)], body: &[u8], status: u16, words: &[&str]) -> Result<String> {
        let answer = self.post(headers, body)?;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(answer.status == status, "HTTP {}, not {status}: {}", answer.status, answer.text());
        ensure!(!said.trim().is_empty(), "HTTP {status} without a word");
        for word in words {
            ensure!(
                said.to_lowercase().contains(word),
                "the message does not say {word:?}: {}",
                answer.text()
            );
        }
        Ok(answer.text().replace('\n', " ").trim().chars().take(160).collect())
    }

    fn bomb(&self) -> Result<String> {
        let before = self.server.memory_kib("VmHWM")?;
        // members one after the other unpack to their sum: 2 GiB of zeros
        let mut member = GzEncoder::new(Vec::new(), Compression::best());
        member.write_all(&vec![0; 4 << 20])?;
        let bomb = member.finish()?.repeat(512);
        let said = self.refused(&[PROTOBUF, ("Content-Encoding", "gzip")], &bomb, 413, &["limit"])?;
        let grown = self.server.memory_kib("VmHWM")?.saturating_sub(before) / 1024;
        ensure!(grown < 256, "memory grew by {grown} MiB for a body of {} KiB", bomb.len() / 1024);
        Ok(format!("{said}; memory grew by {grown} MiB"))
    }

    fn wrong_ids(&self) -> Result<String> {
        let mut traces = Shop::new(11).traces(2, now());
        for trace in &mut traces {
            trace.id.truncate(15);
        }
        self.refused(&[PROTOBUF], &request(&traces), 400, &["trace", "id"])
    }

    fn partial(&self) -> Result<String> {
        let mut traces = Shop::new(12).traces(2, now());
        let (bad, good) = traces.split_at_mut(1);
        bad[0].id.truncate(15);
        let (rejected, good) = (bad[0].spans.len(), good[0].clone());
        let answer = self.post(&[PROTOBUF], &request(&traces))?;
        ensure!(answer.status == 200, "HTTP {}: {}", answer.status, answer.text());
        let told = rejected_spans(&answer.body).context("the answer has no partial success")?;
        ensure!(told == rejected as u64, "{told} spans reported as rejected, {rejected} were");
        self.found(&good)?;
        Ok(format!("{rejected} rejected, {} taken", good.spans.len()))
    }

    fn found(&self, trace: &Trace) -> Result<()> {
        let spans = spans_of(&self.client, &self.server.api, &trace.hex())?;
        ensure!(spans.len() == trace.spans.len(), "{} of {} spans found", spans.len(), trace.spans.len());
        Ok(())
    }

    fn wrong_query(&self) -> Result<String> {
        let query = "service = \"x\" and operation = \"y\"";
        let answer = self.client.get(&format!("{}/api/search?q={}", self.server.api, encode(query)), &[])?;
        ensure!(answer.status == 400, "HTTP {}: {}", answer.status, answer.text());
        let said = answer.text();
        ensure!(
            said.contains("resource.service.name") && said.contains('{'),
            "the message does not show the valid form: {said}"
        );
        Ok(said.replace('\n', " | "))
    }

    fn works(&self) -> Result<String> {
        let traces = Shop::new(13).traces(1, now());
        self.client.export(&self.server.otlp, &request(&traces))?;
        self.found(&traces[0]).map(|()| String::new())
    }
}

/// `rejected_spans` (field 1) of `partial_success` (field 1) of an `ExportTraceServiceResponse`.
fn rejected_spans(body: &[u8]) -> Option<u64> {
    let [0x0a, _, 0x08, rest @ ..] = body else { return None };
    let mut value = 0;
    for (index, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A small file system of its own, unmounted when dropped.
#[derive(Debug)]
struct Disk<'a> {
    folder: &'a Path,
}

impl<'a> Disk<'a> {
    fn mount(folder: &'a Path, mebibytes: u32) -> Result<Self> {
        let size = format!("size={mebibytes}m");
        output(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder))?;
        Ok(Self { folder })
    }

    fn grow(&self, mebibytes: u32) -> Result<()> {
        let options = format!("remount,size={mebibytes}m");
        output(Command::new("mount").args(["-o", &options]).arg(self.folder)).map(drop)
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder).stderr(Stdio::null()).status();
    }
}

fn full_disk(binary: &Path) -> Result<String> {
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let user = output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        return Ok("left out: only root can mount a small disk".to_owned());
    }
    let disk = Disk::mount(folder.path(), 24)?;
    let bench =
        Bench { server: Server::start(binary, folder.path())?, client: Client::new(Duration::from_secs(30)) };
    let (mut shop, mut taken, began) = (Shop::new(14), Vec::new(), Instant::now());
    let refusal = loop {
        let traces = shop.traces(40, now());
        let answer = bench.post(&[PROTOBUF], &request(&traces))?;
        if answer.status != 200 {
            break answer;
        }
        taken.extend(traces.into_iter().take(1));
        if began.elapsed() > Duration::from_mins(1) {
            bail!("a disk of 24 MiB took writes for 60 s");
        }
    };
    ensure!(refusal.status == 503, "HTTP {}, not 503: {}", refusal.status, refusal.text());
    for trace in [taken.first(), taken.last()].into_iter().flatten() {
        bench.found(trace).context("reading on the full disk")?;
    }
    disk.grow(256)?;
    let after = shop.traces(1, now());
    wait(Duration::from_secs(30), "writing again", || {
        bench.client.export(&bench.server.otlp, &request(&after))
    })?;
    bench.found(&after[0])?;
    let said = refusal.text().replace('\n', " ");
    bench.server.kill()?;
    let server = Server::start(binary, folder.path()).context("restart on the disk that was full")?;
    let bench = Bench { server, client: Client::new(Duration::from_secs(30)) };
    for trace in taken.iter().chain(&after) {
        bench.found(trace).context("after a restart")?;
    }
    bench.server.stop()?;
    Ok(format!("{} batches taken, then 503 {}", taken.len(), said.trim()))
}

#[cfg(test)]
mod tests {
    use super::rejected_spans;

    #[test]
    fn the_count_of_a_partial_success_is_read() {
        assert_eq!(rejected_spans(&[0x0a, 3, 0x08, 0x96, 0x01]), Some(150));
        assert_eq!(rejected_spans(&[]), None);
        assert_eq!(rejected_spans(&[0x0a, 0]), None);
    }
}
