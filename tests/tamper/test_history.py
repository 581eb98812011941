"""History rewritten so that everything agrees with everything: the seals' signatures do not."""

from __future__ import annotations

import pytest
from tests.tamper.forgery import recompute, seal_again, write_seals
from tests.tamper.mutations import drop_commits, drop_run, insider
from tests.tamper.trail import Copy, findings_of, keep, own_key

from elspeth.contracts import PayloadClass, PurgeAction
from elspeth.core.landscape.schema import TABLES
from elspeth.core.landscape.verify import Brought, Finding, Strength
from elspeth.core.notes import SigningKey

LIE = "UPDATE outcomes SET reason = 'timeout' WHERE run_no = 1 AND reason = 'content_filter'"


def first(trail: Copy, run_no: int | None = 1, *, brought: Brought | None = None) -> Finding:
    found = findings_of(trail.verify(run_no, brought=brought))
    assert found
    return found[0]


def notes_of(trail: Copy, run_no: int = 1) -> list[str]:
    return trail.seals.notes(trail.run_id(run_no))


def rewrite(trail: Copy) -> None:
    """A lie in one record, and everything that nobody signs recomputed."""
    with insider(trail.database) as connection:
        connection.execute(LIE)
        connection.execute("UPDATE commits SET frontier_json = replace(frontier_json, 'content_filter', 'timeout')")
        connection.execute("UPDATE run_events SET detail_json = replace(detail_json, 'content_filter', 'timeout')")
    recompute(trail.database, run_no=1)


def test_rewritten_history_is_not_what_was_sealed(trail: Copy) -> None:
    rewrite(trail)
    ((last, size),) = trail.query("SELECT MAX(seal_no), MAX(tree_size) FROM seals WHERE run_no = 1")
    verification = trail.verify(1)

    wrong = [step.number for step in verification.reports[0].steps if step.finding_count]
    assert [5] == wrong
    assert Finding("commits", f"0 to {size - 1}", f"they are not those that seal {last} tells of") in findings_of(
        verification
    )


def test_seals_changed_to_fit_have_no_signature(trail: Copy) -> None:
    original = notes_of(trail)
    rewrite(trail)
    seal_again(trail.database, run_no=1, key=SigningKey.generate())
    forged = [
        note.partition("\n\n")[0] + "\n\n" + old.partition("\n\n")[2]
        for note, old in zip(notes_of(trail), original, strict=True)
    ]
    with insider(trail.database) as connection:
        for number, note in enumerate(forged):
            connection.execute("UPDATE seals SET note = ? WHERE run_no = 1 AND seal_no = ?", (note, number))
    write_seals(trail.database, trail.run_id(1), forged)

    wrong = [number for number, (old, new) in enumerate(zip(original, forged, strict=True)) if old != new]
    found = first(trail)
    assert ("seals", str(wrong[0])) == (found.where, found.place)
    assert "does not fit the text" in found.message


@pytest.mark.parametrize("is_namesake", [False, True])
def test_another_key_is_not_one_of_ours(trail: Copy, is_namesake: bool) -> None:
    key = SigningKey.generate(own_key().name if is_namesake else None)
    rewrite(trail)
    seal_again(trail.database, run_no=1, key=key)

    for brought in (Brought(known_keys=[own_key()]), Brought(keys=[own_key()])):
        found = first(trail, brought=brought)
        assert ("seals", "0") == (found.where, found.place)
        assert f"it is signed by {key.name}, whose key is not among" in found.message


def test_without_a_key_and_a_checkpoint_the_word_is_weak_and_says_so(trail: Copy) -> None:
    rewrite(trail)
    seal_again(trail.database, run_no=1, key=SigningKey.generate())
    verification = trail.verify(1, brought=Brought())

    assert [] == findings_of(verification)
    assert Strength.CONSISTENT is verification.strength
    assert "nobody's key is known here" in verification.reports[0].steps[5].notes[0]


def test_whoever_holds_the_key_is_found_by_a_checkpoint_that_was_kept_elsewhere(
    trail: Copy,
) -> None:
    kept = notes_of(trail)[-1]
    key = SigningKey.generate()
    rewrite(trail)
    seal_again(trail.database, run_no=1, key=key)

    verification = trail.verify(1, brought=Brought(checkpoints=[kept], known_keys=[key.verifier, own_key()]))

    assert ["they are not those that the brought checkpoint tells of"] == [f.message for f in findings_of(verification)]
    assert Strength.CONSISTENT is verification.strength


