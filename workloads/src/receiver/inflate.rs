//! Decompression within a bound: what would become larger is refused before it does.

use std::io::Read;

use bytes::Bytes;

use crate::distributor::Refusal;

/// Bodies longer than this are decompressed apart from the threads that serve connections, bytes.
const INLINE: usize = 16 << 10;
/// Largest window that zstd may ask for, as a power of two: 8 MiB.
const ZSTD_WINDOW: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// From `Content-Encoding` or `grpc-encoding`.
    pub(super) fn from_header(value: Option<&str>) -> Result<Self, Refusal> {
        match value.map(str::trim).unwrap_or_default() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(Refusal::Unsupported(format!(
                "unsupported content encoding `{other}`, supported: gzip, zstd, identity"
            ))),
        }
    }

    /// The body itself; `setting` names the limit, of `limit` bytes.
    pub(super) async fn decode(
        self,
        body: Bytes,
        limit: usize,
        setting: &'static str,
    ) -> Result<Bytes, Refusal> {
        if self == Self::Identity {
            return Ok(body);
        }
        if body.len() <= INLINE {
            return self.inflate(&body, limit, setting);
        }
        let work = tokio::task::spawn_blocking(move || self.inflate(&body, limit, setting));
        work.await.map_err(|error| Refusal::Unavailable(format!("decompression: {error}")))?
    }

    fn inflate(self, body: &[u8], limit: usize, setting: &'static str) -> Result<Bytes, Refusal> {
        let wrong =
            |error: std::io::Error| Refusal::Invalid(format!("body is no sound {}: {error}", self.name()));
        let mut out = Vec::with_capacity((body.len() * 4).min(limit));
        let bound = limit as u64 + 1;
        match self {
            Self::Identity => out.extend_from_slice(body),
            Self::Gzip => {
                flate2::bufread::MultiGzDecoder::new(body)
                    .take(bound)
                    .read_to_end(&mut out)
                    .map_err(wrong)?;
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(wrong)?;
                decoder.window_log_max(ZSTD_WINDOW).map_err(wrong)?;
                decoder.take(bound).read_to_end(&mut out).map_err(wrong)?;
            }
        }
        if out.len() > limit {
            return Err(Refusal::TooLarge(format!(
                "body is over the limit of {limit} bytes after decompression ({setting})"
            )));
        }
        Ok(Bytes::from(out))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[tokio::test]
    async fn what_was_compressed_comes_back() {
        let text = vec![7; 100_000];
        let zstd = Bytes::from(zstd::encode_all(text.as_slice(), 1).unwrap());
        assert_eq!(Encoding::Gzip.decode(gzip(&text), 100_000, "x").await.unwrap(), text);
        assert_eq!(Encoding::Zstd.decode(zstd, 100_000, "x").await.unwrap(), text);
    }

    #[tokio::test]
    async fn a_bomb_is_refused_with_the_limit_by_name() {
        let zeros = vec![0; 10 << 20];
        for (encoding, bomb) in [
            (Encoding::Gzip, gzip(&zeros)),
            (Encoding::Zstd, Bytes::from(zstd::encode_all(zeros.as_slice(), 1).unwrap())),
        ] {
            let refusal = encoding.decode(bomb, 1000, "max_request_body_size").await.unwrap_err();
            assert_eq!(
                refusal,
                Refusal::TooLarge(
                    "body is over the limit of 1000 bytes after decompression (max_request_body_size)"
                        .to_owned()
                )
            );
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_compressed_are_refused() {
        let refusal = Encoding::Gzip.decode(Bytes::from_static(b"plain"), 1000, "x").await.unwrap_err();
        assert!(refusal.to_string().starts_with("body is no sound gzip: "), "{refusal}");
        assert!(matches!(Encoding::from_header(Some("br")), Err(Refusal::Unsupported(_))));
    }
}
