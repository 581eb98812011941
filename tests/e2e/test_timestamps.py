"""A seal that an outsider stamped, through the installed command."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.authority import SUBJECT, Authority, AuthorityServer, refusal
from tests.e2e.project import Done, Project
from tests.e2e.test_keys import PIPELINE

from elspeth.core.notes import parse_checkpoint, parse_note, split_notes
from elspeth.core.timestamps import TimestampQuery

TIME = "2026-11-26T17:18:23Z"


@dataclass(frozen=True)
class Scene:
    """A complete run, an authority, and the verifier's copy of the authority's root."""

    project: Project
    authority: Authority
    server: AuthorityServer
    root: Path

    @property
    def seals(self) -> Path:
        return self.project.folder / ".elspeth" / "seals"

    @property
    def note(self) -> str:
        """The last seal."""
        return split_notes((self.seals / f"{self.project.run_id()}.seals").read_text())[-1]

    @property
    def said(self) -> str:
        size = parse_checkpoint(parse_note(self.note).text).size
        return f"seal of {size} commits existed on {TIME}, says {SUBJECT}"

    @property
    def file(self) -> Path:
        return self.seals / f"{self.project.run_id()}.{parse_checkpoint(parse_note(self.note).text).size}.tsr"

    def stamp(self, *options: str, code: int = 0) -> Done:
        return self.project("timestamp", "latest", "--url", self.server.url, *options, code=code)

    def verify(self, *options: str, code: int = 0) -> Done:
        return self.project("verify", *options, "--tsa-certificate", self.root, code=code)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one complete run; each test stamps it anew."""
    project = Project(tmp_path_factory.mktemp("stamped"))
    project.write("pipeline.yaml", PIPELINE)
    project.write("fruit.csv", "id,name\n1,apple\n2,fig\n")
    project("run", "pipeline.yaml")
    return project


@pytest.fixture
def scene(project: Project, tmp_path: Path) -> Iterator[Scene]:
    authority = Authority()
    root = tmp_path / "root.pem"
    root.write_bytes(authority.root_pem)
    with AuthorityServer(authority.answer) as server:
        scene = Scene(project, authority, server, root)
        yield scene
    for stamp in scene.seals.glob("*.tsr"):
        stamp.unlink()


def test_a_seal_is_stamped_once_and_anchors_the_run(scene: Scene) -> None:
    done = scene.stamp()
    assert f"run {scene.project.run_id()}: {scene.said}\n" == done.out
    assert f"kept in {scene.file}" in done.err
    kept = scene.file.read_bytes()

    again = scene.stamp("--json").json()
    assert {
        "schema_version": 1,
        "run": scene.project.run_id(),
        "commits": parse_checkpoint(parse_note(scene.note).text).size,
        "later_commits": 0,
        "path": str(scene.file),
        "sha256": hashlib.sha256(scene.note.encode()).hexdigest(),
        "time": TIME,
        "authority": SUBJECT,
        "is_new": False,
    } == again
    assert (1, kept) == (len(scene.server.requests), scene.file.read_bytes())

    verified = scene.verify()
    assert f"   anchor: {scene.said}\n" in verified.out
    assert "verified, and anchored" in verified.out
    found = scene.verify("--all", "--json").json()
    assert (True, "anchored", [scene.said]) == (found["is_verified"], found["strength"], found["runs"][0]["anchors"])
    plain = scene.project("verify").out
    assert "note: 1 timestamp is not checked: bring the authority's root with --tsa-certificate" in plain
    assert "verified, consistent only" in plain


def test_a_timestamp_that_does_not_fit_is_found(scene: Scene) -> None:
    scene.file.write_bytes(Authority().answer(_query(scene)))
    differs = scene.verify(code=1)

    assert f"   seals {scene.file.name}: its signature does not lead to a root that was brought" in differs.out
    assert "NOT verified: 1 difference" in differs.out


def test_a_run_of_which_only_a_timestamp_is_left_is_missed(scene: Scene) -> None:
    scene.stamp()
    scene.file.rename(scene.seals / "01zzzzzzzzzzz.4.tsr")

    assert "runs 01zzzzzzzzzzz: the run was sealed, and is not in the database" in scene.verify("--all", code=1).out


def test_a_kept_file_of_something_else_is_not_taken_for_the_timestamp(scene: Scene) -> None:
    scene.file.write_bytes(scene.authority.answer(_query(scene, b"another seal")))
    refused = scene.stamp(code=3)
    assert f"{scene.file} stamps something else than the seal that it is named for" in refused.err
    assert "hint: Move that file away, and ask again." in refused.err
    assert [] == scene.server.requests


def test_what_is_no_timestamp_is_said_and_not_kept(scene: Scene) -> None:
    before = sorted(scene.seals.iterdir())
    for answer, said in (
        (b"<html>busy</html>", "this is not a timestamp"),
        (refusal("no account"), "the authority gave no timestamp: rejection ('no account')"),
    ):
        with AuthorityServer(lambda _, answer=answer: answer) as server:
            failed = scene.project("timestamp", "--url", server.url, code=3)
        assert ("", True) == (failed.out, said in failed.err)
    assert before == sorted(scene.seals.iterdir())


def test_an_answer_to_another_query_is_not_kept(scene: Scene) -> None:
    old = scene.authority.answer(_query(scene))
    with AuthorityServer(lambda _: old) as server:
        failed = scene.project("timestamp", "--url", server.url, code=3)

    assert "has not the nonce of the query" in failed.err
    assert not scene.file.exists()


def test_a_password_in_the_url_is_neither_told_nor_kept(scene: Scene) -> None:
    secret = "sentinel-4f1c9a77"
    url = scene.server.url.replace("http://", f"http://{secret}:{secret}@") + f"?token={secret}"
    done = scene.project("timestamp", "--url", url)
    scene.file.unlink()
    refused = scene.project("timestamp", "--url", f"http://{secret}@127.0.0.1:9/{secret}", code=3)

    assert "cannot be asked" in refused.err
    for said in (done, refused):
        assert secret not in said.out + said.err
    left = [path for path in scene.project.folder.rglob("*") if path.is_file()]
    assert [] == [path for path in left if secret.encode() in path.read_bytes()]


def test_mistakes_are_told_before_anybody_is_asked(scene: Scene) -> None:
    assert "begins with https:// or http://" in scene.project("timestamp", "--url", "tsa.example", code=2).err
    scene.root.write_bytes(scene.authority.certificate_pem)
    assert "the certificates that were brought lead to no root" in scene.verify(code=2).err


def _query(scene: Scene, message: bytes | None = None) -> bytes:
    return TimestampQuery.of(scene.note.encode() if message is None else message).data
