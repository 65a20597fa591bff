"""An example of every body and every answer, for the OpenAPI page."""

from __future__ import annotations

from typing import Final

JOB_ID: Final = "default.69da451ef77b1b51f40e83ee.2490562293131"
BATCH: Final = "outage-42"

RECEIPT: Final = {
    "job_id": JOB_ID,
    "status": "queued",
    "position": 12,
    "starts_at": "2026-11-26T09:30:00.750+00:00",
    "done_by": "2026-11-26T09:30:01.800+00:00",
    "chat_id": None,
    "share_link": None,
}
ROOM: Final = {
    "job_id": JOB_ID,
    "status": "already open",
    "position": None,
    "starts_at": None,
    "done_by": None,
    "chat_id": "oc_a0553eda9014c2de1b3a8f75b4e0c000",
    "share_link": "https://im.example/oc_a0553eda",
}
JOB: Final = {
    "job_id": JOB_ID,
    "state": "opened",
    "account": "default",
    "incident_id": "69da451ef77b1b51f40e83ee",
    "integration_id": 2490562293131,
    "member_ids": [],
    "add_observers": False,
    "lane": "urgent",
    "batches": [BATCH],
    "attempts": 1,
    "created_at": "2026-11-26T09:29:59.101+00:00",
    "updated_at": "2026-11-26T09:30:00.750+00:00",
    "due_at": None,
    "finished_at": "2026-11-26T09:30:00.750+00:00",
    "room": {
        "chat_id": "oc_a0553eda9014c2de1b3a8f75b4e0c000",
        "chat_name": "Incident #0E83EE war room",
        "share_link": "",
    },
    "error": None,
    "request_id": "01HK8XQE3Z7JM2NTFQ5YJ8P9R4",
    "first_failed_at": None,
    "outcome_unknown": False,
    "worker": None,
}
KNOWN_JOB: Final = {
    **JOB,
    "in_front": None,
    "starts_at": None,
    "done_by": None,
    "waits_for": ["it waits for nothing: its room is there"],
}
FAILED_JOB: Final = {
    **JOB,
    "state": "failed",
    "room": None,
    "error": {
        "code": "InvalidParameter",
        "message": "InvalidParameter (HTTP 400): the incident is closed",
        "hint": "check that the incident is active and has responders",
        "status": 400,
    },
}
BATCH_ANSWER: Final = {
    "batch": BATCH,
    "created_at": "2026-11-26T09:00:00.000+00:00",
    "total": 100_000,
    "done": 1002,
    "queued": 98_990,
    "opening": 8,
    "retrying": 0,
    "opened": 990,
    "found": 10,
    "failed": 2,
    "cancelled": 0,
    "done_by": "2026-11-26T10:40:07.000+00:00",
}
LIMITS: Final = {
    "accounts": [
        {
            "account": "default",
            "rates": "50/second;1000/minute",
            "allowed_per_minute": 1000.0,
            "sustained_per_minute": 992.0,
            "tokens": [46.0, 812.5],
            "next_slot_s": 0.0,
            "pause_s": 0.0,
            "paused": None,
            "halt": None,
            "workers_alive": 3,
            "waiting": {"urgent": 0, "bulk": 98_990, "opening": 8, "retrying": 0, "most": 1_000_000},
        }
    ]
}
REPLAYED: Final = {
    "dry_run": False,
    "replayed": 3,
    "selected": 3,
    "by_code": {"Timeout": 3},
    "gone": 0,
    "misses": [],
    "more": False,
}
WEBHOOK_EVENT: Final = {
    "event_time": 1775912222661,
    "event_type": "i_assign",
    "event_id": "fac0599a2a25529ba2362c0c184b6cfb",
    "incident": {
        "incident_id": "69da451ef77b1b51f40e83ee",
        "title": "Disk full",
        "incident_severity": "Critical",
        "incident_status": "Critical",
        "progress": "Triggered",
        "integration_id": 2490562293131,
    },
}
