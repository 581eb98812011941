"""The script that lies in a bundle (verify.py): it needs nothing of ours, and agrees with our own code."""

from __future__ import annotations

import ast
import random
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.bundle_scene import REFUSED, REJECTED, SCRIPT, bundle_of, load_script, record_run, run_script, unpack
from tests.engine.workbench import Project

from elspeth.app.archive import encode_archive
from elspeth.app.verification import verify_archive
from elspeth.core.landscape.bundles import BY_BATCH, BY_JOURNEY, OF_ROWS, PAYLOAD_COLUMNS, WHOLE
from elspeth.core.landscape.schema import SCHEMA_VERSION, table
from elspeth.core.landscape.verify import Brought
from elspeth.core.merkle import check_consistency, consistency_path, inclusion_path, leaf_hash, root_of

FLIPS_A_FILE = 20
FLIPS_OF_THE_RECORDS = 200
FLIPS_OF_THE_ARCHIVE = 160

script = load_script()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return record_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def files(project: Project) -> Mapping[str, bytes]:
    return bundle_of(project, [0, REJECTED, REFUSED]).files


def is_verified(path: Path) -> bool:
    """What our own code says of a bundle."""
    return not verify_archive(path, brought=Brought(), on_report=lambda _report: None).finding_count


def test_it_imports_the_standard_library_and_cryptography_only() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert {"cryptography"} == imported - sys.stdlib_module_names


def test_its_tables_are_those_of_the_schema() -> None:
    """A change of the schema is a change of the script, and of its number."""
    ours = {name: [c.name for c in table(name).hashed_columns] for name in (*OF_ROWS, *BY_JOURNEY, *WHOLE, *BY_BATCH)}
    assert ours == script.COLUMNS
    assert SCHEMA_VERSION == script.AUDIT_FORMAT
    assert OF_ROWS == script.OF_ROWS
    assert {name: (kind.word, *columns) for name, (kind, columns) in PAYLOAD_COLUMNS.items()} == script.NAMED
    words = {
        f"{name}.{column.name}": " ".join(word.word for word in column.words)
        for name in ours
        for column in table(name).columns
        if column.words is not None
    }
    assert script.WORDS == {place: words[place] for place in script.WORDS}


@given(size=st.integers(1, 70), data=st.data())
def test_its_trees_are_ours(size: int, data: st.DataObject) -> None:
    hashes = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    old_size = data.draw(st.integers(1, size))
    path = inclusion_path(hashes, index)
    assert root_of(hashes) == script.root_by_inclusion(hashes[index], index, size, path)
    assert [] == path
    proof, old_root = consistency_path(hashes, old_size), root_of(hashes[:old_size])
    assert check_consistency(
        old_size=old_size, old_root=old_root, new_size=size, new_root=root_of(hashes), path=list(proof)
    )
    assert (old_root, root_of(hashes)) == script.roots_by_consistency(old_size, size, proof, old_root)
    assert [] == proof


def test_a_clean_bundle_passes_as_a_folder_and_as_an_archive(files: Mapping[str, bytes], tmp_path: Path) -> None:
    folder, archive = unpack(files, tmp_path / "folder"), tmp_path / "rows.zip"
    archive.write_bytes(encode_archive(files))
    for place in (folder, archive):
        code, said = run_script(script, place)
        assert 0 == code, said
        assert [f"{n}." for n in range(1, 7)] == [line.split()[0] for line in said.split("\n")[:6]]
        assert is_verified(place)


def test_it_tells_what_the_proven_records_say(files: Mapping[str, bytes], tmp_path: Path) -> None:
    _, said = run_script(script, unpack(files, tmp_path))
    for words in (
        '{"id":0,"text":"Ticket \N{EURO SIGN} 0"}',
        '{"id": "no number", "text":',
        "outcome=quarantined",
        "outcome=failed",
        "reason=content_filter",
        '"custom_id":"row-0-0"',
        "provider_request_id=",
        "operation=batches.create",
        "SIMULATED ANSWERS",
        "verified, consistent only",
    ):
        assert words in said


def test_no_terminal_takes_what_it_prints_for_a_command() -> None:
    assert "a\\x1b[2J\\n\\u202e \N{EURO SIGN}" == script.shown("a\x1b[2J\n\u202e \N{EURO SIGN}")
    assert script.shown("x" * 5000).endswith("(5000 characters in all)")


