"""A server on loopback with the archives of a small data set, in place of the real one's."""

import contextlib
import hashlib
import io
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server:
    """Serves two archives; can dawdle in the middle of one."""

    def __init__(self, archives: dict[str, bytes]) -> None:
        self.archives, self.behavior = archives, "good"
        #: The archives that were downloaded.
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = server.archives[self.path.strip("/")]
                if self.headers["Method"] != "HEAD":  # torchvision first asks where it is led
                    server.asked.append(self.path.strip("/"))
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                half = len(content) // 2
                self.wfile.write(content[:half])
                if server.behavior == "dawdle":
                    self.wfile.flush()
                    time.sleep(60)
                with contextlib.suppress(ConnectionError):  # whoever asked may be killed by then
                    self.wfile.write(content[half:])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=[0.05], daemon=True).start()

    def resources(self, published: dict[str, bytes] | None = None) -> tuple[tuple[str, str], ...]:
        """The archives' addresses, with the checksums of those that are published, if others."""
        return tuple(
            (
                f"http://127.0.0.1:{self.http.server_port}/{name}",
                hashlib.md5(content, usedforsecurity=False).hexdigest(),
            )
            for name, content in (published or self.archives).items()
        )

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def archives_of(folder: Path) -> dict[str, bytes]:
    archives = {}
    for name in ("images", "annotations"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.add(folder / name, name)
        archives[f"{name}.tar.gz"] = buffer.getvalue()
    return archives
