#!/usr/bin/env python3
"""Checks a bundle: some rows of a run, out of its audit trail. No network; Python 3.9 or newer, and `cryptography`.

    python3 verify.py [BUNDLE.zip | FOLDER] [--key FILE] [--checkpoint FILE]

1. files        records.json names every file beside the payloads, with its SHA-256
2. checkpoint   a signed note (c2sp.org/signed-note) tells how many commits the run has, and the root of their tree
3. commits      the path of each commit leads to that root (RFC 6962)
4. records      the path of each leaf leads to the root of its commit; a leaf is the records' lines, behind 0x01 and
                16 bytes of blinding, so that it says nothing about its neighbours
5. payloads     what the records name by SHA-256 is here, or was purged on record; nothing else is here
6. agreement    the records are of one run, and of the rows that the bundle is about; a row's passage names a journey:
                the steps that it has in common with others, whose records are all here

Then it prints what the records say, and how strong its word is. Exit code 0: everything holds; 1: something does not.
To read it: the six steps are the `check_` methods of `Bundle`, in this order; above them is what they compute with,
below them only what is printed.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import re
import sys
import zipfile
from pathlib import Path

AUDIT_FORMAT = 5
COLUMNS = {
    line.split()[0]: line.split()[1:]
    for line in """\
runs run_no run_id pipeline mode started_at folder config_json config_hash code_version payload_folder row_limit \
sample_rows sample_seed sample_of run_key reuse_json
run_files name hash ref
nodes node_no name kind plugin expression fields_json price_json answers_from
edges from_no label to_no
rows row_index line data_hash
row_keys key row_index
passages row_index path journey_no output_hashes error_json
journeys journey_no place last_place node_no attempt status route hash_no started_us duration_us
outcomes row_index path outcome step_no sink_no sink_line reason
call_intents intent_no at operation method url node_no batch_no request_hash request_ref request_bytes
calls call_no intent_no node_no batch_no row_index call_type operation method url status http_status started_at \
latency_us request_hash request_ref response_hash response_ref envelope_hash envelope_ref provider_request_id \
is_simulated error_json
batches batch_no node_no attempt parent_no opened_at
batch_events batch_no event_no at event phase detail_json
batch_members row_index path batch_no role segment_no position start length line_hash
reuses row_index path node_no from_run from_row from_batch from_attempt request_hash request_ref role reply_hash \
reply_ref input_tokens output_tokens is_simulated
artifacts node_no path size hash records
purges event_no at action class who why detail_json""".splitlines()
}
WORDS = {  # what the numbers of some columns mean
    "journeys.status": "completed failed", "calls.status": "success error", "purges.class": "rows calls files",
    "outcomes.outcome": "completed routed forked expanded coalesced consumed quarantined failed",
    "batch_members.role": "request output error", "reuses.role": "request output error",
    "purges.action": "held released purging purged",
    "batch_events.phase": "open sealed uploaded ready created ended harvested lost",
}  # fmt: skip
OF_ROWS = ("rows", "row_keys", "passages", "outcomes", "batch_members", "reuses")
NAMED = {  # the class of bytes that a purge takes away, and the columns that name payloads of it
    "rows": ("rows", "data_hash"), "passages": ("rows", "output_hashes"), "run_files": ("files", "hash"),
    "batch_members": ("files", "line_hash"), "reuses": ("files", "request_hash", "reply_hash"),
}  # fmt: skip
NOTE = re.compile("((?:[^\n]+\n){3,})\n((?:\N{EM DASH} [^ \n]+ [^ \n]+\n)+)")
MOST_SHOWN = 2000


class Wrong(Exception):
    """Something that does not hold."""


def need(holds, what):
    if not holds:
        raise Wrong(what)


def sha256(data):
    return hashlib.sha256(data).digest()


def node(left, right):
    return sha256(b"\x01" + left + right)


def half(size):
    """How many leaves stand left of the root: the largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1