def test_a_brought_checkpoint_must_be_signed_by_a_key_that_is_known(trail: Copy) -> None:
    kept = notes_of(trail)[-1]
    stranger = SigningKey.generate().sign(kept.partition("\n\n")[0] + "\n")
    found = findings_of(trail.verify(1, brought=Brought(checkpoints=[stranger], known_keys=[own_key()])))

    assert ["checkpoint"] == [finding.where for finding in found]
    assert "whose key is not among those that were brought or are known" in found[0].message


class TestEnds:
    """The last commits taken away, with ever more of what tells of them."""

    def test_seals_tell_of_a_commit_that_was_dropped(self, trail: Copy) -> None:
        ((last,),) = trail.query("SELECT MAX(commit_no) FROM commits WHERE run_no = 1")
        drop_commits(trail.database, run_no=1, since=last)

        assert ("commits", str(last)) in {(f.where, f.place) for f in findings_of(trail.verify(1))}

    def test_the_file_tells_of_a_seal_that_was_dropped_with_its_commits(self, trail: Copy) -> None:
        drop_commits(trail.database, run_no=1, since=20, with_seals=True)
        ((left,),) = trail.query("SELECT COUNT(*) FROM seals WHERE run_no = 1")

        assert ("seals", str(left)) in {(f.where, f.place) for f in findings_of(trail.verify(1))}
        assert left < len(notes_of(trail))

    def test_only_a_brought_checkpoint_tells_when_the_file_was_cut_too(self, trail: Copy) -> None:
        early, *_, late = notes_of(trail)
        ((began,),) = trail.query("SELECT tree_size FROM seals WHERE run_no = 1 AND seal_no = 0")
        drop_commits(trail.database, run_no=1, since=began, with_seals=True)
        for name in [path.name for path in trail.payloads(1).iterdir()]:
            _cut(trail, name)
        write_seals(trail.database, trail.run_id(1), [early])

        assert [] == findings_of(trail.verify(1))
        assert [] == findings_of(trail.verify(1, brought=Brought(checkpoints=[early], keys=[own_key()])))
        found = first(trail, brought=Brought(checkpoints=[late], keys=[own_key()]))
        assert ("commits", str(began)) == (found.where, found.place)
        assert "missing: the checkpoint that was brought is newer" in found.message

    def test_a_last_seal_that_was_dropped_alone_is_missed(self, trail: Copy) -> None:
        *kept, last = notes_of(trail)
        with insider(trail.database) as connection:
            connection.execute("DELETE FROM seals WHERE run_no = 1 AND seal_no = ?", (len(kept),))
        write_seals(trail.database, trail.run_id(1), kept)

        assert ["no seal covers them"] == [f.message.partition(":")[0] for f in findings_of(trail.verify(1))]
        brought = Brought(checkpoints=[last], keys=[own_key()])
        assert "missing: there is no seal like the checkpoint brought" in {
            finding.message for finding in findings_of(trail.verify(1, brought=brought))
        }


class TestAdditions:
    """A commit added at the end, by somebody who has no key and knows how it is made."""

    @pytest.mark.parametrize("run_no", [1, 2, 3])
    def test_a_commit_that_was_added_to_a_run_is_not_sealed(self, trail: Copy, run_no: int) -> None:
        kept, ((size,),) = notes_of(trail, run_no), trail.query("SELECT COUNT(*) FROM commits WHERE run_no = ?", run_no)
        self.add(trail, run_no, kept, PurgeAction.HELD, None)

        found = first(trail, run_no)
        assert ("commits", f"{size} to {size}") == (found.where, found.place)
        assert "or they were added" in found.message

    @pytest.mark.parametrize("payload_class", PayloadClass)
    def test_a_purge_that_is_not_sealed_excuses_no_missing_file(self, trail: Copy, payload_class: PayloadClass) -> None:
        self.add(trail, 1, notes_of(trail), PurgeAction.PURGING, payload_class)
        (name, *_) = [
            n for (n,) in trail.query("SELECT name FROM segments WHERE run_no = 1 AND class = ?", payload_class)
        ]
        (trail.payloads(1) / name).unlink()

        assert ("payloads", name) in {(f.where, f.place) for f in findings_of(trail.verify(1))}

    @staticmethod
    def add(trail: Copy, run_no: int, kept: list[str], action: PurgeAction, payload_class: PayloadClass | None) -> None:
        keep(trail.database, run_no=run_no, action=action, payload_class=payload_class)
        with insider(trail.database) as connection:
            connection.execute("DELETE FROM seals WHERE run_no = ? AND seal_no >= ?", (run_no, len(kept)))
        write_seals(trail.database, trail.run_id(run_no), kept)


