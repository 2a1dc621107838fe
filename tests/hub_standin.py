"""A loopback Hugging Face Hub for tests: enough of the Hub's protocol for the real client.

Invariant: a repository is what git makes of it. A commit names a whole tree and its parent by
hash, a branch is a pointer that moves only from the parent a commit names, a tag never moves.
Large files go through the LFS batch protocol; private repositories are invisible without a token
that may see them (401 for nobody, 404 for somebody else, as the Hub answers).

    with HubStandin({"hf_owner": Account("org")}) as hub:
        os.environ["HF_ENDPOINT"] = hub.url
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import yaml
from aiohttp import web

from tests.hub_git import Blob, Repository

LFS_SUFFIXES = (".safetensors", ".png", ".bin", ".pt")
GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Account:
    """Whose token it is: writes to `name`, reads its private repositories; `read_only` tokens
    read."""

    name: str
    read_only: bool = False


@dataclass
class Failure:
    """A planned answer: requests whose path contains `path` get `status`, `times` times."""

    path: str
    status: int
    times: int


class Answer(Exception):
    """An answer given from below a handler."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


class HubStandin:
    """The server, on a free loopback port, in a thread of its own."""

    def __init__(self, tokens: Mapping[str, Account]) -> None:
        self.tokens = dict(tokens)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.failures: list[Failure] = []
        self.before_commit: Callable[[], object] | None = None  # called once, by the next commit
        self.url = ""
        self._large: dict[str, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> HubStandin:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def create(self, id: str, files: Mapping[str, bytes], *, private: bool = False) -> Repository:
        """A repository that somebody else filled."""
        repository = self.repositories[id] = Repository(id, private)
        repository.commit("initial commit", {".gitattributes": Blob(GITATTRIBUTES, False)})
        self.push_by_hand(id, files)
        return repository

    def push_by_hand(self, id: str, files: Mapping[str, bytes]) -> str:
        """A commit on `main` made by somebody else."""
        repository = self.repositories[id]
        added = {path: Blob(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()}
        return repository.commit("by hand", {**repository.head.tree, **added})

    async def _start(self) -> str:
        app = web.Application(middlewares=[self._middleware], client_max_size=1 << 30)
        api, repo = "/api/models/{org}/{name}", "/{org}/{name}"
        app.add_routes(
            [
                web.get("/api/whoami-v2", self._whoami),
                web.post("/api/repos/create", self._create),
                web.post("/api/validate-yaml", self._validate_yaml),
                web.post(api + "/preupload/{rev}", self._preupload),
                web.post(api + "/commit/{rev}", self._commit),
                web.post(api + "/tag/{rev}", self._tag),
                web.get(api + "/refs", self._refs),
                web.get(api + "/tree/{rev}", self._tree),
                web.get(api + "/revision/{rev}", self._info),
                web.get(api, self._info),
                web.post(repo + ".git/info/lfs/objects/batch", self._lfs_batch),
                web.post(repo + ".git/info/lfs/verify", self._lfs_verify),
                web.put("/lfs/{sha256}", self._lfs_put),
                web.get(repo + "/resolve/{rev}/{path:.+}", self._resolve),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        for failure in self.failures:
            if failure.path in request.path and failure.times:
                failure.times -= 1
                return _error(failure.status, None, "planned by the test")
        header = request.headers.get("Authorization")
        account = None
        if header is not None:
            account = self.tokens.get(header.removeprefix("Bearer "))
            if account is None:
                return _error(401, None, "Invalid credentials in Authorization header")
        request["account"] = account
        try:
            return await handler(request)
        except Answer as answer:
            return answer.response

    def _repository(self, request: web.Request, *, write: bool = False) -> Repository:
        id = f"{request.match_info['org']}/{request.match_info['name']}"
        account: Account | None = request["account"]
        repository = self.repositories.get(id)
        owner = account is not None and account.name == id.partition("/")[0]
        if repository is None or (repository.private and not owner):
            raise Answer(_error(404 if account else 401, "RepoNotFound", "Repository not found"))
        if write and (not owner or account is None or account.read_only):
            raise Answer(_error(403 if account else 401, None, "You cannot write to this"))
        return repository

    def _at(self, request: web.Request, *, write: bool = False) -> tuple[Repository, str]:
        repository = self._repository(request, write=write)
        revision = request.match_info.get("rev", "main")
        oid = repository.find(revision)
        if oid is None:
            raise Answer(_error(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
        return repository, oid

    async def _whoami(self, request: web.Request) -> web.Response:
        account: Account | None = request["account"]
        if account is None:
            return _error(401, None, "Invalid username or password.")
        return web.json_response({"name": account.name, "type": "user", "orgs": []})

    async def _create(self, request: web.Request) -> web.Response:
        account: Account | None = request["account"]
        body = await request.json()
        owner = body.get("organization") or (account.name if account else "")
        id = f"{owner}/{body['name']}"
        if account is None:
            return _error(401, None, "Invalid username or password.")
        if account.name != owner or account.read_only:
            return _error(403, None, f"You don't have the rights to create a model under {owner}")
        url = f"{self.url}/{id}"
        if id in self.repositories:
            return web.json_response({"error": "You already created this", "url": url}, status=409)
        private = body.get("visibility") == "private" or body.get("private") is True
        repository = self.repositories[id] = Repository(id, private)
        repository.commit("initial commit", {".gitattributes": Blob(GITATTRIBUTES, False)})
        return web.json_response({"url": url, "name": id, "id": id})

    async def _validate_yaml(self, request: web.Request) -> web.Response:
        content = (await request.json())["content"]
        errors = []
        if content.startswith("---\n"):
            try:
                metadata = yaml.safe_load(content.split("---\n")[1]) or {}
                bases = metadata.get("base_model", [])
                for base in [bases] if isinstance(bases, str) else bases:
                    if base.count("/") != 1:
                        errors.append({"message": f'"base_model" {base} is not a model id'})
                for entry in metadata.get("model-index", []):
                    if "name" not in entry or "results" not in entry:
                        errors.append({"message": '"model-index" needs name and results'})
            except yaml.YAMLError as error:
                errors.append({"message": str(error)})
        return web.json_response({"errors": errors, "warnings": []}, status=400 if errors else 200)

    async def _preupload(self, request: web.Request) -> web.Response:
        repository, oid = self._at(request, write=True)
        tree = repository.commits[oid].tree
        files = []
        for file in (await request.json())["files"]:
            lfs = file["path"].endswith(LFS_SUFFIXES) or file["size"] > 10_000_000
            known = tree.get(file["path"])
            files.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    "oid": known.etag if known else None,
                }
            )
        return web.json_response({"files": files})

    async def _lfs_batch(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=True)
        body = await request.json()
        objects = []
        for item in body["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self._large:
                entry["actions"] = {
                    "upload": {"href": f"{self.url}/lfs/{item['oid']}", "header": {}},
                    "verify": {"href": f"{self.url}/{repository.id}.git/info/lfs/verify"},
                }
            objects.append(entry)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def _lfs_put(self, request: web.Request) -> web.Response:
        data = await request.read()
        if hashlib.sha256(data).hexdigest() != request.match_info["sha256"]:
            return _error(422, None, "the bytes are not what their name says")
        self._large[request.match_info["sha256"]] = data
        return web.Response()

    async def _lfs_verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        if len(self._large.get(body["oid"], b"")) != body["size"]:
            return _error(404, None, "not uploaded")
        return web.Response()

    async def _commit(self, request: web.Request) -> web.Response:
        if self.before_commit is not None:
            somebody, self.before_commit = self.before_commit, None
            somebody()
        repository, oid = self._at(request, write=True)
        lines = [json.loads(line) for line in (await request.read()).splitlines()]
        header = lines[0]["value"]
        parent = header.get("parentCommit", repository.main)
        if request.match_info["rev"] != "main" or not (oid == repository.main == parent):
            return _error(412, None, "The branch has moved: its head is not the parent commit")
        tree = dict(repository.head.tree)
        for line in lines[1:]:
            value = line["value"]
            match line["key"]:
                case "file":
                    tree[value["path"]] = Blob(base64.b64decode(value["content"]), False)
                case "lfsFile":
                    if value["oid"] not in self._large:
                        return _error(400, None, f"{value['path']} was not uploaded")
                    tree[value["path"]] = Blob(self._large[value["oid"]], True)
                case "deletedFile":
                    if tree.pop(value["path"], None) is None:
                        return _error(404, "EntryNotFound", "A file with this name doesn't exist")
        made = repository.commit(header["summary"], tree)
        return web.json_response(
            {
                "success": True,
                "commitOid": made,
                "commitUrl": f"{self.url}/{repository.id}/commit/{made}",
                "hookOutput": "",
            }
        )

    async def _tag(self, request: web.Request) -> web.Response:
        repository, oid = self._at(request, write=True)
        tag = (await request.json())["tag"]
        if tag in repository.tags:
            return _error(409, None, f"Tag {tag} exists")
        repository.tags[tag] = oid
        return web.json_response({})

    async def _refs(self, request: web.Request) -> web.Response:
        repository = self._repository(request)
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in repository.tags.items()
        ]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.main}
        return web.json_response({"branches": [main], "tags": tags, "converts": []})

    async def _info(self, request: web.Request) -> web.Response:
        repository, oid = self._at(request)
        siblings: list[dict[str, Any]] = []
        for path, blob in sorted(repository.commits[oid].tree.items()):
            entry: dict[str, Any] = {"rfilename": path}
            if "blobs" in request.query:
                entry |= {"size": len(blob.data), "blobId": blob.oid}
                if blob.lfs:
                    size = len(blob.data)
                    entry["lfs"] = {"sha256": blob.sha256, "size": size, "pointerSize": 130}
            siblings.append(entry)
        return web.json_response(
            {
                "id": repository.id,
                "modelId": repository.id,
                "sha": oid,
                "private": repository.private,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
        )

    async def _tree(self, request: web.Request) -> web.Response:
        repository, oid = self._at(request)
        entries = []
        for path, blob in sorted(repository.commits[oid].tree.items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.data)}
            entry["oid"] = blob.oid
            if blob.lfs:
                size = len(blob.data)
                entry["lfs"] = {"oid": blob.sha256, "size": size, "pointerSize": 130}
            entries.append(entry)
        return web.json_response(entries)

    async def _resolve(self, request: web.Request) -> web.Response:
        repository, oid = self._at(request)
        path = request.match_info["path"]
        blob = repository.commits[oid].tree.get(path)
        if blob is None:
            return _error(404, "EntryNotFound", f"{path} is not in this repository")
        headers = {"X-Repo-Commit": oid, "ETag": f'"{blob.etag}"'}
        if blob.lfs:
            headers |= {
                "X-Linked-Etag": f'"{blob.etag}"',
                "X-Linked-Size": str(len(blob.data)),
            }
        return web.Response(
            body=blob.data, headers=headers, content_type="application/octet-stream"
        )


def _error(status: int, code: str | None, message: str) -> web.Response:
    headers = {"X-Error-Message": message}
    if code is not None:
        headers["X-Error-Code"] = code
    return web.json_response({"error": message}, status=status, headers=headers)
