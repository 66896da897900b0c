"""A local publisher of weights: a web server, and the Hugging Face hub."""

import contextlib
import hashlib
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Publisher:
    """Served files, and recorded requests.

    Parameters
    ----------
    files : dict
        Content by path; text is an address to redirect to.
    broken : dict
        Number of truncated responses by path.
    slow : set
        Paths whose response stalls.
    """

    url: str = ""
    files: dict = field(default_factory=dict)
    broken: dict = field(default_factory=dict)
    slow: set = field(default_factory=set)
    asked: list = field(default_factory=list)


@contextlib.contextmanager
def publishing():
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(head=True)

        def do_GET(self):
            self.answer(head=False)

        def answer(self, head):
            publisher.asked.append((self.command, self.path, self.headers.get("Range")))
            content = publisher.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            if isinstance(content, str):
                self.send_response(302)
                self.send_header("Location", content)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if (span := self.headers.get("Range")) is not None:
                start = int(span.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.end_headers()
            if head:
                return
            rest = content[start:]
            if publisher.broken.get(self.path, 0):
                publisher.broken[self.path] -= 1
                self.wfile.write(rest[: len(rest) // 2])
                self.wfile.flush()
                self.close_connection = True
                return
            if self.path in publisher.slow:
                self.wfile.write(rest[:10])
                self.wfile.flush()
                time.sleep(1.5)
                return
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(rest)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    publisher.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
