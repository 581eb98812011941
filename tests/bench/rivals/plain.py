"""The audit case without an audit: what somebody would write who only wants the two files.

python plain.py rows.csv urgent.csv normal.csv
"""

import csv
import sys

FIELDS = ["id", "customer", "region", "title", "body", "channel", "amount", "priority", "source"]


def tidy(row):
    return {"title" if name == "subject" else name: value for name, value in row.items()}


def label(row):
    row["source"] = "crm"
    return row


def main(source_path, urgent_path, normal_path):
    with (
        open(source_path, newline="", encoding="utf-8") as source,
        open(urgent_path, "w", newline="", encoding="utf-8") as urgent_file,
        open(normal_path, "w", newline="", encoding="utf-8") as normal_file,
    ):
        urgent = csv.DictWriter(urgent_file, FIELDS, lineterminator="\n")
        normal = csv.DictWriter(normal_file, FIELDS, lineterminator="\n")
        urgent.writeheader()
        normal.writeheader()
        for row in csv.DictReader(source):
            row["id"] = int(row["id"])
            row["amount"] = float(row["amount"])
            row["priority"] = int(row["priority"])
            ticket = label(tidy(row))
            (urgent if ticket["priority"] >= 3 else normal).writerow(ticket)


if __name__ == "__main__":
    main(*sys.argv[1:])
