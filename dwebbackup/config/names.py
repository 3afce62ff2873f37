"""Every setting there is: what its variable and its key in the YAML file are called, and what it means."""

from __future__ import annotations

PREFIX = "DWEBBACKUP_"

SECRETS = ("SOURCE", "KEY", "TARGET", "RESTORE_KEY", "PAGE_TOKEN", "NOTIFY")
"""What is a secret, or may hold one: it can stand in a file, too."""

HANDED_IN = ("RESTORE_KEY",)
"""Secrets whose file may be missing: it is put there when it is wanted, and taken away afterwards."""

MEANINGS = {
    "SOURCE": "what is backed up: postgresql://USER:PASSWORD@HOST/DATABASE, mysql://…, files:///FOLDER; several: "
    "separated by spaces",
    "STORE": "where backups are kept: file:///FOLDER, s3://BUCKET/PREFIX?endpoint=https://HOST, "
    "filebase://BUCKET/PREFIX, ipfs+http://HOST:5001/FOLDER …; several: separated by spaces",
    "KEY": "the 24 words, a writer key or a reader key",
    "TARGET": "the database or folder that a restore fills, as with SOURCE",
    "JOBS": "tables read or filled at once; unless set, one for each core that may be used, at most 4",
    "MAX_SNAPSHOT": "how long a backup may hold its snapshot open: 30m, 2h; unless set, as long as it takes",
    "RATE": "bytes a second that a backup may put, of all its uploads together: 800K, 5M; unless set, no limit",
    "RECIPIENTS": "more age recipients (age1…) who can read every backup, separated by spaces",
    "POSTGRES_BIN": "the folder of pg_dump, pg_restore and psql, where they are not found",
    "KEEP": "which backups a prune keeps: last 7, daily 14, monthly 12, within 14d; unless set, nothing is pruned",
    "SCHEDULE": "when the sidecar backs up: every 6 hours (the default), daily at 03:00, or a cron line: 0 3 * * 0",
    "TIMEZONE": "where the schedule's times are: Europe/Berlin; unless set, UTC",
    "JITTER": "by how much at most the sidecar begins later than scheduled, so that not all do at once: 90s, 10m",
    "RESTORE_KEY": "a reader key, with which the sidecar fills an empty database from the newest backup; "
    "the file may be missing until it is wanted",
    "LISTEN": "where the sidecar's page listens: 0.0.0.0:8080 (the default), 8080, 127.0.0.1:8080; off: nowhere",
    "PAGE_TOKEN": "what opens the sidecar's page, of at least 16 characters; without it, only /healthz answers",
    "NOTIFY": "whom the sidecar tells what happens, as URLs separated by spaces",
    "SUSPECT_BELOW": "a backup with less than this share of the last good one's rows or tables is suspect; "
    "unless set, 50%; 0% turns it off",
    "BACKUP_ON_STOP": "yes: the sidecar backs up once more when it is told to stop; unless set, no",
    "GATEWAYS": "IPFS gateways, by which backups are found and fetched without a store, separated by spaces; "
    "unless set, four public ones; off: none",
    "PORTALS": "the same of Skynet, where somebody runs one; unless set, none",
    "ROUTERS": "servers that know to what IPNS names lead (delegated routing): backups are found by them, and those in "
    "IPFS stores told to them; unless set, https://delegated-ipfs.dev; off: none",
}

NAMES = (*MEANINGS, *(f"{name}_FILE" for name in SECRETS))
"""Every variable, without its prefix."""

STORE_SECRETS = {
    "ACCESS_KEY_ID": "the access key of the store NAME: its id",
    "SECRET_ACCESS_KEY": "… and its secret",
    "SESSION_TOKEN": "… and its token, where it is one of a session",
    "TOKEN": "what opens the store NAME where that is no access key: an IPFS node, a Skynet portal, s3d",
}
"""Variables that each store has, behind `STORE_<NAME>_`. All may stand in a file."""

LISTS = {"sources": ("name", "url", "url_file", "schedule", "exclude"), "stores": ("name", "url")}
"""Keys of the YAML file with a list of entries, and what each of these may have."""

FILE_KEYS = (
    *LISTS,
    "key_file",
    "target",
    "target_file",
    "jobs",
    "max_snapshot",
    "rate",
    "recipients",
    "postgres_bin",
    "keep",
    "schedule",
    "timezone",
    "jitter",
    "restore_key_file",
    "listen",
    "page_token",
    "page_token_file",
    "notify",
    "notify_file",
    "suspect_below",
    "backup_on_stop",
    "gateways",
    "portals",
    "routers",
)
"""Every key of the YAML file. Keys that open backups are not among them: they stand in files of their own."""
