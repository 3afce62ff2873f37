"""Telling people, and the services that watch for them, what happens to their backups: webhooks, pings, mail."""

from __future__ import annotations

from dwebbackup.report.notices.addresses import parse_channel
from dwebbackup.report.notices.channel import Channel, NotDelivered
from dwebbackup.report.notices.deduplication import Deduplication
from dwebbackup.report.notices.notice import Event, Notice
from dwebbackup.report.notices.notifier import Notifier

__all__ = ["Channel", "Deduplication", "Event", "NotDelivered", "Notice", "Notifier", "parse_channel"]