def test_both_verifiers_refuse_every_flipped_byte(files: Mapping[str, bytes], tmp_path: Path) -> None:
    """Of every file of the folder; the script that checks is the one of the package, as the README asks for."""
    chance, folder, flips = random.Random(6962), unpack(files, tmp_path), 0
    for name, data in files.items():
        count = FLIPS_OF_THE_RECORDS if name == "records.json" else FLIPS_A_FILE
        for at in chance.sample(range(len(data)), k=min(count, len(data))):
            changed = bytearray(data)
            changed[at] ^= chance.randrange(1, 256)
            (folder / name).write_bytes(changed)
            code, said = run_script(script, folder)
            assert (1, False) == (code, is_verified(folder)), (name, at, changed[at], said)
            assert "NOT verified" in said
            flips += 1
        (folder / name).write_bytes(data)
    assert flips >= 400
    assert (0, True) == (run_script(script, folder)[0], is_verified(folder))


def test_both_verifiers_refuse_every_flipped_bit_of_small_facts(files: Mapping[str, bytes], tmp_path: Path) -> None:
    """The checkpoint, the key, and the beginning of the records: every bit of them."""
    folder = unpack(files, tmp_path)
    for name, ends in (("checkpoint.txt", 40), ("key.txt", 30), ("records.json", 60)):
        data = files[name]
        for at in (*range(0, ends, 3), *range(len(data) - ends, len(data), 3)):
            changed = bytearray(data)
            changed[at] ^= 1 << at % 8
            (folder / name).write_bytes(changed)
            assert (1, False) == (run_script(script, folder)[0], is_verified(folder)), (name, at)
        (folder / name).write_bytes(data)


def test_both_verifiers_refuse_every_flipped_byte_of_the_archive(files: Mapping[str, bytes], tmp_path: Path) -> None:
    """Those that belong to no file, too: the last 300 bytes are the archive's own."""
    chance, data, archive = random.Random(1952), encode_archive(files), tmp_path / "rows.zip"
    places = [chance.randrange(len(data)) for _ in range(FLIPS_OF_THE_ARCHIVE // 2)]
    places += [len(data) - 1 - chance.randrange(300) for _ in range(FLIPS_OF_THE_ARCHIVE // 2)]
    for at in places:
        changed = bytearray(data)
        changed[at] ^= chance.randrange(1, 256)
        archive.write_bytes(changed)
        code, said = run_script(script, archive)
        assert (1, False) == (code, is_verified(archive)), (at, changed[at], said)
    for cut in (0, 1, 22, len(data) // 2, len(data) - 1):
        archive.write_bytes(data[:cut])
        assert (1, False) == (run_script(script, archive)[0], is_verified(archive)), cut
    for around in (data + b"\0", b"\0" + data):
        archive.write_bytes(around)
        assert (1, False) == (run_script(script, archive)[0], is_verified(archive))


def test_both_verifiers_refuse_files_that_are_missing_or_that_nobody_names(
    files: Mapping[str, bytes], tmp_path: Path
) -> None:
    for name in files:
        folder = unpack({other: data for other, data in files.items() if other != name}, tmp_path / "less")
        assert (1, False) == (run_script(script, folder)[0], is_verified(folder)), name
        shutil.rmtree(folder)
    for name in ("notes.txt", "payloads/" + "0" * 64, "payloads/x/y", ".hidden"):
        folder = unpack({**files, name: b"more"}, tmp_path / "more")
        code, said = run_script(script, folder)
        assert (1, False) == (code, is_verified(folder)), name
        assert f"{name}: " in said
        shutil.rmtree(folder)


def test_a_name_that_stands_in_an_archive_twice_is_refused(files: Mapping[str, bytes], tmp_path: Path) -> None:
    import zipfile

    archive = tmp_path / "rows.zip"
    archive.write_bytes(encode_archive(files))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(archive, "a") as added:
        added.writestr("README.md", files["README.md"])
    code, said = run_script(script, archive)
    assert (1, False) == (code, is_verified(archive))
    assert "twice" in said


def test_nothing_that_is_no_bundle_ends_in_a_traceback(tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"{}", b"[]", b'{"a":' * 100_000, b"\xff", b"null", b'{"audit_format": 1}\n')):
        folder = unpack({"records.json": data}, tmp_path / str(number))
        code, said = run_script(script, folder)
        assert (1, False) == (code, is_verified(folder)), data[:20]
        assert "NOT verified: files" in said
    assert 1 == run_script(script, tmp_path / "missing.zip")[0]
