"""Streams of `NatsStore`: they are created, and their retention is changed, if that is needed.

| stream | subjects | keeps |
|---|---|---|
| `<prefix>-log` | `<prefix>-log.<scope>.<shard>` | the records of all shards, for the retention |
| `<prefix>-mail` | `<prefix>-mail.<scope>.<mailbox>` | messages, each for its own time |
| `KV_<prefix>-members` | `$KV.<prefix>-members.<scope>.<member>` | the last value, for a day |
| `KV_<prefix>-values` | `$KV.<prefix>-values.<scope>.<key>` | the last value |

The last two are buckets as clients of NATS know them:
<https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md>.
Once the server has stored a record or a message, it sends it again without its data, under the
prefix `<prefix>-appended` or `<prefix>-posted`.
"""

from __future__ import annotations

import datetime
from typing import Any

from gateway_fleet._nats_api import JetStream
from gateway_fleet.store import StoreError
from gateway_proto.fleet import MAX_MESSAGES

__all__ = ["NatsStreams", "seconds_of"]

_DEFAULT_RETENTION = 3600
_MAIL_SECONDS = 2 * 3600
"""More than a message may ask for."""
_MEMBERS_SECONDS = 86_400
"""Seconds for which the value of a member is kept that is never written again."""
_SECOND = 10**9
_NEEDED = ("subjects", "allow_direct", "allow_msg_ttl", "republish")
"""Settings that an existing stream must have."""


class NatsStreams:
    """The streams of a prefix, and how long the log keeps records at present."""

    def __init__(
        self,
        api: JetStream,
        prefix: str,
        *,
        retention: float | None,
        max_bytes: int | None,
        replicas: int,
    ) -> None:
        self.log = f"{prefix}-log"
        self.mail = f"{prefix}-mail"
        self.appended = f"{prefix}-appended"
        self.posted = f"{prefix}-posted"
        self.members = f"{prefix}-members"
        self.values = f"{prefix}-values"
        self.retention: float | None = None
        """Age of the oldest records of the log when they are dropped, in seconds."""
        self._api = api
        self._is_bounded = False
        self._given: dict[str, int] = {}
        if retention is not None:
            self._given["max_age"] = int(retention * _SECOND)
        if max_bytes is not None:
            self._given["max_bytes"] = max_bytes
        self._replicas = replicas

    async def ensure(self) -> None:
        """Create the streams that do not exist, and apply the given settings of the log."""
        config = await self._existing(
            self.log,
            f"{self.log}.>",
            discard="old",
            republish=_republish(self.log, self.appended),
            **{"max_age": _DEFAULT_RETENTION * _SECOND, **self._given},
        )
        changes = {key: value for key, value in self._given.items() if config[key] != value}
        if changes:
            config = {**config, **changes}
            # It must not be longer than the retention.
            config["duplicate_window"] = min(config["duplicate_window"], config["max_age"])
            await self._api.call(f"STREAM.UPDATE.{self.log}", config)
        self._apply(config)
        await self._existing(
            self.mail,
            f"{self.mail}.>",
            discard="new",
            discard_new_per_subject=True,
            max_msgs_per_subject=MAX_MESSAGES,
            max_age=_MAIL_SECONDS * _SECOND,
            allow_msg_ttl=True,
            republish=_republish(self.mail, self.posted),
        )
        for bucket, seconds in ((self.members, _MEMBERS_SECONDS), (self.values, 0)):
            await self._existing(
                f"KV_{bucket}",
                f"$KV.{bucket}.>",
                discard="new",
                max_msgs_per_subject=1,
                max_age=seconds * _SECOND,
                allow_rollup_hdrs=True,
                deny_delete=True,
            )

    async def look(self) -> None:
        """Find out how old the oldest record is, if the log has a maximum size."""
        if not self._is_bounded:
            return
        info = await self._api.stream(self.log)
        if info is None:
            raise StoreError(f"the stream {self.log} does not exist")
        self._apply(info["config"])
        state = info["state"]
        if state["bytes"] > info["config"]["max_bytes"] / 2:
            kept = seconds_of(state["last_ts"]) - seconds_of(state["first_ts"])
            self.retention = kept if self.retention is None else min(self.retention, kept)

    async def _existing(self, name: str, subjects: str, **settings: Any) -> dict[str, Any]:
        """Return the settings of a stream, which is created if it does not exist."""
        wanted = {
            "name": name,
            "subjects": [subjects],
            "retention": "limits",
            "storage": "file",
            "num_replicas": self._replicas,
            "allow_direct": True,
            **settings,
        }
        info = await self._api.stream(name)
        if info is None:
            info = await self._api.call(f"STREAM.CREATE.{name}", wanted)
        config: dict[str, Any] = info["config"]
        for key in _NEEDED:
            if key in wanted and config.get(key) != wanted[key]:
                raise StoreError(
                    f"the stream {name} has {key} {config.get(key)}: expected {wanted[key]}"
                )
        return config

    def _apply(self, config: dict[str, Any]) -> None:
        self.retention = config["max_age"] / _SECOND or None
        self._is_bounded = config["max_bytes"] > 0


def _republish(source: str, destination: str) -> dict[str, Any]:
    return {"src": f"{source}.>", "dest": f"{destination}.>", "headers_only": True}


def seconds_of(time: str) -> float:
    """Return a time of the engine in seconds."""
    return datetime.datetime.fromisoformat(time).timestamp()
