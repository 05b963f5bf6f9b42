// a bot in JavaScript → its tests, against `gateway-proto serve --control`
//
// pip install "gateway-proto[cli]" && node --test test_a_bot.test.mjs
// (Node 22 or later; Node 20 needs --experimental-websocket)

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, beforeEach, test } from "node:test";

/** The bot under test: it is idle after "!idle". A real one would be imported. */
function startBot(url) {
  const socket = new WebSocket(`${url}/?v=10&encoding=json`);
  const send = (op, d) => socket.send(JSON.stringify({ op, d }));
  socket.onmessage = ({ data }) => {
    const { op, t, d } = JSON.parse(data);
    if (op === 10) {
      setInterval(() => send(1, null), d.heartbeat_interval).unref();
      send(2, { token: "t", intents: 513, properties: { os: "", browser: "", device: "" } });
    } else if (op === 1) {
      send(1, null);
    } else if (t === "MESSAGE_CREATE" && d.content === "!idle") {
      send(3, { since: null, activities: [], status: "idle", afk: false });
    }
  };
  return socket;
}

let serve, url, control, bot;

async function ask(path, body) {
  const options = body && { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`${control}/${path}`, options);
  assert.ok(response.ok, `${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

before(async () => {
  serve = spawn("gateway-proto", ["serve", "--port", "0", "--json", "--control"]);
  for await (const line of createInterface({ input: serve.stdout })) {
    const [name, address] = JSON.parse(line).text.split(/ +/);
    if (name === "WebSocket") url = address;
    if (name === "control") {
      control = address;
      break;
    }
  }
});
after(() => serve.kill());
beforeEach(async () => {
  bot?.close();
  await ask("reset", {});
  bot = startBot(url);
  await ask("wait?event=Ready&timeout=5");
});
after(() => bot?.close());

test("the bot is idle after !idle", async () => {
  const message = { id: "1", channel_id: "2", author: { id: "3", username: "ann" } };
  const sent = await ask("dispatch", { t: "MESSAGE_CREATE", d: { ...message, content: "!idle" } });
  assert.deepEqual(sent, { count: 1 });

  const { d } = await ask("wait?event=UpdatePresence&timeout=5");

  assert.equal(d.status, "idle");
});

test("the bot ignores other messages", async () => {
  await ask("dispatch", { t: "MESSAGE_CREATE", d: { content: "hello" } });
  await ask("send", { op: 1 });
  await ask("wait?event=Heartbeat"); // so it has seen the message
  const names = (await ask("received")).map((entry) => entry.event);

  assert.deepEqual(names, ["Opened", "Identify", "Ready", "Heartbeat"]);
});
