"""The fault matrix: what can go wrong between us and a provider, and the test that shows what comes of it.

The table is complete: a line that nobody tests fails here, and so does a test of no line.
"""

import ast
from pathlib import Path

MATRIX: dict[str, dict[str, tuple[str, ...]]] = {
    "build": {
        "over rows or bytes": ("test_build_over_the_limits_of_rows_and_bytes",),
        "duplicate id": ("test_build_with_a_duplicate_id",),
        "empty": ("test_build_of_an_empty_source",),
    },
    "upload": {
        "timeout": ("test_upload_times_out",),
        "reset": ("test_upload_connection_is_reset",),
        "5xx": ("test_upload_answers_5xx",),
        "409": ("test_upload_answers_409",),
        "crash before the answer is recorded": ("test_upload_or_create_and_a_crash_before_the_answer_is_recorded",),
        "several copies are found": ("test_upload_of_which_several_copies_are_found",),
        "a copy shows up later": ("test_upload_of_which_a_copy_shows_up_later",),
        "none of these costs a row": ("test_uploads_that_met_a_fault_leave_every_row_answered_once",),
        "400, 413": ("test_upload_answers_400_or_413", "test_a_refused_upload_loses_nothing"),
        "401, 403": ("test_upload_answers_401_or_403", "test_a_refused_upload_loses_nothing"),
    },
    "file wait": {
        "pending for long": ("test_file_wait_is_pending_for_long",),
        "error": ("test_file_wait_ends_in_an_error",),
        "404": ("test_file_wait_answers_404",),
    },
    "create": {
        "accepted but the answer lost": (
            "test_create_is_accepted_and_its_answer_lost",
            "test_creates_that_met_a_fault_leave_every_row_answered_once",
        ),
        "did not arrive": ("test_create_did_not_arrive",),
        "timeout": ("test_create_times_out",),
        "crash before the answer is recorded": ("test_upload_or_create_and_a_crash_before_the_answer_is_recorded",),
        "several are found": ("test_create_of_which_several_jobs_are_found",),
        "the listing can't be completed": (
            "test_create_whose_listing_cannot_be_completed",
            "test_create_whose_listing_cannot_be_completed_and_a_person_declares_it_lost",
        ),
        "token_limit_exceeded, as 400 or as a failed job": (
            "test_create_answers_token_limit_exceeded",
            "test_create_answers_token_limit_exceeded_and_then_a_fault",
            "test_create_with_a_quota_for_one_batch_and_five_to_run",
        ),
        "429": ("test_create_answers_429_with_a_long_retry_after",),
        "404 (file, deployment), 400 (schema, SKU)": (
            "test_create_answers_400_or_404",
            "test_create_answers_404_since_its_file_is_gone",
            "test_a_refused_create_loses_nothing",
        ),
    },
    "auth": {
        "token expires during a poll": ("test_auth_token_expires_during_a_poll",),
        "401 or 403 to a key": ("test_auth_key_is_refused_during_a_poll", "test_create_answers_401_or_403"),
    },
    "poll": {
        "5xx": ("test_poll_answers_5xx",),
        "408": ("test_poll_answers_408",),
        "timeout": ("test_poll_times_out",),
        "malformed JSON": ("test_poll_answers_malformed_json",),
        "unknown or capitalised status": ("test_poll_answers_an_unknown_or_capitalised_status",),
        "null counts": ("test_poll_answers_null_counts",),
        "all of these in a row": ("test_polls_that_met_a_fault_leave_one_job_and_every_row_answered",),
        "404 for a known job": (
            "test_poll_answers_404_for_a_job_that_is_still_listed",
            "test_poll_answers_404_for_a_job_that_is_listed_no_more",
        ),
        "process dies": ("test_poll_and_its_process_dies",),
    },
    "terminal": {
        "failed": ("test_terminal_failed_with_files", "test_terminal_failed_for_good"),
        "expired": ("test_terminal_expired_with_six_rows_of_ten_done",),
        "cancelled": ("test_terminal_cancelled",),
        "nothing is lost or paid twice": ("test_jobs_that_end_early_leave_every_row_answered_once",),
        "completed without files": (
            "test_terminal_completed_without_an_output_file",
            "test_terminal_completed_and_its_files_are_never_told",
        ),
        "a late file id": (
            "test_terminal_completed_before_its_files_are_told",
            "test_terminal_completed_with_an_error_file_before_its_output_file_is_told",
        ),
    },
    "download": {
        "truncated, reset": (
            "test_download_is_truncated_or_reset",
            "test_downloads_that_met_a_fault_leave_every_row_answered_once",
        ),
        "timeout": ("test_download_times_out", "test_stalled_requests_leave_every_row_answered_once"),
        "404, expired": ("test_download_answers_404",),
    },
    "parse": {
        "bad line": ("test_parse_a_bad_line",),
        "missing id": ("test_parse_a_missing_id",),
        "extra id": ("test_parse_an_extra_id",),
        "duplicate id": ("test_parse_a_duplicate_id",),
        "id in both files": ("test_parse_an_id_in_both_files",),
        "none of these costs a row": ("test_odd_lines_leave_every_row_accounted_for",),
    },
    "row": {
        "429, 5xx, timeout, expired": (
            "test_row_answers_429_or_5xx_or_times_out",
            "test_row_fails_as_often_as_it_may",
            "test_terminal_expired_with_six_rows_of_ten_done",
        ),
        "400, content filter, refusal, length, schema-invalid": (
            "test_row_answers_400_or_filtered_or_refused_or_cut_or_off_the_schema",
            "test_row_fails_with_the_recorded_body_of_the_error",
        ),
        "nothing else changes": ("test_row_faults_change_nothing_else",),
    },
    "cancel": {
        "409": ("test_cancel_answers_409",),
        "answer lost": ("test_cancel_is_accepted_and_its_answer_lost",),
        "completes anyway": ("test_cancel_is_accepted_and_the_job_completes_anyway",),
    },
    "clock": {"skewed": ("test_clock_is_skewed",)},
    "concurrency": {"two processes resume one run": ("test_concurrency_two_processes_resume_one_run",)},
}

NAMED = {name for faults in MATRIX.values() for names in faults.values() for name in names}


def written() -> list[str]:
    """The tests of the files beside this one that are about the matrix."""
    here = Path(__file__)
    return [
        node.name
        for path in sorted(here.parent.glob(f"{here.stem}_*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def test_every_line_of_the_matrix_has_its_tests_and_every_test_its_line() -> None:
    assert all(names for faults in MATRIX.values() for names in faults.values())
    assert sorted(NAMED) == sorted(written())