def root_by_inclusion(leaf, index, size, path):
    """The root that a leaf's path leads to (RFC 6962, 2.1.1); takes what it uses from the end of the path."""
    if size == 1:
        return leaf
    top = path.pop()
    if index < half(size):
        return node(root_by_inclusion(leaf, index, half(size), path), top)
    return node(top, root_by_inclusion(leaf, index - half(size), size - half(size), path))


def roots_by_consistency(old_size, size, path, old_root):
    """The roots of the old and of the new tree (RFC 6962, 2.1.2); `old_root` is None right of the first split."""
    if old_size == size:
        return (path.pop() if old_root is None else old_root,) * 2
    top = path.pop()
    if old_size <= half(size):
        old, new = roots_by_consistency(old_size, half(size), path, old_root)
        return old, node(new, top)
    old, new = roots_by_consistency(old_size - half(size), size - half(size), path, None)
    return node(top, old), node(top, new)


def parts(entry, *names):
    """The members of an object that has these and no others."""
    need(sorted(entry) == sorted(names), f"there is an object without {names}, or with more")
    return [entry[name] for name in names]


def unhex(text):
    data = bytes.fromhex(text)
    need(data.hex() == text, f"{text!r:.70} is not written as hexadecimal digits are here")
    return data


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, f"{text!r:.70} is not the base64 of anything")
    return data


def parse_keys(text):
    """Verifier keys, one a line: NAME+ID+BASE64, where the id is the beginning of a hash over name and key."""
    keys = {}
    for line in (line.strip() for line in text.split("\n")):
        if line and not line.startswith("#"):
            name, key_id, encoded = line.split("+", 2)
            key = unbase64(encoded)
            need(len(key) == 33 and key[:1] == b"\x01", f"the key {name} is not one of Ed25519")
            need(sha256(name.encode() + b"\n" + key)[:4].hex() == key_id, f"the id of the key {name} does not fit it")
            keys[name, unhex(key_id)] = key[1:]
    return keys


def parse_notes(text, keys):
    """Origin, size, root and signer of each checkpoint in the text; no signer when none of the keys signed it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    notes = NOTE.findall(text)
    need(notes and "".join(f"{body}\n{lines}" for body, lines in notes) == text, "this is not a signed note")
    found = []
    for body, lines in notes:
        signer = None
        for line in lines.split("\n")[:-1]:
            name, encoded = line[2:].split(" ")
            signature = unbase64(encoded)
            key = keys.get((name, signature[:4]))
            if key is not None:
                try:
                    Ed25519PublicKey.from_public_bytes(key).verify(signature[4:], body.encode())
                except Exception:
                    raise Wrong(f"the signature by {name} does not fit the text") from None
                signer = signer or f"{name}+{signature[:4].hex()}"
        origin, size, root = body.split("\n")[:3]
        need(re.fullmatch("[1-9][0-9]{0,18}", size) and len(unbase64(root)) == 32, "a checkpoint has a size and a root")
        found.append((origin, int(size), unbase64(root), signer))
    return found


def archive_of(files):
    """The one archive that these files have: by name, without compression, times and comments."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, files[name])
    return target.getvalue()


def read_bundle(place):
    """The bytes of every file by name, out of a folder or an archive."""
    if place.is_dir():
        paths = [path for path in place.rglob("*") if path.is_symlink() or not path.is_dir()]
        need(not any(path.is_symlink() for path in paths), "there is a symbolic link in the folder")
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in paths}
    data = place.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        need(sum(entry.file_size for entry in entries) <= len(data), "the archive tells of more bytes than it has")
        files = {entry.filename: archive.read(entry) for entry in entries}
    need(len(files) == len(entries), "a name stands in the archive twice")
    need(archive_of(files) == data, "the archive is not as elspeth writes it. Unzip it, and check the folder")
    return files


