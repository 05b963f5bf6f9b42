"""Lua scripts of `RedisStore`: each verb that reads and writes is one atomic script.

The log of a shard is a stream whose ids are `<position>-0`. An entry is a record, and has a field
for each of its parts, in order; the names of the fields say nothing. The head of the log is a hash,
which is written with the log and is never trimmed:

| field | contents |
|---|---|
| `p`, `id`, `h` | position and id of the last record; the head as JSON |
| `first`, `last` | numbers of the segments of the log that are kept |
| `at<n>`, `pos<n>`, `size<n>` | of segment n: time of its first record, its position, its bytes |

A segment ends after a sixth of the retention or an eighth of the bytes. The oldest segment is
dropped as a whole once its records are older than the retention, or the log is larger than its
bytes. Streams cannot be trimmed by time here, since their ids are positions.

A mailbox is a hash whose fields are the messages, with the time at which each expires and its
number. The field without a name counts them. The hash expires with its last message. A value that
no member has written counts as expired.
"""

from __future__ import annotations

import hashlib
from typing import Any

from coredis.exceptions import NoScriptError

__all__ = ["APPEND", "COMPARE_AND_SET", "FORGET", "HEARTBEAT", "POST", "TAKE", "UNPOST", "Script"]


class Script:
    """A script in Lua, which runs by its hash once the server has it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Any, keys: list[str], arguments: list[Any]) -> Any:
        """Return the answer of the server; load the script if the server does not have it."""
        words = [self._hash, len(keys), *keys, *arguments]
        try:
            return await _evaluated(client, words)
        except NoScriptError:
            await client.script_load(self._text)
            return await _evaluated(client, words)


async def _evaluated(client: Any, words: list[Any]) -> Any:
    # The scripts that `register_script` of coredis makes do the same, and take a third more CPU
    # time: 0.43 ms of an append of one event, and this 0.32 ms (CPython 3.13).
    async with client.connection_pool.acquire() as connection:
        request = connection.create_request(b"EVALSHA", *words, decode=False)
    # The connection is free for other requests while this one waits for its answer.
    return await request


APPEND = Script("""
local head, log = KEYS[1], KEYS[2]
local position, id, new_id = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local retention, max_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local f = redis.call('HMGET', head, 'p', 'id', 'first', 'last')
if (tonumber(f[1]) or 0) ~= position or (f[2] or '') ~= id then return -1 end
local place = position + 1
local text = string.format('%.0f', place)
local now = tonumber(redis.call('TIME')[1])
local first, last = tonumber(f[3]) or 1, tonumber(f[4]) or 0
local size = 0
if last > 0 then
  local s = redis.call('HMGET', head, 'at' .. last, 'size' .. last)
  size = tonumber(s[2])
  if now - tonumber(s[1]) >= retention / 6 or size >= max_bytes / 8 then last = last + 1 end
else
  last = 1
end
if last ~= (tonumber(f[4]) or 0) then
  size = 0
  redis.call('HSET', head, 'last', last, 'first', first, 'at' .. last, now, 'pos' .. last, text)
end
local entry = {'XADD', log, text .. '-0'}
for n = 9, #ARGV do
  entry[#entry + 1] = n
  entry[#entry + 1] = ARGV[n]
  size = size + #ARGV[n]
end
redis.call(unpack(entry))
redis.call('HSET', head, 'p', text, 'id', new_id, 'h', ARGV[4], 'size' .. last, size)
local kept = first
while kept < last do
  local s = redis.call('HGET', head, 'at' .. (kept + 1))
  if now - tonumber(s) < retention and last - kept < 8 then break end
  kept = kept + 1
end
if kept ~= first then
  redis.call('XTRIM', log, 'MINID', redis.call('HGET', head, 'pos' .. kept) .. '-0')
  for n = first, kept - 1 do redis.call('HDEL', head, 'at' .. n, 'pos' .. n, 'size' .. n) end
  redis.call('HSET', head, 'first', kept)
end
redis.call('EXPIRE', log, retention)
redis.call('PUBLISH', ARGV[7], ARGV[8])
return place
""")
"""KEYS: head, log. ARGV: position and id of the head, id, head, retention, bytes, channel that gets
the shard, shard, parts of the record."""

COMPARE_AND_SET = Script("""
local present = redis.call('HMGET', KEYS[1], 'v', 'r')
local value, revision = present[1], tonumber(present[2]) or 0
if revision == tonumber(ARGV[1]) then
  value, revision = ARGV[2], revision + 1
  redis.call('HSET', KEYS[1], 'v', value, 'r', revision)
end
return {value, revision}
""")
"""KEYS: the value. ARGV: expected revision, new value."""

HEARTBEAT = Script("""
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return redis.call('HGETALL', KEYS[1])
""")
"""KEYS: the members. ARGV: name and value of a member."""

FORGET = Script("""
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[1], 'NX') end
return 1
""")
"""KEYS: keys of a scope that is over. ARGV: seconds; a key that expires already is left alone."""

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function left(value) return (tonumber(string.match(value, '^%d+') or '') or 0) - now end
"""
POST = Script(
    _NOW
    + """
local box, message, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
local most = tonumber(ARGV[3]) + 1
if redis.call('HLEN', box) >= most then
  local all = redis.call('HGETALL', box)
  for n = 1, #all, 2 do
    if all[n] ~= '' and left(all[n + 1]) <= 0 then redis.call('HDEL', box, all[n]) end
  end
  if redis.call('HLEN', box) >= most then return 0 end
end
local number = redis.call('HINCRBY', box, '', 1)
redis.call('HSET', box, message, string.format('%.0f.%.0f', now + ttl, number))
if redis.call('PTTL', box) < ttl then redis.call('PEXPIRE', box, ttl) end
redis.call('PUBLISH', box, '')
return 1
"""
)
"""KEYS: mailbox. ARGV: message, milliseconds until it expires, maximum number of messages."""

UNPOST = Script(
    _NOW
    + """
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return left(value) > 0 and 1 or 0
"""
)
"""KEYS: mailbox. ARGV: message."""

TAKE = Script(
    _NOW
    + """
local all = redis.call('HGETALL', KEYS[1])
if #all == 0 then return {} end
redis.call('DEL', KEYS[1])
local messages = {}
for n = 1, #all, 2 do
  if all[n] ~= '' and left(all[n + 1]) > 0 then
    table.insert(messages, {tonumber(string.match(all[n + 1], '%d+$') or '') or 0, all[n]})
  end
end
table.sort(messages, function(a, b) return a[1] < b[1] end)
for n = 1, #messages do messages[n] = messages[n][2] end
return messages
"""
)
"""KEYS: mailbox."""
