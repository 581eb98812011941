"""What the csv source makes of a file, sound or not.

Also for coercion.py, encodings.py.
"""

# ruff: noqa: DTZ001 (rows hold times without a zone too)

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from elspeth.contracts import Fields, FieldType, SourceError, SourcePosition
from elspeth.plugins.sources import records
from elspeth.plugins.sources.csv import CsvSource

ReadCsv = Callable[..., Any]
MakeCsv = Callable[..., CsvSource]


def test_rows_are_text_by_the_names_of_the_header(read_csv: ReadCsv) -> None:
    read = read_csv(b"id,name\n1,Ann\n2,\n")

    assert read.rows == [{"id": "1", "name": "Ann"}, {"id": "2", "name": ""}]
    assert (read.indexes, read.lines, read.rejected) == ([0, 1], [2, 3], [])


def test_a_schema_gives_columns_their_types_and_leaves_the_others_text(read_csv: ReadCsv) -> None:
    words = {
        "i": "int", "f": "float", "b": "bool", "d": "date", "t": "datetime", "c": "decimal", "j": "json", "s": "str",
    }  # fmt: skip
    data = (
        b"i,f,b,d,t,c,j,s,other\n"
        b' 7 ,1.50,Yes,2024-02-29,2024-02-29T12:00:00Z,1.10,"{""a"": [1]}",,x\n'
        b"-123456789012345678901234567890,3,0,2024-01-01,2024-01-01,1e5,2.0, y ,z\n"
    )

    assert read_csv(data, words).rows == [
        {
            "i": 7, "f": 1.5, "b": True, "d": date(2024, 2, 29), "t": datetime(2024, 2, 29, 12, tzinfo=UTC),
            "c": Decimal("1.10"), "j": {"a": [1]}, "s": "", "other": "x",
        },
        {
            "i": -123456789012345678901234567890, "f": 3.0, "b": False, "d": date(2024, 1, 1),
            "t": datetime(2024, 1, 1), "c": Decimal("1e5"), "j": 2.0, "s": " y ", "other": "z",
        },
    ]  # fmt: skip


def test_the_fields_are_those_of_the_header_in_order(csv_source: MakeCsv) -> None:
    fields = csv_source(b"b,a,c\n", {"a": "int"}).fields()

    assert fields == Fields({"b": FieldType.STR, "a": FieldType.INT, "c": FieldType.STR})
    assert fields.names == ("b", "a", "c")


@pytest.mark.parametrize("word", ["int", "float", "bool", "date", "datetime", "decimal", "json", "str"])
def test_an_empty_cell_is_none_where_it_may_be_empty(read_csv: ReadCsv, word: str) -> None:
    assert read_csv(b"a,b\n,x\n", {"a": f"{word}?"}).rows == [{"a": None, "b": "x"}]


@pytest.mark.parametrize("word", ["int", "float", "bool", "date", "datetime", "decimal", "json"])
def test_an_empty_cell_is_rejected_where_it_may_not_be_empty(read_csv: ReadCsv, word: str) -> None:
    read = read_csv(b"a,b\n,x\n", {"a": word})

    assert (read.codes, read.raws) == (["empty"], [b",x\n"])
    assert "'a'" in read.rejected[0].error.message


@pytest.mark.parametrize(
    ("word", "cell"),
    [
        ("int", "1_000"), ("int", "٣"), ("int", "1.0"), ("int", "0x1f"), ("int", "1 2"), ("int", "\t1"),
        ("int", "--1"), ("int", "9" * 5000), ("int", "True"),
        ("float", "nan"), ("float", "inf"), ("float", "-Infinity"), ("float", "1e999"), ("float", "1_0.5"),
        ("float", "٣.5"), ("float", "1,5"), ("float", "e5"),
        ("bool", "maybe"), ("bool", "2"), ("bool", "y"),
        ("date", "2024-02-30"), ("date", "01/02/2024"), ("date", "2024-01-01T00:00:00"),
        ("datetime", "yesterday"), ("datetime", "2024-01-01T25:00:00"),
        ("decimal", "NaN"), ("decimal", "Infinity"), ("decimal", "1_0"), ("decimal", "x"), ("decimal", "٣"),
        ("json", "{"), ("json", "NaN"), ("json", '{"a":1,"a":2}'), ("json", '"\\ud800"'), ("json", "1e999"),
        ("json", "[" * 5000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["", "?"])
def test_a_cell_of_another_type_is_rejected_and_its_neighbours_are_rows(
    read_csv: ReadCsv, word: str, cell: str, mark: str
) -> None:
    sound = {"bool": "no", "date": "2024-01-01", "datetime": "2024-01-01", "json": "1"}.get(word, "1")
    quoted = cell.replace('"', '""')
    data = f'a,b\n{sound},before\n"{quoted}",x\n{sound},after\n'.encode()

    read = read_csv(data, {"a": word + mark})

    assert [row["b"] for row in read.rows] == ["before", "after"]
    assert (read.codes, read.raws) == (["type"], [f'"{quoted}",x\n'.encode()])
    assert (read.rejected[0].index, read.rejected[0].line) == (1, 3)
    assert read.indexes == [0, 2]
    message = read.rejected[0].error.message
    assert "'a'" in message
    assert len(message) < 150
    assert read.rejected[0].error.detail["expected"] == word


def test_json_null_is_a_value_only_where_the_field_may_be_empty(read_csv: ReadCsv) -> None:
    assert read_csv(b"a\nnull\n", {"a": "json?"}).rows == [{"a": None}]
    assert read_csv(b"a\nnull\n", {"a": "json"}).codes == ["type"]


def test_a_decimal_beyond_every_exponent_is_rejected(read_csv: ReadCsv) -> None:
    assert read_csv(b"a\n1e99999999999999999999\n", {"a": "decimal"}).codes == ["type"]


def test_a_record_with_another_number_of_fields_is_rejected(read_csv: ReadCsv) -> None:
    read = read_csv(b"a,b\n1,2\n1\n1,2,3\n4,5\n")

    assert read.rows == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert (read.codes, read.raws) == (["field_count", "field_count"], [b"1\n", b"1,2,3\n"])
    assert (read.indexes, read.lines) == ([0, 3], [2, 5])


def test_blank_lines_are_no_records_but_count_as_lines(read_csv: ReadCsv) -> None:
    read = read_csv(b"\n\r\na,b\n\n1,2\n\r\n\n3,4\n\n\n")

    assert read.rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert (read.indexes, read.lines) == ([0, 1], [5, 8])


def test_line_ends_inside_quotes_are_kept_as_they_are(read_csv: ReadCsv) -> None:
    read = read_csv(b'a,b\r\n"1\r\n2\n3",x\r\n"""q"", ok",y\r\n4,5')

    assert read.rows == [{"a": "1\r\n2\n3", "b": "x"}, {"a": '"q", ok', "b": "y"}, {"a": "4", "b": "5"}]
    assert read.lines == [2, 5, 6]


def test_a_byte_order_mark_is_no_part_of_the_first_name(read_csv: ReadCsv, csv_source: MakeCsv) -> None:
    data = b"\xef\xbb\xbfa,b\n1,2\n"

    assert read_csv(data).rows == [{"a": "1", "b": "2"}]
    assert read_csv(data, encoding="utf-8-sig").rows == [{"a": "1", "b": "2"}]
    assert read_csv(b'\xef\xbb\xbf"a",b\n1,2\n').rows == [{"a": "1", "b": "2"}]


def test_undecodable_bytes_reject_their_record_only(read_csv: ReadCsv) -> None:
    read = read_csv(b"a,b\n1,\xff\xfe\n2,ok\n")

    assert read.rows == [{"a": "2", "b": "ok"}]
    assert (read.codes, read.raws) == (["encoding"], [b"1,\xff\xfe\n"])
    assert "0xff" in read.rejected[0].error.message


def test_undecodable_bytes_inside_quotes_reject_the_whole_record(read_csv: ReadCsv) -> None:
    read = read_csv(b'a,b\n1,"x\n\xff\n3,4\n"\n5,6\n')

    assert read.rows == [{"a": "5", "b": "6"}]
    assert read.raws == [b'1,"x\n\xff\n3,4\n"\n']


def test_surrogates_in_utf8_are_undecodable(read_csv: ReadCsv) -> None:
    assert read_csv(b"a,b\n1,\xed\xa0\x80\n").codes == ["encoding"]


@pytest.mark.parametrize("record", [b'"a"x,2\n', b'1,"a" \n', b"1\r2,3\n"])
def test_a_record_with_wrong_syntax_is_rejected(read_csv: ReadCsv, record: bytes) -> None:
    read = read_csv(b"a,b\n" + record + b"5,6\n")

    assert read.rows == [{"a": "5", "b": "6"}]
    assert (read.codes, read.raws) == (["csv"], [record])


def test_a_quote_that_is_never_closed_rejects_what_it_swallows(read_csv: ReadCsv) -> None:
    read = read_csv(b'a,b\n1,2\n3,"4\n5,6\n7,8\n')

    assert read.rows == [{"a": "1", "b": "2"}]
    assert (read.codes, read.raws) == (["csv"], [b'3,"4\n5,6\n7,8\n'])
    assert read.rejected[0].line == 3
    assert read.rejected[0].error.detail == {"lines": 3}


def test_nul_bytes_reject_their_record_only(read_csv: ReadCsv) -> None:
    read = read_csv(b"a,b\n1,\0\n2,ok\n")

    assert read.rows == [{"a": "2", "b": "ok"}]
    assert (read.codes, read.raws, read.lines) == (["nul"], [b"1,\0\n"], [3])


def test_a_line_beyond_the_limit_is_rejected_by_its_beginning_and_its_hash(read_csv: ReadCsv) -> None:
    long = b"1," + b"x" * 300_000 + b"\n"
    read = read_csv(b"a,b\n" + long + b"2,ok\n", max_record_bytes=1000)

    assert read.rows == [{"a": "2", "b": "ok"}]
    assert (read.codes, read.lines) == (["too_large"], [3])
    assert read.raws == [long[: 64 * 1024]]
    assert read.rejected[0].error.detail == {"bytes": len(long), "sha256": hashlib.sha256(long).hexdigest()}


def test_a_line_of_any_length_needs_little_memory(csv_source: MakeCsv, tmp_path: Path) -> None:
    with (tmp_path / "in.csv").open("wb") as file:
        file.write(b"a\n")
        for _ in range(40):
            file.write(b"x" * 1_000_000)
        file.write(b"\nlast\n")
    source = csv_source(max_record_bytes=1_000_000)

    tracemalloc.start()
    first, second = source.read(None, size=10)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert first.rejected[0].error.detail is not None
    assert first.rejected[0].error.detail["bytes"] == 40_000_001
    assert second.rows == [{"a": "last"}]
    assert peak_bytes < 8_000_000


def test_a_record_of_many_lines_beyond_the_limit_ends_at_the_line_that_is_too_much(read_csv: ReadCsv) -> None:
    read = read_csv(b'a,b\n1,"' + b"y\n" * 10 + b"3,4\n5,6\n", max_record_bytes=20)

    assert read.codes == ["too_large", "field_count"]
    assert read.raws[0] == b'1,"' + b"y\n" * 9
    assert read.rows == [{"a": "3", "b": "4"}, {"a": "5", "b": "6"}]


def test_a_long_line_inside_quotes_belongs_to_the_record_that_is_too_large(read_csv: ReadCsv) -> None:
    record = b'1,"y\n' + b"z" * 600_000 + b"\n"
    read = read_csv(b"a,b\n" + record + b"5,6\n", max_record_bytes=100)

    assert read.codes == ["too_large"]
    assert read.rejected[0].error.detail == {
        "bytes": len(record),
        "sha256": hashlib.sha256(record).hexdigest(),
    }
    assert read.rows == [{"a": "5", "b": "6"}]


def test_a_last_line_beyond_the_limit_needs_no_newline(read_csv: ReadCsv) -> None:
    read = read_csv(b"a,b\n1,2\n3," + b"x" * 50, max_record_bytes=20)

    assert (read.codes, read.rows) == (["too_large"], [{"a": "1", "b": "2"}])
    assert read.rejected[0].error.detail["bytes"] == 52


def test_a_field_may_be_larger_than_the_modules_own_limit(read_csv: ReadCsv) -> None:
    assert len(read_csv(b"a\n" + b"x" * 1_000_000 + b"\n").rows[0]["a"]) == 1_000_000


MESSY = (
    b'id,text\n1,a\n2,"two\nlines"\n\n3,"three\r\n\r\nlines"\nx,4\n5,\xff\n6,"un"quoted\n7,b,c\n8,\0\n'
    b"9," + b"long" * 100 + b'\n10,"' + b"very\nlong\n" * 40 + b'"\n11,fin\n12,"open\nto the end'
)


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 500, 100_000])
@pytest.mark.parametrize("limit", [120, 100_000])
def test_where_blocks_and_batches_end_changes_no_record(
    read_csv: ReadCsv, monkeypatch: pytest.MonkeyPatch, block_bytes: int, limit: int
) -> None:
    expected = read_csv(MESSY, {"id": "int"}, max_record_bytes=limit)
    assert set(expected.codes) >= {"type", "encoding", "csv", "field_count", "nul"}

    monkeypatch.setattr(records, "BLOCK_BYTES", block_bytes)
    for size in (1, 2, 5, 100):
        read = read_csv(MESSY, {"id": "int"}, size=size, max_record_bytes=limit)
        assert (read.rows, read.lines, read.indexes) == (expected.rows, expected.lines, expected.indexes)
        assert read.rejected == expected.rejected


