"""A hub on this machine: the few routes that publishing and fetching a preset take."""

import base64
import hashlib
import http.server
import json
import urllib.parse


class Hub(http.server.ThreadingHTTPServer):
    """Keeps commits of repositories in memory.

    Attributes:
        commits: Repository to its commits, the newest last: the commit's name, and its files.
        url: The address.
        token: What a client must send to write.
        lfs: Whether `model.safetensors` is said to be kept by Git LFS, whose hash is a SHA-256.
        way: How to misbehave: `""`, `"damages"` or `"is down"`.
        asked: The path of each request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits = {}
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.token, self.lfs, self.way, self.asked = "hf_secret", False, "", []

    def publish(self, repository, files):
        """Adds a commit, with the files of the one before that have not changed."""
        kept = self.commits.setdefault(repository, [])
        files = {**(kept[-1][1] if kept else {}), **files}
        name = hashlib.sha1(repr((len(kept), sorted(files.items()))).encode()).hexdigest()
        kept.append((name, files))
        return name

    def commit(self, repository, revision):
        """Returns the name and the files of a commit, or `None`."""
        kept = self.commits.get(repository, [])
        if revision == "main":
            return kept[-1] if kept else None
        return next((one for one in kept if one[0] == revision), None)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self):
        hub = self.server
        path, parts = self._parts()
        if hub.way == "is down":
            return self._answer({"error": "closed for today"}, status=503)
        if path.startswith("/api/models/") and parts[4:5] == ["revision"]:
            found = hub.commit("/".join(parts[2:4]), parts[5])
            if found is None:
                return self._answer({"error": "Repository not found"}, status=404, error="RepoNotFound")
            siblings = [self._sibling(name, data) for name, data in sorted(found[1].items())]
            about = {"id": "/".join(parts[2:4]), "sha": found[0], "siblings": siblings, "tags": [], "downloads": 0}
            return self._answer({**about, "likes": 0, "private": False, "disabled": False})
        if parts[2:3] == ["resolve"]:
            found = hub.commit("/".join(parts[:2]), parts[3])
            data = None if found is None else found[1].get("/".join(parts[4:]))
            if data is None:
                return self._answer({"error": "no such file"}, status=404, error="EntryNotFound")
            if hub.way == "damages":
                data = data[:-1] + bytes([data[-1] ^ 1])
            headers = {"X-Repo-Commit": found[0], "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            return self._send(data, headers=headers, kind="application/octet-stream")
        return self._answer({"error": f"no route for {path}"}, status=404)

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        hub = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, parts = self._parts()
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._answer({"error": "Invalid username or password."}, status=401)
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            repository = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            hub.commits.setdefault(repository, [])
            return self._answer({"url": f"{hub.url}/{repository}", "id": repository})
        repository = "/".join(parts[2:4])
        if parts[4:5] == ["preupload"]:
            names = [one["path"] for one in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return self._answer({"files": modes})
        if parts[4:5] == ["commit"]:
            lines = [json.loads(line) for line in body.splitlines()]
            files = {one["value"]["path"]: one["value"]["content"] for one in lines if one["key"] == "file"}
            name = hub.publish(repository, {path: base64.b64decode(content) for path, content in files.items()})
            return self._answer(
                {"commitUrl": f"{hub.url}/{repository}/commit/{name}", "commitOid": name, "hookOutput": ""}
            )
        return self._answer({"error": f"no route for {path}"}, status=404)

    def _parts(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.server.asked.append(path)
        return path, path.strip("/").split("/")

    def _sibling(self, name, data):
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        said = {"rfilename": name, "size": len(data), "blobId": blob}
        if self.server.lfs and name.endswith(".safetensors"):
            said["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return said

    def _answer(self, content, status=200, error=None):
        headers = {} if error is None else {"X-Error-Code": error, "X-Error-Message": content["error"]}
        self._send(json.dumps(content).encode(), status=status, headers=headers)

    def _send(self, data, status=200, headers=(), kind="application/json"):
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass
