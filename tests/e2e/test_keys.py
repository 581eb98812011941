"""The signing key as a user meets it: shown, replaced, and kept where it belongs."""

import stat
from pathlib import Path

import metamorphic_log
import pytest
from tests.e2e.project import Project

from elspeth.core.notes import SigningKey, VerifierKey, split_notes

PIPELINE = """\
name: fruit
source: {plugin: csv, options: {path: fruit.csv}, schema: {id: int, name: str}}
sinks:
  out: {plugin: jsonl, options: {path: out.jsonl}}
output: out
"""


@pytest.fixture
def folder(project: Project) -> Path:
    """Where the commands of this project keep keys."""
    return Path(project.env["HOME"]) / ".config" / "elspeth"


def secret(folder: Path) -> str:
    return (folder / "signing_key").read_text()


def test_the_first_look_makes_the_key_and_says_so(project: Project, folder: Path) -> None:
    first = project("keys", "show")
    again = project("keys", "show")

    assert VerifierKey.parse(first.out.removesuffix("\n")).encode() == first.out.removesuffix("\n")
    assert first.out == again.out
    assert first.err.startswith(f"made the first signing key: {folder}/signing_key\nsince ")
    assert again.err.startswith("since ")
    assert f"{folder}/signing_key" in again.err
    assert 0o600 == stat.S_IMODE((folder / "signing_key").stat().st_mode)
    assert [] == list(project.folder.iterdir())


def test_what_is_shown_is_the_public_half(project: Project, folder: Path) -> None:
    shown = project("keys", "show", "--all").out + project("keys", "show", "--all", "--json").out
    key = SigningKey.parse(secret(folder).removesuffix("\n"))

    assert key.verifier.encode() in shown
    assert secret(folder).split("+")[-1].strip() not in shown


def test_a_key_as_json(project: Project, folder: Path) -> None:
    shown = project("keys", "show", "--json").json()
    (key,) = shown["keys"]
    verifier = VerifierKey.parse(key["verifier"])

    assert (1, f"{folder}/signing_key") == (shown["schema_version"], shown["path"])
    assert (verifier.name, verifier.key_id.hex(), True) == (key["name"], key["key_id"], key["is_current"])
    assert f"# since {key['since']}\n{key['verifier']}\n" == (folder / "known_keys").read_text()


def test_a_rotation_is_only_told_until_it_is_asked_for(project: Project, folder: Path) -> None:
    line = project("keys", "show").out
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    told = project("keys", "rotate")

    assert f"would make a new signing key in {folder}/signing_key\n" in told.out
    assert "nothing was changed; elspeth keys rotate --yes does it\n" == told.err
    told_json = project("keys", "rotate", "--json").json()
    assert (False, line) == (told_json["rotated"], told_json["old"]["verifier"] + "\n")
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_rotation_leaves_the_old_verifier_line_and_its_word_for_the_new_one(project: Project, folder: Path) -> None:
    old, old_secret = project("keys", "show").out, secret(folder)
    done = project("keys", "rotate", "--yes")
    everything = b"".join(path.read_bytes() for path in folder.iterdir())

    assert done.out == project("keys", "show").out != old
    assert old + done.out == project("keys", "show", "--all").out
    assert old_secret.encode() not in everything
    assert done.out.encode() in (folder / "rotations").read_bytes()
    assert f"successor in {folder}/rotations" in done.err

    again = project("keys", "rotate", "--yes", "--json").json()
    assert (True, done.out) == (again["rotated"], again["old"]["verifier"] + "\n")
    assert again["new"]["verifier"] + "\n" == project("keys", "show").out
    listed = project("keys", "show", "--all", "--json").json()["keys"]
    assert [False, False, True] == [key["is_current"] for key in listed]


def test_a_rotation_that_did_not_end_is_told(project: Project, folder: Path) -> None:
    project("keys", "show")
    successor = SigningKey.generate()
    (folder / "signing_key.next").write_text(f"{successor.encode()}\n")
    (folder / "signing_key.next").chmod(0o600)

    for command in (("keys", "show"), ("keys", "rotate")):
        assert "a rotation was begun and did not end" in project(*command).err
    assert f"{successor.verifier.encode()}\n" == project("keys", "rotate", "--yes").out
    assert "did not end" not in project("keys", "show").err


def test_there_must_be_a_key_to_rotate(project: Project, folder: Path) -> None:
    for options in ([], ["--yes"]):
        refused = project("keys", "rotate", *options, code=2)
        assert ("", True) == (refused.out, "there is no signing key to rotate" in refused.err)
        assert "hint: elspeth keys show makes the first one" in refused.err
    assert not folder.exists()


def test_a_key_that_others_can_read_is_not_used(project: Project, folder: Path) -> None:
    project("keys", "show")
    (folder / "signing_key").chmod(0o644)

    for command in (["show"], ["rotate"], ["rotate", "--yes"]):
        refused = project("keys", *command, code=2)
        assert "" == refused.out
        assert "can be read or written by others (mode 0644)" in refused.err
        assert f"hint: chmod 600 {folder}/signing_key" in refused.err