@pytest.mark.parametrize("limit", [120, 100_000])
def test_reading_on_after_every_batch_of_a_messy_file_gives_the_rest(csv_source: MakeCsv, limit: int) -> None:
    source = csv_source(MESSY, {"id": "int"}, max_record_bytes=limit)
    batches = list(source.read(None, size=1))

    for count, batch in enumerate(batches, start=1):
        assert list(source.read(batch.end, size=1)) == batches[count:]


def test_every_byte_of_a_rejected_or_read_record_is_in_the_hash_of_the_position(csv_source: MakeCsv) -> None:
    for batch in csv_source(MESSY, max_record_bytes=120).read(None, size=1):
        cursor = batch.end.cursor
        assert cursor["sha256"] == hashlib.sha256(MESSY[: cursor["offset"]]).hexdigest()
        assert cursor["line"] == MESSY[: cursor["offset"]].count(b"\n") + 1 or cursor["done"]
        assert cursor["size"] == len(MESSY)


def test_a_batch_is_closed_when_it_holds_much(csv_source: MakeCsv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BATCH_BYTES", 1000)
    monkeypatch.setattr(records, "BLOCK_BYTES", 500)
    source = csv_source(b"a\n" + (b"x" * 99 + b"\n") * 100)

    assert max(len(batch.rows) for batch in source.read(None, size=1000)) <= 20


def test_a_file_with_a_header_only_ends_at_once(csv_source: MakeCsv) -> None:
    (only,) = csv_source(b"a,b\n").read(None, size=10)

    assert (only.rows, only.rejected, only.end.cursor["done"]) == ([], [], True)


def test_a_finished_position_needs_no_file(csv_source: MakeCsv, tmp_path: Path) -> None:
    source = csv_source(b"a\n1\n")
    end = list(source.read(None, size=10))[-1].end
    (tmp_path / "in.csv").unlink()

    assert list(source.read(end, size=10)) == []


def position(source: CsvSource) -> SourcePosition:
    return next(iter(source.read(None, size=1))).end


def test_a_file_of_another_size_is_refused_on_resume(csv_source: MakeCsv) -> None:
    begun = position(csv_source(b"a\n1\n2\n"))

    with pytest.raises(SourceError, match=r"the source has 8 bytes, it had 6 when the run began") as refusal:
        list(csv_source(b"a\n1\n2\n3\n").read(begun, size=1))
    assert refusal.value.hint


def test_a_file_whose_read_part_has_changed_is_refused_on_resume(csv_source: MakeCsv) -> None:
    begun = position(csv_source(b"a\n1\n2\n"))

    with pytest.raises(SourceError, match="first 4 bytes are not the ones already read"):
        list(csv_source(b"a\n9\n2\n").read(begun, size=1))


def test_a_missing_file_is_refused_on_resume(csv_source: MakeCsv, tmp_path: Path) -> None:
    source = csv_source(b"a\n1\n2\n")
    begun = position(source)
    (tmp_path / "in.csv").unlink()

    with pytest.raises(SourceError, match="there is no file"):
        list(source.read(begun, size=1))


@pytest.mark.parametrize("cursor", [{"row": 3}, {"offset": "4", "line": 1, "sha256": "", "size": 1, "done": False}])
def test_a_position_of_another_source_is_refused(csv_source: MakeCsv, cursor: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="not taken in a file of lines"):
        list(csv_source(b"a\n1\n").read(SourcePosition(next_row=1, cursor=cursor), size=1))


@pytest.mark.parametrize(("change", "now"), [(b"3\n", 8), (None, 4)])
def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused(
    csv_source: MakeCsv, tmp_path: Path, change: bytes | None, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 2)
    reading = csv_source(b"a\n1\n2\n").read(None, size=1)
    next(reading)
    with (tmp_path / "in.csv").open("r+b") as file:
        if change is None:
            file.truncate(4)
        else:
            file.seek(0, 2)
            file.write(change)

    with pytest.raises(SourceError, match=rf"the source has {now} bytes, it had 6"):
        list(reading)


def test_a_missing_file_a_folder_and_a_pipe_are_refused_with_a_hint(csv_source: MakeCsv, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in ("none.csv", "folder"):
        for use in (lambda s: s.fields(), lambda s: list(s.read(None, size=1))):
            with pytest.raises(SourceError) as refusal:
                use(csv_source(path=path))
            assert refusal.value.hint
            assert path in refusal.value.message


def test_a_file_that_may_not_be_read_is_refused(csv_source: MakeCsv, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    source = csv_source(b"a\n1\n")
    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(SourceError, match="may not be read"):
        source.fields()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        (b"\xef\xbb\xbf", "no header"),
        (b"a,a\n1,2\n", "'a' more than once"),
        (b"a,,b\n", "column 2 of 3"),
        (b"a,\xff\n", "header"),
        (b'a,"b\n', "header"),
        (b"a,\0\n", "NUL"),
        (b"\xff\xfea\x00,\x00b\x00\n\x00", "header"),
        (b"a\rb\n", "carriage return"),
        (b"x" * 2000 + b"\n", "2,001 bytes"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(csv_source: MakeCsv, data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words) as refusal:
        csv_source(data, max_record_bytes=1000).fields()

    assert refusal.value.hint


def test_utf16_is_recognised_in_the_hint(csv_source: MakeCsv) -> None:
    with pytest.raises(SourceError) as refusal:
        csv_source("a,b\n".encode("utf-16")).fields()

    assert "UTF-16" in (refusal.value.hint or "")


def test_a_column_that_the_schema_declares_must_be_there(csv_source: MakeCsv) -> None:
    with pytest.raises(SourceError, match="no column 'custumer', 'zzz'") as refusal:
        csv_source(b"id,customer\n", {"id": "int", "custumer": "str", "zzz": "str"}).fields()

    assert refusal.value.hint == "did you mean 'customer' for 'custumer'?"


def test_delimiter_and_quotechar_are_obeyed(read_csv: ReadCsv) -> None:
    read = read_csv(b"a;b\n1;'x;\"y'\n", delimiter=";", quotechar="'")

    assert read.rows == [{"a": "1", "b": 'x;"y'}]
    assert read_csv(b"a\tb\n1\t2\n", delimiter="\t").rows == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("encoding", "text"), [("latin-1", "é"), ("cp1252", "€"), ("shift_jis", "表ソ"), ("gbk", "你好"), ("ascii", "e")]
)
def test_encodings_that_contain_ascii_are_read(read_csv: ReadCsv, encoding: str, text: str) -> None:
    data = f'a,b\n"{text}\n{text}",{text}\n'.encode(encoding)

    assert read_csv(data, encoding=encoding).rows == [{"a": f"{text}\n{text}", "b": text}]


def test_a_byte_that_the_encoding_does_not_have_is_rejected(read_csv: ReadCsv) -> None:
    assert read_csv(b"a\n\x81\n", encoding="cp1252").codes == ["encoding"]


@pytest.mark.parametrize(
    "encoding",
    [
        "utf-16", "utf-32", "utf-7", "nonsense", "", "a\0b", "rot13", "base64", "zlib", "hex", "unicode_escape",
        "raw_unicode_escape", "punycode", "idna", "undefined", "hz", "cp037", "utf-16-le", "iso2022_jp",
    ],
)  # fmt: skip
def test_encodings_that_do_not_contain_ascii_are_refused(csv_source: MakeCsv, encoding: str) -> None:
    with pytest.raises(ValidationError, match="encoding"):
        csv_source(b"", encoding=encoding)


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ""}, {"delimiter": ",,"}, {"delimiter": "\n"}, {"delimiter": '"'}, {"quotechar": "\0"},
        {"quotechar": ""}, {"max_record_bytes": 0}, {"delimeter": ";"}, {"max_record_bytes": "5"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(csv_source: MakeCsv, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        csv_source(b"", **options)
