// port → seconds: @discordjs/ws with one shard in its own process, and zlib-sync.
const { WebSocketManager, WebSocketShardEvents, CompressionMethod } = require('@discordjs/ws');
const { REST } = require('@discordjs/rest');

const [port, compression, dispatches] = process.argv.slice(2);
const total = Number(dispatches);
const rest = new REST({ version: '10', api: `http://127.0.0.1:${port}/api` }).setToken('t');
const manager = new WebSocketManager({
  token: 't',
  intents: 513,
  compression: compression === 'zlib-stream' ? CompressionMethod.ZlibSync : null,
  rest,
});
let began, cpu, count = 0;
manager.on(WebSocketShardEvents.Error, (error) => { console.error(error); process.exit(1); });
manager.on(WebSocketShardEvents.Dispatch, (payload) => {
  const data = payload.data ?? payload;
  if (data.t === 'READY') {
    began = performance.now();
    cpu = process.cpuUsage();
  } else if (++count === total) {
    const seconds = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    console.log(JSON.stringify({ seconds, cpu: (user + system) / 1e6, count, last: data.s }));
    process.exit(0);
  }
});
manager.connect().catch((error) => { console.error(error); process.exit(1); });
