#!/usr/bin/env python3
"""gcs.py PORT INNER  Google's XML API on 127.0.0.1:PORT, as far as object stores' clients use it, over an emulator of its
JSON API on 127.0.0.1:INNER: no emulator that the registries have serves puts, deletions and multipart uploads by XML.
Conditions, ranges, listing and bytes are the emulator's; parts of unfinished uploads are kept here."""
import http.server, itertools, json, sys, threading, urllib.error, urllib.parse, urllib.request
from xml.etree import ElementTree
from xml.sax.saxutils import escape

PORT, INNER = int(sys.argv[1]), f"http://127.0.0.1:{int(sys.argv[2])}"
uploads, lock, ids = {}, threading.Lock(), itertools.count(1)


def inner(method, path, body=None, headers=None):
    request = urllib.request.Request(INNER + path, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def quote(text):
    return urllib.parse.quote(text, safe="")


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=None):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def target(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, name = url.path.lstrip("/").partition("/")
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        return urllib.parse.unquote(bucket), urllib.parse.unquote(name), query

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def do_GET(self):
        bucket, name, query = self.target()
        if not name:
            return self.list(bucket, query)
        object = f"/storage/v1/b/{quote(bucket)}/o/{quote(name)}"
        status, _, meta = inner("GET", object)
        if status != 200:
            return self.answer(status, meta)
        meta = json.loads(meta)
        wanted = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        status, headers, bytes = inner("GET", object + "?alt=media", headers=wanted)
        updated = meta["updated"]
        day = __import__("datetime").datetime.fromisoformat(updated.replace("Z", "+00:00")[:19] + "+00:00")
        out = {"ETag": f'"{meta["etag"].strip(chr(34))}"', "x-goog-generation": meta["generation"],
               "Last-Modified": day.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        out.update({k: v for k, v in headers.items() if k.lower() == "content-range"})
        self.answer(status, bytes, out)

    do_HEAD = do_GET

    def list(self, bucket, query):
        ask = {"prefix": query.get("prefix", ""), "delimiter": query.get("delimiter", ""),
               "pageToken": query.get("continuation-token", ""), "startOffset": query.get("start-after", "")}
        ask = urllib.parse.urlencode({k: v for k, v in ask.items() if v})
        status, _, body = inner("GET", f"/storage/v1/b/{quote(bucket)}/o?{ask}")
        if status != 200:
            return self.answer(status, body)
        found, out = json.loads(body), []
        for item in found.get("items", []):
            out.append(f"<Contents><Key>{escape(item['name'])}</Key><Size>{item['size']}</Size>"
                       f"<LastModified>{item['updated']}</LastModified><ETag>{escape(item['etag'])}</ETag></Contents>")
        for prefix in found.get("prefixes", []):
            out.append(f"<CommonPrefixes><Prefix>{escape(prefix)}</Prefix></CommonPrefixes>")
        if found.get("nextPageToken"):
            out.append(f"<NextContinuationToken>{escape(found['nextPageToken'])}</NextContinuationToken>")
        self.answer(200, f"<ListBucketResult>{''.join(out)}</ListBucketResult>")

    def store(self, bucket, name, bytes):
        ask = {"uploadType": "media", "name": name}
        if "x-goog-if-generation-match" in self.headers:
            ask["ifGenerationMatch"] = self.headers["x-goog-if-generation-match"]
        path = f"/upload/storage/v1/b/{quote(bucket)}/o?{urllib.parse.urlencode(ask)}"
        status, _, body = inner("POST", path, bytes, {"Content-Type": "application/octet-stream"})
        if status != 200:
            return status, body, {}
        meta = json.loads(body)
        return 200, b"", {"ETag": f'"{meta["etag"].strip(chr(34))}"', "x-goog-generation": meta["generation"]}

    def do_PUT(self):
        bucket, name, query = self.target()
        bytes = self.body()
        if "uploadId" not in query:
            return self.answer(*self.store(bucket, name, bytes))
        with lock:
            parts = uploads.get(query["uploadId"])
            if parts is not None:
                parts[int(query["partNumber"])] = bytes
        if parts is None:
            return self.answer(404)
        self.answer(200, headers={"ETag": f'"{query["partNumber"]}"'})

    def do_POST(self):
        bucket, name, query = self.target()
        body = self.body()
        if "uploads" in query:
            id = str(next(ids))
            with lock:
                uploads[id] = {}
            return self.answer(200, f"<InitiateMultipartUploadResult><Bucket>{escape(bucket)}</Bucket>"
                                    f"<Key>{escape(name)}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>")
        with lock:
            parts = uploads.pop(query.get("uploadId"), None)
        if parts is None:
            return self.answer(404)
        numbers = [int(e.text) for e in ElementTree.fromstring(body).iter() if e.tag.endswith("PartNumber")]
        status, said, headers = self.store(bucket, name, b"".join(parts[n] for n in numbers))
        if status == 200:
            said = f"<CompleteMultipartUploadResult><ETag>{escape(headers['ETag'])}</ETag></CompleteMultipartUploadResult>"
        self.answer(status, said, headers)

    def do_DELETE(self):
        bucket, name, query = self.target()
        if "uploadId" in query:
            with lock:
                uploads.pop(query["uploadId"], None)
            return self.answer(204)
        status, _, body = inner("DELETE", f"/storage/v1/b/{quote(bucket)}/o/{quote(name)}")
        self.answer(204 if status in (200, 204) else status, body)


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Front).serve_forever()