class Bundle:
    """A bundle with what the steps have found in it."""

    def __init__(self, files, keys, brought):
        self.files, self.brought_keys, self.brought = files, keys, brought
        self.signer, self.anchor, self.proven, self.journeys = None, None, [], {}

    def check_files(self):
        need("records.json" in self.files, "records.json is missing")
        self.content = json.loads(self.files["records.json"])
        plain = json.dumps(self.content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        need(plain.encode() == self.files["records.json"], "records.json is not written as it is here")
        names = ("audit_format", "files", "run", "pipeline", "rows", "tree_size", "earlier", "commits", "leaves")
        found, known, *_ = parts(self.content, *names)
        need(found == AUDIT_FORMAT, f"the records have audit format {found}, and this program knows {AUDIT_FORMAT}")
        need({"README.md", "checkpoint.txt", "verify.py"} <= set(known), "records.json lacks the hash of a file")
        others = [name for name in self.files if name != "records.json" and not name.startswith("payloads/")]
        for name in sorted(set(known) | set(others)):
            need(name in known, f"{name}: nothing names this file")
            need(name in self.files, f"{name} is missing")
            need(sha256(self.files[name]) == unhex(known[name]), f"{name} does not have the hash in records.json")
        return f"{len(self.files)} files"

    def check_checkpoint(self):
        keys = self.brought_keys or parse_keys(self.files.get("key.txt", b"").decode())
        notes = parse_notes(self.files["checkpoint.txt"].decode(), keys)
        need(len(notes) == 1, "checkpoint.txt holds more than one note")
        origin, self.size, self.root, self.signer = notes[0]
        need(origin == f"elspeth/run/{self.content['run']}", f"the checkpoint is of {origin}")
        need(self.size == self.content["tree_size"], "the checkpoint tells of another tree")
        need(self.signer or not keys, "the checkpoint is not signed by the key that was brought or came with it")
        roots = {self.size: self.root}
        for earlier in self.content["earlier"]:
            size, root, path = parts(earlier, "size", "root", "path")
            need(
                type(size) is int and 0 < size < self.size and size not in roots, f"there is no earlier tree of {size}"
            )
            path, roots[size] = [unhex(one) for one in path], unhex(root)
            found = roots_by_consistency(size, self.size, path, roots[size])
            need(
                found == (roots[size], self.root) and not path,
                f"the tree of {size} commits is not where this one began",
            )
        if self.brought:
            self.check_brought(origin, roots, keys)
        return f"{self.size} commits, root {self.root.hex()}, signed by {self.signer or 'a key that is not known here'}"

    def check_brought(self, origin, roots, keys):
        """What was brought must be signed, and tell of this tree as it is, or as it was earlier."""
        notes = [note for text in self.brought for note in parse_notes(text, keys) if note[0] == origin]
        for _, size, root, signer in notes:
            need(signer, "the checkpoint that was brought is signed by another key: bring that key too")
            if size in roots:
                need(roots[size] == root, f"the checkpoint that was brought tells of other {size} commits")
                self.anchor = max(size, self.anchor or 0)
            need(size in roots or size > self.size, f"no seal of this run tells of {size} commits")
        need(self.anchor, "no checkpoint that was brought is of this run" if not notes else
             "the checkpoint that was brought is newer than the bundle: ask for a new bundle")  # fmt: skip

    def check_commits(self):
        self.commits = {}
        for entry in self.content["commits"]:
            number, leaf_count, root, path = parts(entry, "commit", "leaf_count", "root", "path")
            need(type(number) is int and number not in self.commits, f"commit {number}: twice, or no number")
            need(0 <= number < self.size, f"commit {number}: it is none of the tree")
            line, path = ["commit", self.content["run"], 0, number, leaf_count, root], [unhex(one) for one in path]
            leaf = sha256(b"\x00\x02" + json.dumps(line, separators=(",", ":")).encode() + b"\n")
            found = root_by_inclusion(leaf, number, self.size, path)
            need(found == self.root and not path, f"commit {number}: its path does not lead to the checkpoint's root")
            self.commits[number] = (leaf_count, unhex(root))
        return f"{len(self.commits)} commits"

    def check_records(self):
        places = set()
        for entry in self.content["leaves"]:
            commit, place, blinding, lines, path = parts(entry, "commit", "place", "blinding", "lines", "path")
            where, path = f"leaf {place} of commit {commit}", [unhex(one) for one in path]
            need(commit in self.commits and (commit, place) not in places, f"{where}: twice, or of no commit")
            size, root = self.commits[commit]
            need(type(place) is int and 0 <= place < size, f"{where}: there is no such place")
            need(len(unhex(blinding)) == 16, f"{where}: its blinding has another size")
            data = b"\x00\x01" + unhex(blinding) + "".join(f"{line}\n" for line in lines).encode()
            found = root_by_inclusion(sha256(data), place, size, path)
            need(found == root and not path, f"{where}: it does not lead to the root of its commit")
            places.add((commit, place))
            for line in lines:
                table, *values = json.loads(line)
                need(len(COLUMNS.get(table, ())) == len(values), f"{where}: a bundle has no such record")
                self.proven.append((table, dict(zip(COLUMNS[table], values), commit_no=commit)))
        need({commit for commit, _ in places} == set(self.commits), "a commit has no record here")
        return f"{len(places)} leaves, {len(self.proven)} records"

    def check_payloads(self):
        gone, named = self.purged(), set()
        for table, record in self.proven:
            kind, *columns = NAMED.get(table, (None,))
            for name in [f"payloads/{one}" for column in columns for one in hashes(record[column])]:
                named.add(name)
                need(name in self.files or kind in gone, f"{name}: {table} names it, and it is missing")
        for name in sorted(name for name in self.files if name.startswith("payloads/")):
            need(name in named, f"{name}: no record names this file")
            need(f"payloads/{sha256(self.files[name]).hex()}" == name, f"{name}: its bytes have another SHA-256")
        return f"{len(named & set(self.files))} payloads, {len(named - set(self.files))} purged"

    def check_agreement(self):
        runs = self.records("runs")
        need(len(runs) == 1, "there is not one record of the run")
        self.run = runs[0]
        is_named = (self.run["run_id"], self.run["pipeline"]) == (self.content["run"], self.content["pipeline"])
        need(is_named, "the run has another name in its record")
        need(
            sha256(self.run["config_json"].encode()).hex() == self.run["config_hash"], "the settings have another hash"
        )
        rows = [record["row_index"] for record in self.records("rows")]
        need(sorted(rows) == self.content["rows"], "the rows are not those that the bundle is about")
        need({record["row_index"] for table in OF_ROWS for record in self.records(table)} == set(rows),
             "there are records of other rows")  # fmt: skip
        for table, column in (("nodes", "node_no"), ("batches", "batch_no")):
            known = {record[column] for record in self.records(table)}
            for user in ("journeys", "reuses", "batches", "batch_members", "batch_events", "call_intents", "calls"):
                found = {record[column] for record in self.records(user) if record.get(column) is not None}
                need(found <= known, f"{user}: a record names something in {table} that is not here")
        self.check_journeys()
        return f"run {self.run['run_id']}, {len(rows)} rows"

    def check_journeys(self):
        for step in sorted(self.records("journeys"), key=lambda step: step["place"]):
            self.journeys.setdefault((step["commit_no"], step["journey_no"]), []).append(step)
        passages = self.records("passages")
        named = {(passage["commit_no"], passage["journey_no"]) for passage in passages}
        need(named == set(self.journeys), "the journeys are not those that the passages name")
        for passage in passages:
            steps = self.journeys[passage["commit_no"], passage["journey_no"]]
            numbers = [step["hash_no"] for step in steps if step["hash_no"] is not None]
            is_whole = [step["place"] for step in steps] == list(range(steps[0]["last_place"] + 1))
            need(is_whole, f"row {passage['row_index']}: not all steps of its journey are here")
            need(numbers == list(range(len(hashes(passage["output_hashes"])))),
                 f"row {passage['row_index']}: its journey has another number of hashes")  # fmt: skip

    def records(self, table):
        return [record for name, record in self.proven if name == table]

    def purged(self):
        """The classes of bytes of which the records say that they were, or are being, deleted."""
        words = [(word("purges", "action", one["action"]), one["class"]) for one in self.records("purges")]
        return {word("purges", "class", number) for action, number in words if action in ("purging", "purged")}


def word(table, column, value):
    words = WORDS.get(f"{table}.{column}")
    return words.split()[value - 1] if words and value is not None else value


def hashes(digits):
    """The hashes in a column: none, one, or several joined."""
    return [digits[at : at + 64] for at in range(0, len(digits or ""), 64)]


def shown(text):
    """Text that no terminal takes for a command."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return plain if len(plain) <= MOST_SHOWN else f"{plain[:MOST_SHOWN]} ... ({len(plain)} characters in all)"


def told(bundle, table, record):
    """A record, and the hashes that it names; behind a passage the steps of its journey, with the hash of each."""
    named = [one for column in NAMED.get(table, (None,))[1:] for one in hashes(record[column])]
    yield table, record, named if table != "passages" else []
    if table == "passages":
        for step in bundle.journeys[record["commit_no"], record["journey_no"]]:
            yield "journeys", step, [] if step["hash_no"] is None else [named[step["hash_no"]]]


def tell(bundle):
    """Prints what the proven records say: of each row, then of everything else."""
    by_row = {row: [] for row in [*bundle.content["rows"], None]}
    for table, record in bundle.proven:
        if table != "journeys":
            by_row[record["row_index"] if table in OF_ROWS else None] += told(bundle, table, record)
    for row, records in by_row.items():
        print(f"\nrow {row}" if row is not None else "\nthe run, and the batches that these rows were in")
        for table, record, named in records:
            values = {name: word(table, name, value) for name, value in record.items() if value not in (None, "")}
            print(f"  {table}: " + ", ".join(f"{name}={shown(str(value))}" for name, value in values.items()))
            for one in named if table != "run_files" else ():
                data = bundle.files.get(f"payloads/{one}")
                print("    (purged)" if data is None else f"    {shown(data.decode(errors='backslashreplace'))}")
    if bundle.run["mode"] == "simulated" or any(
        r["is_simulated"] for t in ("calls", "reuses") for r in bundle.records(t)
    ):
        print("\nSIMULATED ANSWERS: they come from a simulator, not from a model.")


def last_words(bundle):
    if bundle.anchor:
        return f"verified, and anchored: the checkpoint that you brought, of {bundle.anchor} commits, is of this tree."
    if bundle.brought_keys:
        return f"verified, and sealed by the key that you brought: {bundle.signer}."
    weak = "verified, consistent only: nothing contradicts anything else, but "
    if bundle.signer:
        return weak + "the key came with the bundle. Get it by another way: --key."
    return weak + "no signature was checked. Get the signer's key: --key."


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Checks a bundle of rows.")
    parser.add_argument("bundle", nargs="?", default=Path(__file__).resolve().parent, type=Path, help="zip or folder")
    parser.add_argument("--key", action="append", default=[], type=Path, help="verifier keys that you got elsewhere")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, help="checkpoints that you kept")
    given = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    step = "reading"
    try:
        keys = parse_keys("\n".join(path.read_bytes().decode() for path in given.key))
        need(keys or not given.key, "there is no key in what was brought")
        brought = [path.read_bytes().decode() for path in given.checkpoint]
        bundle = Bundle(read_bundle(given.bundle), keys, brought)
        steps = (bundle.check_files, bundle.check_checkpoint, bundle.check_commits, bundle.check_records,
                 bundle.check_payloads, bundle.check_agreement)  # fmt: skip
        for number, check in enumerate(steps, 1):
            step = check.__name__[len("check_") :]
            print(f"{number}. {step:<11} ok  {check()}")
        step = "telling"
        tell(bundle)
    except BrokenPipeError:
        raise
    except Exception as error:
        what = error if isinstance(error, Wrong) else f"it cannot be read: {type(error).__name__}: {error}"
        print(f"NOT verified: {step}: {shown(str(what))}")
        return 1
    print(f"\n{last_words(bundle)}")
    return 0


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)
    sys.exit(code)
