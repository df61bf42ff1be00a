//! `cargo e2e up`: from a clone to an answered question on a real cluster, in front of the user's eyes. `cargo e2e down` takes all of it away.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::{self, Cluster};
use crate::home::Home;
use crate::http::{Client, encode};
use crate::progress::{Step, output};
use crate::shop::now;
use crate::stack::{NAMESPACE, OPERATOR, SAMPLE, Stack, search};

const QUESTION: &str = "{ resource.service.name = \"checkout\" && span.http.status_code >= 500 }";
const READY_LIMIT: Duration = Duration::from_mins(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many traces are sent
    #[arg(long, default_value_t = 400)]
    traces: usize,
    /// Port of 127.0.0.1 for the query API (another one, when it is taken)
    #[arg(long, default_value_t = 3200)]
    port: u16,
}

/// Bring everything up and show that it works.
pub(crate) fn up(home: &Home, options: &Options) -> Result<()> {
    let cluster = cluster::ready(home)?;
    let stack = Stack::prepare(&cluster)?;
    stack.apply("samples/tempostack.yaml")?;
    let took = stack.wait_ready(READY_LIMIT)?;
    println!("TempoStack {SAMPLE}: applied to Ready in {:.1} s", took.as_secs_f64());
    let step = Step::start(format!("sending {} traces over OTLP", options.traces));
    let traces = stack.send(options.traces)?;
    let spans: usize = traces.iter().map(|t| t.spans.len()).sum();
    step.done(&format!("{spans} spans acknowledged"));
    let api = stack.forward("query-frontend", 3200, Some(options.port))?;
    let client = Client::new(Duration::from_secs(20));
    let found = search(&client, &api.address, QUESTION, 10)?;
    println!("\n{QUESTION}");
    print!("{}", table(&found, now()));
    ensure!(!found.is_empty(), "no trace was found");
    let otlp = stack.forward("distributor", 4318, Some(4318))?;
    println!("\nGrafana: data source Tempo at {}", api.address);
    println!("OTLP:    {}/v1/traces", otlp.address);
    println!("ask:     curl -s '{}/api/search?q={}'", api.address, encode(QUESTION));
    println!("look:    cargo e2e kubectl -n {NAMESPACE} get pods,tempostack");
    println!("end:     cargo e2e down");
    std::fs::create_dir_all(home.out())?;
    std::fs::write(home.out().join("forwards"), format!("{}\n{}\n", api.leave(), otlp.leave()))?;
    Ok(())
}

/// Remove everything: our own cluster as a whole, of a given one what we put there.
pub(crate) fn down(home: &Home) -> Result<()> {
    let cluster = Cluster::choose(home);
    for group in std::fs::read_to_string(home.out().join("forwards")).unwrap_or_default().lines() {
        // gone already with the cluster, as a rule
        let _ = output(std::process::Command::new("kill").args(["-TERM", "--", &format!("-{group}")]));
    }
    let step = Step::start(format!("taking down {}", cluster.describe()));
    if cluster.is_own() {
        if !cluster.runs() {
            step.done("it does not run");
            return Ok(());
        }
        cluster.stop()?;
    } else {
        // the operator goes last: it has to see the TempoStack go
        cluster.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s"])?;
        cluster.helm(&["uninstall", OPERATOR, "--namespace", OPERATOR, "--ignore-not-found", "--wait"])?;
        cluster.kubectl(&["delete", "namespace", OPERATOR, "--ignore-not-found", "--timeout=120s"])?;
    }
    step.done("nothing is left");
    Ok(())
}

/// kubectl for the user.
pub(crate) fn kubectl(home: &Home, arguments: &[String]) -> Result<ExitCode> {
    let cluster = Cluster::choose(home);
    let status = cluster.kubectl_command(arguments).status().context("kubectl")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Search results as a table.
fn table(found: &[Value], now: u64) -> String {
    let heads = ["TRACE", "SERVICE", "ROOT", "STARTED", "DURATION", "SPANS", "MATCHED"];
    let mut rows = vec![heads.map(str::to_owned)];
    for trace in found {
        let text = |name: &str| trace[name].as_str().unwrap_or("").to_owned();
        let start: u64 = text("startTimeUnixNano").parse().unwrap_or(now);
        let stats = trace["serviceStats"].as_object();
        let spans: u64 =
            stats.into_iter().flat_map(|s| s.values()).filter_map(|s| s["spanCount"].as_u64()).sum();
        let matched = [&trace["spanSets"][0]["matched"], &trace["spanSet"]["matched"]]
            .into_iter()
            .find_map(Value::as_u64);
        rows.push([
            text("traceID"),
            text("rootServiceName"),
            text("rootTraceName"),
            format!("{:.1} s ago", now.saturating_sub(start) as f64 / 1e9),
            format!("{} ms", trace["durationMs"].as_u64().unwrap_or(0)),
            spans.to_string(),
            matched.unwrap_or(0).to_string(),
        ]);
    }
    let widths: Vec<_> =
        (0..heads.len()).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::table;
    use crate::otlp::Span;
    use crate::shop::Shop;

    #[test]
    fn the_traces_sent_hold_an_answer_to_the_question() {
        for seed in 0..20 {
            let mut shop = Shop::new(seed);
            let traces = shop.traces(400, 1_800_000_000_000_000_000);
            let failed = |s: &Span| s.service == "checkout" && s.error && s.kind == 2;
            assert!(traces.iter().any(|t| t.spans.iter().any(failed)), "seed {seed}");
        }
    }

    #[test]
    fn results_stand_in_columns_under_their_heads() {
        let found = json!([{
            "traceID": "0af7", "rootServiceName": "frontend", "rootTraceName": "GET /", "startTimeUnixNano": "1000000000",
            "durationMs": 12, "serviceStats": { "frontend": { "spanCount": 3 }, "cart": { "spanCount": 4 } }, "spanSets": [{ "matched": 2 }],
        }]);
        let text = table(found.as_array().unwrap(), 3_500_000_000);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "TRACE  SERVICE   ROOT   STARTED    DURATION  SPANS  MATCHED");
        assert_eq!(lines[1], "0af7   frontend  GET /  2.5 s ago  12 ms     7      2");
    }
}
