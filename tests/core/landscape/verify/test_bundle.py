"""Bundles that somebody made up, with every hash that needs no key made right again.

Our own code and the script in the bundle must say the same of each.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.app.bundle_scene import REJECTED, bundle_of, load_script, purge, record_run, run_script, unpack
from tests.engine.workbench import Project

from elspeth.app.keys import signing_key
from elspeth.contracts import PayloadClass
from elspeth.core.canonical import sha256
from elspeth.core.landscape import SealFolder
from elspeth.core.landscape.bundles import BundleRecords, ProvenCommit, ProvenLeaf, decode_records, encode_records
from elspeth.core.landscape.leaves import commit_leaf, leaf_content
from elspeth.core.landscape.seals import seal_text
from elspeth.core.landscape.verify import Brought, Report, Strength, verify_bundle
from elspeth.core.merkle import leaf_hash, root_of
from elspeth.core.notes import SigningKey, encode_checkpoint, parse_checkpoint, parse_note

Files = Mapping[str, bytes]
script = load_script()


@dataclass(frozen=True)
class Scene:
    """A bundle of two rows, and the folder of the run."""

    project: Project
    files: Files
    folder: Path

    @property
    def records(self) -> BundleRecords:
        return decode_records(self.files["records.json"])

    @property
    def notes(self) -> list[str]:
        """The seals of the run, as somebody may have kept them."""
        folder = SealFolder.beside(self.project.database)
        return folder.notes(self.records.run_id)

    def verify(
        self, files: Files, *, keys: Sequence[SigningKey] = (), checkpoints: Sequence[str] = ()
    ) -> tuple[Report, str]:
        """What our own code and the script say; that they agree is always asserted."""
        lines = [key.verifier for key in keys]
        report = verify_bundle(files, brought=Brought(keys=lines, checkpoints=checkpoints))
        place = self.folder / "bundle"
        shutil.rmtree(place, ignore_errors=True)
        arguments: list[str | Path] = [unpack(files, place)]
        for option, texts in (("--key", [line.encode() + "\n" for line in lines]), ("--checkpoint", checkpoints)):
            for number, text in enumerate(texts):
                path = self.folder / f"{option}{number}"
                path.write_text(text)
                arguments += [option, path]
        code, said = run_script(script, *arguments)
        assert (code == 0) == (report.finding_count == 0), (said, report.as_json())
        return report, said


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    project = record_run(tmp_path_factory.mktemp("run"))
    return Scene(project, bundle_of(project, [0, REJECTED]).files, tmp_path_factory.mktemp("bundles"))


def forged(files: Files, change: Callable[[BundleRecords], BundleRecords]) -> Files:
    """The bundle with other records, written as they must be."""
    return {**files, "records.json": encode_records(change(decode_records(files["records.json"])))}


def with_files(files: Files, others: Files) -> Files:
    """The bundle with other files beside the payloads, named by their right hashes."""
    changed = {**files, **others}
    hashes = {
        name: sha256(data)
        for name, data in changed.items()
        if name != "records.json" and not name.startswith("payloads/")
    }
    return forged(changed, lambda records: replace(records, files=hashes))


def first(part: str, **changes: Any) -> Callable[[BundleRecords], BundleRecords]:
    """Changes the first leaf, commit or earlier tree; a function makes the new value from the old one."""

    def change(records: BundleRecords) -> BundleRecords:
        one, *others = getattr(records, part)
        values = {name: new(getattr(one, name)) if callable(new) else new for name, new in changes.items()}
        return replace(records, **{part: (replace(one, **values), *others)})

    return change


def twice(part: str) -> Callable[[BundleRecords], BundleRecords]:
    return lambda records: replace(records, **{part: (*getattr(records, part), getattr(records, part)[0])})


def leaves_of_last_commit_gone(records: BundleRecords) -> BundleRecords:
    last = records.commits[-1].commit_no
    return replace(records, leaves=tuple(leaf for leaf in records.leaves if leaf.commit_no != last))


def leaf_about(records: BundleRecords, text: str, commit_no: int | None = None) -> ProvenLeaf:
    return next(
        leaf
        for leaf in records.leaves
        if commit_no in (None, leaf.commit_no) and any(text in line for line in leaf.lines)
    )


def without(text: str, commit_no: int | None = None) -> Callable[[BundleRecords], BundleRecords]:
    """Without a leaf, and without the commits of which there is nothing else."""

    def change(records: BundleRecords) -> BundleRecords:
        leaves = tuple(leaf for leaf in records.leaves if leaf is not leaf_about(records, text, commit_no))
        known = {leaf.commit_no for leaf in leaves}
        commits = tuple(commit for commit in records.commits if commit.commit_no in known)
        return replace(records, leaves=leaves, commits=commits)

    return change


FORGERIES: dict[str, tuple[str, Callable[[BundleRecords], BundleRecords]]] = {
    "a line": ("records", first("leaves", lines=('["rows",0,2,"00"]',))),
    "a place": ("records", first("leaves", place=lambda place: place + 1)),
    "a place beyond all": ("records", first("leaves", place=1 << 40)),
    "a negative place": ("records", first("leaves", place=-1)),
    "a blinding": ("records", first("leaves", blinding=bytes(16))),
    "a path cut short": ("records", first("leaves", path=lambda path: path[1:])),
    "a path made longer": ("records", first("leaves", path=lambda path: (*path, bytes(32)))),
    "a leaf twice": ("records", twice("leaves")),
    "a leaf of no commit": ("records", first("leaves", commit_no=999)),
    "no leaves": ("records", lambda records: replace(records, leaves=())),
    "a commit without a leaf": ("records", leaves_of_last_commit_gone),
    "a commit less": ("records", lambda records: replace(records, commits=records.commits[1:])),
    "a commit twice": ("commits", twice("commits")),
    "a root": ("commits", first("commits", root=bytes(32))),
    "a count": ("commits", first("commits", leaf_count=lambda count: count + 1)),
    "a number": ("commits", first("commits", commit_no=1)),
    "a size": ("checkpoint", lambda records: replace(records, tree_size=records.tree_size + 1)),
    "a run": ("checkpoint", lambda records: replace(records, run_id="01zzz")),
    "an earlier root": ("checkpoint", first("earlier", root=bytes(32))),
    "an earlier size": ("checkpoint", first("earlier", size=lambda size: size + 1)),
    "an earlier size of nothing": ("checkpoint", first("earlier", size=0)),
    "an earlier path": ("checkpoint", first("earlier", path=())),
    "an earlier tree twice": ("checkpoint", twice("earlier")),
    "a pipeline": ("agreement", lambda records: replace(records, pipeline="another")),
    "a row more": ("agreement", lambda records: replace(records, rows=(*records.rows, 7))),
    "a row less": ("agreement", lambda records: replace(records, rows=records.rows[:1])),
    "no record of the run": ("agreement", without('["runs",')),
    "no record of a row": ("payloads", without(f'["rows",{REJECTED},')),
    "no record of a node": ("agreement", without('["nodes",1,')),
    "no record of a journey": ("agreement", without('["journeys",0,0,0,')),
    "a journey without its end": ("agreement", without('["journeys",0,1,1,')),
    "no record of a batch": ("agreement", without('["batches",1,')),
}
"""What is changed: in which step it is found, and how it is done."""


@pytest.mark.parametrize("what", FORGERIES)
def test_what_was_made_up_is_found_in_its_step(scene: Scene, what: str) -> None:
    step, change = FORGERIES[what]
    files = forged(scene.files, change)
    assert files["records.json"] != scene.files["records.json"]
    report, said = scene.verify(files)
    assert step == report.steps[-1].name
    assert Strength.CONSISTENT is report.strength
    assert f"NOT verified: {step}: " in said


def test_a_bundle_without_a_record_about_its_row_passes(scene: Scene) -> None:
    """As the README says: that nothing was left out only the whole trail tells."""
    mark = '["outcomes",0,'
    gone = leaf_about(scene.records, mark)
    named = [name for name in scene.files if any(name.removeprefix("payloads/") in line for line in gone.lines)]
    files = {name: data for name, data in scene.files.items() if name not in named}
    report, said = scene.verify(forged(files, without(mark)))
    assert [("journeys", "no passage that is here names it")] == [
        (finding.where, finding.message) for finding in report.steps[-1].findings
    ]
    assert "the journeys are not those that the passages name" in said
    (journey_no,) = [json.loads(line)[3] for line in gone.lines if line.startswith('["passages",')]
    step = f'["journeys",{journey_no},'

    def change(records: BundleRecords) -> BundleRecords:
        kept = without(mark)(records)
        while any(leaf.commit_no == gone.commit_no and leaf.lines[0].startswith(step) for leaf in kept.leaves):
            kept = without(step, gone.commit_no)(kept)
        return kept

    report, _ = scene.verify(forged(files, change))
    assert 0 == report.finding_count


def test_a_clean_bundle_has_six_steps_and_says_what_each_looked_at(scene: Scene) -> None:
    report, said = scene.verify(scene.files)
    names = ["files", "checkpoint", "commits", "records", "payloads", "agreement"]
    assert names == [step.name for step in report.steps]
    assert all(step.checked for step in report.steps)
    assert (scene.records.run_id, "test") == (report.run_id, report.pipeline)
    assert Strength.CONSISTENT is report.strength
    assert "the key came with the bundle" in said


def test_the_key_that_was_brought_decides(scene: Scene) -> None:
    own, other = signing_key(os.environ), SigningKey.generate()
    report, said = scene.verify(scene.files, keys=[own])
    assert (Strength.SIGNED, [f"the key {own.verifier.encode()}"]) == (report.strength, report.anchors)
    assert "sealed by the key that you brought" in said
    report, said = scene.verify(scene.files, keys=[other])
    assert "checkpoint" == report.steps[-1].name
    assert "not signed by the key" in said
    report, _ = scene.verify(scene.files, keys=[other, own])
    assert Strength.SIGNED is report.strength


def test_who_signs_a_made_up_tree_anew_is_found_by_the_key_alone(scene: Scene) -> None:
    """A forger with a key of his own, and its verifier line in the bundle."""
    forger = SigningKey.generate("forger")
    note = forger.sign(parse_note(scene.files["checkpoint.txt"].decode()).text)
    files = with_files(
        scene.files, {"checkpoint.txt": note.encode(), "key.txt": f"{forger.verifier.encode()}\n".encode()}
    )
    report, _ = scene.verify(files)
    assert (0, Strength.CONSISTENT) == (report.finding_count, report.strength)
    report, said = scene.verify(files, keys=[signing_key(os.environ)])
    assert "checkpoint" == report.steps[-1].name
    assert "not signed by the key" in said


def test_without_a_key_no_signature_is_checked_and_that_is_said(scene: Scene) -> None:
    files = with_files({name: data for name, data in scene.files.items() if name != "key.txt"}, {})
    report, said = scene.verify(files)
    assert (0, Strength.CONSISTENT) == (report.finding_count, report.strength)
    assert "no signature was checked" in report.steps[1].notes[0]
    assert "no signature was checked" in said


@pytest.mark.parametrize("number", [0, -1])
def test_a_checkpoint_that_was_kept_anchors_it_the_first_as_well_as_the_last(scene: Scene, number: int) -> None:
    note = scene.notes[number]
    size = parse_checkpoint(parse_note(note).text).size
    report, said = scene.verify(scene.files, checkpoints=[note])
    assert Strength.ANCHORED is report.strength
    assert report.anchors[-1].startswith(f"the checkpoint of {size} commits")
    assert f"anchored: the checkpoint that you brought, of {size} commits" in said


def test_the_file_of_the_seals_is_a_checkpoint_too(scene: Scene) -> None:
    notes = scene.notes
    _, said = scene.verify(scene.files, checkpoints=notes)
    assert "anchored" in said
    path = scene.folder / "seals"
    path.write_text("".join(notes))
    code, said = run_script(script, unpack(scene.files, scene.folder / "bundle"), "--checkpoint", path)
    assert 0 == code
    assert "anchored" in said


def brought(scene: Scene, key: SigningKey | None = None, **changes: object) -> str:
    """A checkpoint with changes, signed by the key of the run or by another."""
    known = parse_checkpoint(parse_note(scene.files["checkpoint.txt"].decode()).text)
    changed = msgspec.structs.replace(known, **changes)
    return (key or signing_key(os.environ)).sign(encode_checkpoint(changed))


def test_a_checkpoint_that_tells_of_something_else_is_a_difference(scene: Scene) -> None:
    size = scene.records.tree_size
    for changes, words in (
        ({"root": bytes(32)}, "tells of other"),
        ({"size": 2}, "no seal of th"),
        ({"size": size + 1, "root": root_of([bytes(32)])}, "newer than the bundle"),
        ({"origin": "elspeth/run/01zzz"}, "none that was brought is its|no checkpoint that was brought is of this run"),
        ({"key": SigningKey.generate()}, "another key"),
    ):
        report, said = scene.verify(scene.files, checkpoints=[brought(scene, **changes)])  # type: ignore[arg-type]
        assert "checkpoint" == report.steps[-1].name
        ((finding,),) = [report.steps[-1].findings]
        assert any(word in finding.message for word in words.split("|"))
        assert any(word in said for word in words.split("|"))
        assert ([], Strength.CONSISTENT) == (report.anchors, report.strength)


def test_a_missing_payload_is_excused_by_a_record_of_its_purge_alone(scene: Scene) -> None:
    gone = _name_of_row(scene)
    files = {name: data for name, data in scene.files.items() if name != gone}
    report, said = scene.verify(files)
    assert "payloads" == report.steps[-1].name
    assert f"{gone}: rows names it, and it is missing" in said


def _name_of_row(scene: Scene) -> str:
    digests = [record["data_hash"] for name, record in scene.records.records() if name == "rows"]
    return f"payloads/{digests[0]}"


def test_after_a_purge_old_bundles_pass_and_new_ones_say_what_is_gone(tmp_path: Path) -> None:
    project = record_run(tmp_path / "run")
    old = bundle_of(project, [0, REJECTED])
    scene = Scene(project, old.files, tmp_path)
    purge(project, PayloadClass.ROWS, why="kept for\n90 days")
    report, _ = scene.verify(old.files)
    assert 0 == report.finding_count
    new = bundle_of(project, [0, REJECTED])
    report, said = scene.verify(new.files)
    assert 0 == report.finding_count
    assert ["3 payloads were purged, as the records say"] == report.steps[4].notes
    assert "(purged)" in said
    assert any("class `rows` were purged" in fact and "kept for 90 days" in fact for fact in new.remarks)
    assert "by ana@host: kept for 90 days" in new.files["README.md"].decode()
    lines = {name for name in new.files if name.startswith("payloads/") and b"row-0-0" in new.files[name]}
    assert 2 == len(lines)
    for name in lines:
        report, _ = scene.verify({other: data for other, data in new.files.items() if other != name})
        assert "payloads" == report.steps[-1].name, "only what belongs to the purged class may be missing"


@pytest.mark.parametrize(
    "line",
    ['["rows","x",2,"00"]', '["rows",0,2,7]', '["purges",0,0,3,9,"a","b",null]', '["purges",0,0,99,1,"a","b",null]'],
)
def test_records_that_are_none_of_ours_end_in_a_finding_not_in_a_traceback(scene: Scene, line: str) -> None:
    """Signed by somebody who holds a key, and writes what no column can hold: a tree of one commit, of one leaf."""
    root = leaf_hash(leaf_content(bytes(16), f"{line}\n"))
    tree = commit_leaf("01k9x", commit_no=0, leaf_count=1, root=root)
    text = seal_text(run_id="01k9x", tree_size=1, root=tree, at=0, reason="opened")
    kept = {name: scene.files[name] for name in ("README.md", "verify.py")}
    key = signing_key(os.environ)
    files = {
        **kept,
        "checkpoint.txt": key.sign(text).encode(),
        "records.json": encode_records(
            BundleRecords(
                run_id="01k9x",
                pipeline="p",
                rows=(),
                tree_size=1,
                files={},
                earlier=(),
                commits=(ProvenCommit(commit_no=0, leaf_count=1, root=root, path=()),),
                leaves=(ProvenLeaf(commit_no=0, place=0, blinding=bytes(16), lines=(line,), path=()),),
            )
        ),
    }
    report, _ = scene.verify(with_files(files, {}))
    assert report.steps[-1].name in {"payloads", "agreement"}
    assert 1 == report.finding_count