def test_a_key_elsewhere(project: Project, folder: Path, tmp_path: Path) -> None:
    safe = tmp_path / "safe"
    safe.mkdir()
    env = {"ELSPETH_SIGNING_KEY": str(safe / "key")}
    line = project("keys", "show", env=env).out

    assert line == f"{SigningKey.parse((safe / 'key').read_text().strip()).verifier.encode()}\n"
    assert line != project("keys", "show").out
    assert (safe / "known_keys").read_text().endswith(line)


def test_a_key_beside_the_trail_is_refused(project: Project) -> None:
    (project.folder / ".elspeth").mkdir()
    env = {"ELSPETH_SIGNING_KEY": str(project.folder / ".elspeth" / "key")}
    refused = project("keys", "show", code=2, env=env)

    assert "" == refused.out
    assert "would lie in a state folder" in refused.err
    assert "hint: Whoever copies the trail would have the key." in refused.err
    assert [] == list((project.folder / ".elspeth").iterdir())


def test_the_seals_of_a_run_convince_a_program_that_is_not_ours(project: Project) -> None:
    """With nothing but the line that ``keys show`` printed before the run; a later rotation changes nothing."""
    line = project("keys", "show").out.strip()
    project.write("pipeline.yaml", PIPELINE)
    project.write("fruit.csv", "id,name\n1,apple\n2,fig\n")
    project("run", "pipeline.yaml")
    other = project("keys", "rotate", "--yes").out.strip()
    (file,) = (project.folder / ".elspeth" / "seals").rglob(f"*{project.run_id()}*")
    notes = split_notes(file.read_text())

    heads = [metamorphic_log.checkpoint_verify(note, [line]) for note in notes]
    assert len(heads) > 1
    assert sorted(head.size for head in heads) == [head.size for head in heads]
    assert {f"elspeth/run/{project.run_id()}"} == {head.origin for head in heads}
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify(notes[-1], [other])
    assert VerifierKey.parse(line).name in project("verify", "latest").out


def test_the_first_key_is_enough_to_verify_what_its_successor_sealed(project: Project, tmp_path: Path) -> None:
    first = tmp_path / "first.txt"
    first.write_text(project("keys", "show").out)
    project.write("pipeline.yaml", PIPELINE)
    project.write("fruit.csv", "id,name\n1,apple\n2,fig\n")
    project("run", "pipeline.yaml")
    rotation = project("keys", "rotate", "--yes", "--json").json()
    project("run", "pipeline.yaml")
    old, new = rotation["old"]["name"], rotation["new"]["verifier"]

    own = project("verify", "--all", "--key", first).out
    assert "sealed by the key that was brought" in own
    words = f"{old} named {rotation['new']['name']} its successor on {rotation['day']}"
    assert f"   anchor: the key {new}: {words}\n" in own

    statements, elsewhere = tmp_path / "statements.txt", {"HOME": str(tmp_path / "elsewhere")}
    statements.write_text(project("keys", "rotations").out)
    alone = project("verify", "latest", "--key", first, code=1, env=elsewhere)
    assert f"it is signed by {rotation['new']['name']}, whose key is not among those that were brought" in alone.out
    assert own == project("verify", "--all", "--key", first, "--rotations", statements, env=elsewhere).out


def test_the_statements_of_rotations_are_printed_as_they_are_kept(project: Project, folder: Path) -> None:
    old = project("keys", "show").out.strip()
    new = project("keys", "rotate", "--yes").out.strip()
    kept = (folder / "rotations").read_text()

    assert kept == project("keys", "rotations").out
    (entry,) = project("keys", "rotations", "--json").json()["rotations"]
    assert (old, new, kept) == (entry["old"], entry["new"], entry["statement"])
    assert entry["day"] in kept


def test_a_key_or_a_seals_folder_that_cannot_be_used_is_told_before_a_run_is_recorded(
    project: Project, tmp_path: Path
) -> None:
    project.write("pipeline.yaml", PIPELINE)
    project.write("fruit.csv", "id,name\n1,apple\n")
    key = tmp_path / "key"
    key.write_text("no key")
    key.chmod(0o600)
    seals = project.write(".elspeth/seals", "")
    assert f"the folder of the seals {seals} cannot be written" in project("run", "pipeline.yaml", code=3).err
    seals.unlink()
    for named in (tmp_path / "nowhere" / "key", key):
        assert f"{named}" in project("run", "pipeline.yaml", env={"ELSPETH_SIGNING_KEY": str(named)}, code=2).err
    assert [] == project.query("SELECT * FROM runs")

    project("run", "pipeline.yaml")
    assert 1 == len(project.query("SELECT * FROM runs"))
