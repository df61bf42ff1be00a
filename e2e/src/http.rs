//! HTTP as the checks need it: every status is an answer, and only a missing answer is an error.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::Agent;

/// A client that keeps its connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: Agent,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The readable part of the body, for messages: at most 400 characters. Errors of OTLP/HTTP are protobuf around their text.
    pub(crate) fn text(&self) -> String {
        let readable = |c: &char| (!c.is_control() || *c == '\n') && *c != char::REPLACEMENT_CHARACTER;
        String::from_utf8_lossy(&self.body).chars().filter(readable).take(400).collect()
    }

    /// The whole body.
    pub(crate) fn text_whole(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a 200 as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.status != 200 {
            bail!("HTTP {}: {}", self.status, self.text());
        }
        serde_json::from_slice(&self.body).with_context(|| format!("the answer is no JSON: {}", self.text()))
    }
}

impl Client {
    /// A client whose requests end after `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(limit)).max_redirects(0);
        Self { agent: config.build().new_agent() }
    }

    /// GET with headers.
    pub(crate) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.call(), url)
    }

    /// POST with headers and a body.
    pub(crate) fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut request = self.agent.post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body), url)
    }

    /// Any method, with headers and a body.
    pub(crate) fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(self.agent.run(request.body(body).with_context(|| url.to_owned())?), url)
    }

    /// POST an OTLP request as protobuf; anything but 200 is an error.
    pub(crate) fn export(&self, otlp: &str, body: &[u8]) -> Result<()> {
        let answer =
            self.post(&format!("{otlp}/v1/traces"), &[("Content-Type", "application/x-protobuf")], body)?;
        if answer.status != 200 {
            bail!("{otlp}/v1/traces: HTTP {}: {}", answer.status, answer.text());
        }
        Ok(())
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, url: &str) -> Result<Answer> {
    const LARGEST: u64 = 256 << 20;
    let mut answer = answer.with_context(|| url.to_owned())?;
    let status = answer.status().as_u16();
    let body =
        answer.body_mut().with_config().limit(LARGEST).read_to_vec().with_context(|| url.to_owned())?;
    Ok(Answer { status, body })
}

/// Percent-encode everything but letters, digits and `-_.~` (RFC 3986, unreserved).
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn a_query_survives_in_a_url() {
        assert_eq!(encode("{ a = \"ü\" }"), "%7B%20a%20%3D%20%22%C3%BC%22%20%7D");
    }
}