class TestRuns:
    """Whole runs taken away."""

    @pytest.mark.parametrize("run_no", [1, 2, 3])
    def test_the_file_of_its_seals_tells_of_a_run_that_was_dropped(self, trail: Copy, run_no: int) -> None:
        run_id = trail.run_id(run_no)
        drop_run(trail.database, run_no)

        found = findings_of(trail.verify())
        assert Finding("runs", run_id, "the run was sealed, and is not in the database") in found

    @pytest.mark.parametrize("run_no", [1, 2])
    def test_a_gap_tells_of_a_run_whose_file_was_dropped_too(self, trail: Copy, run_no: int) -> None:
        trail.seals.file(trail.run_id(run_no)).unlink()
        drop_run(trail.database, run_no)

        assert [
            Finding("runs", str(run_no), "there is no such run, but there are later ones")
        ] == trail.verify().findings

    def test_a_run_says_its_number_so_a_gap_cannot_be_closed(self, trail: Copy) -> None:
        trail.seals.file(trail.run_id(2)).unlink()
        drop_run(trail.database, 2)
        with insider(trail.database) as connection:
            for entry in TABLES:
                connection.execute(f"UPDATE {entry.name} SET run_no = 2 WHERE run_no = 3")

        found = findings_of(trail.verify())
        assert Finding("runs", "2", "it is not what was recorded (commit 0)") in found

    def test_two_runs_cannot_change_their_numbers(self, trail: Copy) -> None:
        with insider(trail.database) as connection:
            for entry in TABLES:
                for before, after in ((1, 9), (2, 1), (9, 2)):
                    connection.execute(f"UPDATE {entry.name} SET run_no = ? WHERE run_no = ?", (after, before))

        for number in (1, 2):
            assert Finding("runs", str(number), "it is not what was recorded (commit 0)") == first(trail, number)

    def test_only_a_brought_checkpoint_tells_of_the_last_run_when_its_file_was_dropped_too(self, trail: Copy) -> None:
        run_id = trail.run_id(3)
        kept = notes_of(trail, 3)
        trail.seals.file(run_id).unlink()
        drop_run(trail.database, 3)

        assert [] == findings_of(trail.verify())
        found = first(trail, None, brought=Brought(checkpoints=kept, known_keys=[own_key()]))
        assert Finding("runs", run_id, "a checkpoint of the run was brought, and it is not in the database") == found

    def test_a_run_that_never_was_has_no_commit_that_speaks_for_it(self, trail: Copy) -> None:
        with insider(trail.database) as connection:
            for entry in TABLES:
                names = ", ".join(entry.column_names)
                values = names.replace("run_no", "4", 1).replace("run_id", "'01zzzzzzzzzzz'", 1)
                connection.execute(
                    f"INSERT INTO {entry.name} ({names}) SELECT {values} FROM {entry.name} WHERE run_no = 3"
                )

        found = findings_of(trail.verify())
        assert Finding("runs", "4", "it is not what was recorded (commit 0)") in found


def _cut(trail: Copy, name: str) -> None:
    """Cuts a segment to what the commits that are left tell of, or removes it."""
    ((size,),) = trail.query(
        "SELECT MAX(e.start + e.length) FROM segments s JOIN extents e ON e.run_no = s.run_no AND e.kind = 1 "
        "AND e.file_no = s.segment_no WHERE s.run_no = 1 AND s.name = ?",
        name,
    )
    path = trail.payloads(1) / name
    if size is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:size])
