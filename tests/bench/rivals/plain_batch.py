"""The batch case without an audit, with the provider's SDK.

python plain_batch.py rows.csv answers.jsonl BASE_URL POLL_INTERVAL_S

The same template, fields and limits of a file as the pipeline. All rows stay in memory until they are answered, which
is what a script of this size would do.
"""

import csv
import json
import sys
import time
from pathlib import Path

import jinja2
import openai

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
TEMPLATE = "Classify this ticket.\nTitle: {{ row.subject }}\nBody: {{ row.body }}"
RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "response",
        "schema": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "category": {"type": "string", "enum": ["bug", "billing", "other"]},
                "urgency": {"type": "integer"},
            },
            "required": ["category", "urgency"],
        },
        "strict": True,
    },
}


def read(path):
    with open(path, newline="", encoding="utf-8") as source:
        for row in csv.DictReader(source):
            row["id"] = int(row["id"])
            row["amount"] = float(row["amount"])
            row["priority"] = int(row["priority"])
            yield row


def request_lines(rows):
    template = jinja2.Environment().from_string(TEMPLATE)
    for index, row in enumerate(rows):
        body = {
            "model": "gpt-test",
            "messages": [{"role": "user", "content": template.render(row=row)}],
            "response_format": RESPONSE_FORMAT,
        }
        request = {"custom_id": f"row-{index}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        yield json.dumps(request, ensure_ascii=False) + "\n"


def write_files(lines):
    """Input files within the provider's limits."""
    paths, file, requests, size = [], None, 0, 0
    for line in lines:
        data = line.encode()
        if file is None or requests == MAX_REQUESTS or size + len(data) > MAX_BYTES:
            if file is not None:
                file.close()
            paths.append(Path(f"input-{len(paths)}.jsonl"))
            file, requests, size = paths[-1].open("wb"), 0, 0
        file.write(data)
        requests += 1
        size += len(data)
    if file is not None:
        file.close()
    return paths


def submit(client, path):
    with path.open("rb") as file:
        uploaded = client.files.create(file=file, purpose="batch")
    return client.batches.create(input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h").id


def finished(client, batch_id, poll_interval_s):
    while True:
        batch = client.batches.retrieve(batch_id)
        if batch.status == "completed":
            return batch
        if batch.status in ("failed", "expired", "cancelled"):
            raise SystemExit(f"batch {batch_id} is {batch.status}")
        time.sleep(poll_interval_s)


def answers(client, batch):
    """Each answer by the custom_id of its request."""
    for line in client.files.content(batch.output_file_id).iter_lines():
        record = json.loads(line)
        response = record["response"]
        if record["error"] or response["status_code"] != 200:
            raise SystemExit(f"no answer: {line}")
        answer = json.loads(response["body"]["choices"][0]["message"]["content"])
        if not isinstance(answer, dict):
            raise SystemExit(f"not an object: {line}")
        yield record["custom_id"], answer


def main(source_path, output_path, base_url, poll_interval_s):
    client = openai.OpenAI(base_url=base_url)
    rows = list(read(source_path))
    found = {}
    for batch_id in [submit(client, path) for path in write_files(request_lines(rows))]:
        found.update(answers(client, finished(client, batch_id, float(poll_interval_s))))
    with open(output_path, "w", encoding="utf-8") as output:
        for index, row in enumerate(rows):
            output.write(json.dumps({**row, **found[f"row-{index}"]}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
